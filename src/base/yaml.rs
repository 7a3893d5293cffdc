//! Values as YAML documents, for programs and for people.
//!
//! Owns the spelling: what could be read as something else than a text, or steer a terminal, is quoted and escaped. Must not
//! know what a value is.

use std::fmt::Write;

use serde_json::Value;

use super::text::is_hidden;

/// Words that YAML 1.1 takes for something else than a text.
const RESERVED: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// A value as a document of its own.
pub fn document(value: &Value) -> String {
    let mut out = String::from("---");
    put(&mut out, value, 0, false);
    out
}

/// Behind a key, a dash or the document's beginning; ends its line.
fn put(out: &mut String, value: &Value, depth: usize, in_list: bool) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (at, (key, value)) in fields.iter().enumerate() {
                // The first field stands beside the dash of its item.
                if at == 0 && in_list {
                    out.push(' ');
                } else {
                    indent(out, depth);
                }
                out.push_str(&text(key));
                out.push(':');
                put(out, value, depth + 1, false);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                indent(out, depth);
                out.push('-');
                put(out, item, depth + 1, true);
            }
        }
        Value::Object(_) => out.push_str(" {}"),
        Value::Array(_) => out.push_str(" []"),
        Value::String(it) => {
            out.push(' ');
            out.push_str(&text(it));
        }
        plain => {
            // Writing to a String does not fail.
            let _ = write!(out, " {plain}");
        }
    }
    if depth == 0 {
        out.push('\n');
    }
}

fn indent(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// A text without quotes where nothing can take it for something else.
fn text(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte);
    let begins = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/');
    if begins && text.bytes().all(plain) && !RESERVED.contains(&text.to_lowercase().as_str()) {
        return text.to_owned();
    }
    let quoted = text.chars().fold(String::from('"'), |mut out, character| {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            hidden if is_hidden(hidden) => {
                // Writing to a String does not fail.
                let _ = write!(out, "\\U{:08x}", hidden as u32);
            }
            other => out.push(other),
        }
        out
    });
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_back_as_it_was() {
        for value in [
            json!({"name": "node-1", "none": null, "on": true, "count": 7, "share": 0.5, "list": [], "map": {},
                "labels": {"kubernetes.io/os": "linux", "yes": "no"}, "ports": [{"port": 22, "owners": ["sshd", "22"]},
                {"port": 53}], "nested": [[1, [2]], []], "path": "/a/b c", "time": "2026-01-31T00:00:00Z"}),
            json!({"hostile": "a\u{1b}[2J\u{202e}\u{e0041}\u{85} \"quoted\" \\ #: - ", "line\nbreak": "1\n2\t3", "": ""}),
            json!({"numbers": ["1e3", "0x1", "1_000", "12:30:00", "~", "2026-01-31", ".inf", "-1", "null", "TRUE"]}),
        ] {
            let text = document(&value);
            assert!(text.starts_with("---\n") && text.ends_with('\n'), "{text}");
            assert!(!text.chars().any(|it| it != '\n' && is_hidden(it)), "{text}");
            let read: Value = serde_saphyr::from_str(&text).expect(&text);
            assert_eq!(read, value, "{text}");
        }
    }

    #[test]
    fn it_looks_as_people_write_it() {
        let value = json!({"kind": "node", "list": [{"a": 1, "b": "x"}, "z", "y"]});
        assert_eq!(document(&value), "---\nkind: node\nlist:\n  - a: 1\n    b: x\n  - z\n  - \"y\"\n");
    }
}
