//! An answer in bounded size, whatever names the cluster has; what is left out of it is said.
//!
//! Owns the bound and what is cut first. Texts become one line without control characters, so that what comes from a
//! cluster stays a value in a field. Pure.

use serde_json::{Map, Value, json};

use crate::base::text;

/// The most bytes of an answer.
pub const MOST_BYTES: usize = 5 * 1024;

/// How long texts and lists may be, tried in this order.
const LEVELS: [(usize, usize); 6] = [(1000, 100), (400, 40), (250, 20), (150, 10), (90, 5), (60, 3)];

/// What was cut.
#[derive(Debug, Clone, Copy, Default)]
struct Cut {
    texts: u64,
    items: u64,
    records: u64,
}

/// An answer as text: `head`, and as many of the records as there is room for. `left_out` were never gathered.
pub(super) fn answer(head: &Map<String, Value>, records: &[Value], left_out: u64) -> String {
    for (texts, items) in LEVELS {
        let mut cut = Cut { records: left_out, ..Cut::default() };
        let shrink = |value: &Value, cut: &mut Cut| shrunk(value, texts, items, cut);
        let head = shrink(&Value::Object(head.clone()), &mut cut);
        let records: Vec<Value> = records.iter().map(|record| shrink(record, &mut cut)).collect();
        let whole = written(&head, &records, cut);
        if whole.len() <= MOST_BYTES {
            return whole;
        }
    }
    first(head, records, left_out)
}

/// As many records as there is room for, all of them cut as far as it goes.
fn first(head: &Map<String, Value>, records: &[Value], left_out: u64) -> String {
    let (texts, items) = LEVELS[LEVELS.len() - 1];
    let mut cut = Cut { records: left_out + records.len() as u64, ..Cut::default() };
    let head = shrunk(&Value::Object(head.clone()), texts, items, &mut cut);
    let mut kept = Vec::new();
    let mut best = written(&head, &kept, cut);
    for record in records {
        let mut with = Cut { records: cut.records - 1, ..cut };
        kept.push(shrunk(record, texts, items, &mut with));
        let longer = written(&head, &kept, with);
        if longer.len() > MOST_BYTES {
            break;
        }
        (best, cut) = (longer, with);
    }
    // Of a head that is too long itself its fields are left out; ours are short.
    if best.len() > MOST_BYTES { written(&json!({}), &[], cut) } else { best }
}

fn written(head: &Value, records: &[Value], cut: Cut) -> String {
    let mut whole = head.clone();
    whole["records"] = json!(records);
    if cut.texts + cut.items + cut.records > 0 {
        whole["truncated"] = json!({"texts": cut.texts, "items": cut.items, "records": cut.records});
    }
    text::json_line(&whole)
}

/// The value with texts and lists that are no longer than that. What is empty says nothing and is left out.
fn shrunk(value: &Value, texts: usize, items: usize, cut: &mut Cut) -> Value {
    match value {
        Value::String(value) => Value::String(short(value, texts, cut)),
        Value::Array(values) => {
            cut.items += values.len().saturating_sub(items) as u64;
            values.iter().take(items).map(|value| shrunk(value, texts, items, cut)).collect()
        }
        Value::Object(fields) => {
            let said = fields.iter().filter(|(_, value)| !is_empty(value));
            cut.items += said.clone().count().saturating_sub(MOST_FIELDS) as u64;
            let said = said.take(MOST_FIELDS);
            said.map(|(name, value)| (short(name, texts, cut), shrunk(value, texts, items, cut))).collect()
        }
        other => other.clone(),
    }
}

/// More fields than any record of ours has: only maps by foreign names have more.
const MOST_FIELDS: usize = 40;

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn short(foreign: &str, most: usize, cut: &mut Cut) -> String {
    let line = text::line(foreign);
    if line.len() <= most {
        return line;
    }
    cut.texts += 1;
    let end = line.char_indices().map(|(at, _)| at).take_while(|at| *at <= most).last().unwrap_or(0);
    format!("{}…", &line[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head() -> Map<String, Value> {
        json!({"tool": "nodes", "outcome": "done"}).as_object().cloned().expect("an object")
    }

    fn read(text: &str) -> Value {
        serde_json::from_str(text).expect("JSON")
    }

    #[test]
    fn what_fits_is_whole_and_nothing_is_said_of_cuts() {
        let answer = read(&answer(&head(), &[json!({"name": "a", "zone": null, "roles": []})], 0));
        assert_eq!(answer, json!({"tool": "nodes", "outcome": "done", "records": [{"name": "a"}]}));
    }

    #[test]
    fn many_records_are_cut_and_counted() {
        let records: Vec<Value> =
            (0..1000).map(|at| json!({"name": format!("node-{at}"), "status": "Ready"})).collect();
        let text = answer(&head(), &records, 7);
        assert!(text.len() <= MOST_BYTES, "{}", text.len());
        let answer = read(&text);
        let kept = answer["records"].as_array().expect("a list").len() as u64;
        assert!(kept > 50, "{kept}");
        assert_eq!(answer["truncated"]["records"], 1007 - kept);
    }

    #[test]
    fn hostile_names_are_one_clean_line_and_their_cut_is_said() {
        let name = format!("\u{1b}[2J\nignore\u{202e}{}", "x".repeat(100_000));
        let records = vec![json!({"name": name, "labels": {name.clone(): name.clone()}})];
        let text = answer(&head(), &records, 0);
        assert!(text.len() <= MOST_BYTES, "{}", text.len());
        let answer = read(&text);
        let said = answer["records"][0]["name"].as_str().expect("a name");
        assert!(said.starts_with("\\u{1b}[2J ignore\\u{202e}xxx") && said.ends_with('…'), "{said}");
        assert!(!said.contains(['\u{1b}', '\n', '\u{202e}']), "{said}");
        assert!(answer["truncated"]["texts"].as_u64() >= Some(2), "{answer}");
    }

    #[test]
    fn a_head_that_is_too_long_is_cut_as_well() {
        let mut head = head();
        head.insert("messages".into(), json!(vec!["é".repeat(50_000); 200]));
        let answer = answer(&head, &[], 0);
        assert!(answer.len() <= MOST_BYTES && read(&answer)["tool"] == "nodes", "{}", answer.len());
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![".{0,300}".prop_map(Value::from), any::<u64>().prop_map(Value::from), Just(Value::Null)];
        leaf.prop_recursive(4, 256, 60, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..60).prop_map(Value::from),
                prop::collection::btree_map(".{0,80}", inner, 0..60)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_answer_is_larger_than_the_bound(records in prop::collection::vec(values(), 0..20)) {
            let text = answer(&head(), &records, 0);
            prop_assert!(text.len() <= MOST_BYTES, "{}", text.len());
            prop_assert!(serde_json::from_str::<Value>(&text).is_ok());
        }
    }
}
