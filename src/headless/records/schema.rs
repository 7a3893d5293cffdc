//! Records as JSON Schema, and whether a value is what its record says.
//!
//! Owns how a shape becomes a schema: docs/schema/ has a file for each kind. Pure.

use serde_json::{Map, Value, json};

pub use super::shapes::Shape;
use super::{FILES, PARTS, RECORDS, Record, SCHEMA, TIMES, shapes::SHAPES};

/// The schema of a kind of record: what is always there is required, and more fields may come.
pub fn schema(record: &Record) -> Value {
    let mut parts = Map::new();
    let own = [("kind", json!({"const": record.kind})), ("schema", json!({"const": SCHEMA}))];
    let mut schema = object(record.kind, record.fields, &mut parts);
    for (name, value) in own {
        schema["properties"][name] = value;
    }
    if let Some(required) = schema["required"].as_array_mut() {
        required.extend([json!("kind"), json!("schema")]);
    }
    let description = if FILES.contains(&record.kind) {
        format!("Written by {}: {}.", record.commands, record.one)
    } else {
        format!("Printed by {} with -o json, one line per {}.", record.commands, record.one)
    };
    let said = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": record.kind,
        "description": description,
        "$defs": parts,
    });
    let mut whole = said.as_object().cloned().unwrap_or_default();
    whole.extend(schema.as_object().cloned().unwrap_or_default());
    Value::Object(whole)
}

/// What a record has that its schema does not allow, or lacks although it has to be there.
pub fn faults(record: &Record, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    fields_fit(record.kind, record.fields, value, &mut found);
    found
}

/// What a field is.
fn shape(of: &str, field: &str) -> Shape {
    let own = format!("{of}.{field}");
    let find = |name: &str| SHAPES.iter().find(|(known, _)| *known == name).map(|(_, shape)| *shape);
    // A test holds that each is there.
    find(&own).or_else(|| find(field)).unwrap_or(Shape::Value)
}

/// The fields of a part, or of a kind that is one.
fn part(name: &str) -> &'static [(&'static str, &'static str)] {
    let part = PARTS.iter().find(|(part, _)| *part == name).map(|(_, fields)| *fields);
    let record = || RECORDS.iter().find(|record| record.kind == name).map(|record| record.fields);
    part.or_else(record).unwrap_or_default()
}

fn object(of: &str, fields: &[(&str, &str)], parts: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, says) in fields {
        let shape = shape(of, name);
        let mut schema = typed(shape, parts);
        if !says.is_empty() {
            schema["description"] = json!(says);
        }
        properties.insert((*name).to_owned(), schema);
        if !matches!(shape, Shape::Sometimes(_)) {
            required.push(json!(name));
        }
        if let Some(time) = time_of(shape) {
            properties.insert(format!("{name}_time"), typed(time, parts));
            if !matches!(shape, Shape::Sometimes(_)) {
                required.push(json!(format!("{name}_time")));
            }
        }
    }
    json!({"type": "object", "required": required, "properties": properties})
}

/// The text beside a moment.
fn time_of(shape: Shape) -> Option<Shape> {
    match shape {
        Shape::Moment => Some(Shape::Time),
        Shape::Maybe(Shape::Moment) => Some(Shape::Maybe(&Shape::Time)),
        Shape::Sometimes(inner) => time_of(*inner),
        _ => None,
    }
}

fn typed(shape: Shape, parts: &mut Map<String, Value>) -> Value {
    match shape {
        Shape::Text => json!({"type": "string"}),
        Shape::Word(words) => json!({"enum": words}),
        Shape::Count => json!({"type": "integer", "minimum": 0}),
        Shape::Moment => json!({"type": "integer", "minimum": 0, "description": "Milliseconds since 1970."}),
        Shape::Integer => json!({"type": "integer"}),
        Shape::Number => json!({"type": "number"}),
        Shape::Flag => json!({"type": "boolean"}),
        Shape::Time => json!({"type": "string", "format": "date-time"}),
        Shape::Value => json!({}),
        Shape::Maybe(inner) => json!({"anyOf": [typed(*inner, parts), {"type": "null"}]}),
        Shape::Sometimes(inner) => typed(*inner, parts),
        Shape::List(inner) => json!({"type": "array", "items": typed(*inner, parts)}),
        Shape::Map(inner) => json!({"type": "object", "additionalProperties": typed(*inner, parts)}),
        Shape::Object(fields) => {
            let always = fields.iter().filter(|(_, shape)| !matches!(shape, Shape::Sometimes(_)));
            let required: Vec<&str> = always.map(|(name, _)| *name).collect();
            let properties: Map<String, Value> =
                fields.iter().map(|(name, shape)| ((*name).to_owned(), typed(*shape, parts))).collect();
            json!({"type": "object", "required": required, "properties": properties})
        }
        Shape::Part(name) => {
            if !parts.contains_key(name) {
                // First the name, so that a part in itself ends.
                parts.insert(name.to_owned(), Value::Null);
                let schema = object(name, part(name), parts);
                parts.insert(name.to_owned(), schema);
            }
            json!({"$ref": format!("#/$defs/{name}")})
        }
    }
}

fn fields_fit(of: &str, fields: &[(&str, &str)], value: &Value, found: &mut Vec<String>) {
    for (name, _) in fields {
        let shape = shape(of, name);
        fits(shape, value.get(name), &format!("{of}.{name}"), found);
        if let Some(time) = time_of(shape) {
            debug_assert!(TIMES.contains(name), "{name} has no text");
            fits(optional(shape, time), value.get(format!("{name}_time")), &format!("{of}.{name}_time"), found);
        }
    }
}

/// A moment's text is there where the moment is.
fn optional(shape: Shape, time: Shape) -> Shape {
    match (shape, time) {
        (Shape::Sometimes(Shape::Moment), _) => Shape::Sometimes(&Shape::Time),
        (Shape::Sometimes(_), _) => Shape::Sometimes(&Shape::Maybe(&Shape::Time)),
        (_, time) => time,
    }
}

fn fits(shape: Shape, value: Option<&Value>, at: &str, found: &mut Vec<String>) {
    let Some(value) = value else {
        if !matches!(shape, Shape::Sometimes(_)) {
            found.push(format!("{at} is missing"));
        }
        return;
    };
    let is = match shape {
        Shape::Text => value.is_string(),
        Shape::Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
        Shape::Count | Shape::Moment => value.is_u64(),
        Shape::Integer => value.is_i64() || value.is_u64(),
        Shape::Number => value.is_number(),
        Shape::Flag => value.is_boolean(),
        Shape::Time => value.as_str().is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok()),
        Shape::Value => true,
        Shape::Maybe(_) if value.is_null() => true,
        Shape::Maybe(inner) | Shape::Sometimes(inner) => return fits(*inner, Some(value), at, found),
        Shape::List(inner) => {
            let items = value.as_array();
            items.into_iter().flatten().for_each(|item| fits(*inner, Some(item), at, found));
            items.is_some()
        }
        Shape::Map(inner) => {
            let fields = value.as_object();
            for (name, item) in fields.into_iter().flatten() {
                fits(*inner, Some(item), &format!("{at}.{name}"), found);
            }
            fields.is_some()
        }
        Shape::Object(fields) => {
            for (name, shape) in fields {
                fits(*shape, value.get(name), &format!("{at}.{name}"), found);
            }
            value.is_object()
        }
        Shape::Part(name) => {
            fields_fit(name, part(name), value, found);
            value.is_object()
        }
    };
    if !is {
        found.push(format!("{at} is no {shape:?}: {value}"));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_field_has_a_shape_and_every_shape_a_field() {
        let kinds = RECORDS.iter().map(|record| (record.kind, record.fields));
        let mut used = BTreeSet::new();
        for (of, fields) in kinds.chain(PARTS) {
            for (field, _) in fields {
                let own = format!("{of}.{field}");
                let name = SHAPES.iter().map(|(name, _)| *name).find(|name| *name == own);
                let name = name.or_else(|| SHAPES.iter().map(|(name, _)| *name).find(|name| name == field));
                used.insert(name.unwrap_or_else(|| panic!("{own} has no shape")));
                let is_moment = time_of(shape(of, field)).is_some();
                assert!(!is_moment || TIMES.contains(field), "{own}");
            }
        }
        let unused: Vec<&str> = SHAPES.iter().map(|(name, _)| *name).filter(|name| !used.contains(name)).collect();
        assert!(unused.is_empty(), "{unused:?}");
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_place() {
        let record = RECORDS.iter().find(|record| record.kind == "probe").expect("a kind");
        let value = json!({"node": "n", "target": "t", "address": "a", "port": 1, "protocol": "tcp", "at": 1,
            "at_time": "2026-01-31T16:03:22.125Z", "tries": 2, "answered": 1, "microseconds": null,
            "failures": [{"outcome": "refused", "count": 1, "by": null, "reason": null}]});
        assert_eq!(faults(record, &value), Vec::<String>::new());
        let mut wrong = value;
        wrong["port"] = json!("1");
        wrong["at_time"] = json!("yesterday");
        wrong["failures"][0]["count"] = json!(-1);
        wrong.as_object_mut().expect("an object").remove("tries");
        let faults = faults(record, &wrong).join("\n");
        for told in [
            "probe.port is no Count",
            "probe.at_time is no Time",
            "failures.count is no Count: -1",
            "probe.tries is missing",
        ] {
            assert!(faults.contains(told), "{told}: {faults}");
        }
    }
}
