//! `nodes`: the list of nodes, in kubectl's words.
//!
//! Owns what is printed of a node.

use serde_json::{Value, json};

use super::{
    output,
    records::{self, Record},
};
use crate::{
    base::{clock::unix_millis, text},
    cli::Format,
    model::Node,
};

const RECORD: &Record = &records::NODE;
/// The columns; those from [`NARROW`] on only with `-o wide`.
const HEADS: [&str; 13] = [
    "NAME",
    "STATUS",
    "ROLES",
    "AGE",
    "INTERNAL-IP",
    "ZONE",
    "TYPE",
    "VERSION",
    "ADDRESSES",
    "OS/ARCH",
    "INSTANCE",
    "AGENT",
    "LABELS",
];
const NARROW: usize = 8;

/// Prints nodes.
pub(super) fn print<'a>(nodes: impl Iterator<Item = &'a Node>, format: Format) {
    match format {
        Format::Json | Format::Yaml => output::print_values(RECORD, nodes.map(value), format),
        Format::Name => output::print_names(nodes.map(|node| format!("node/{}", node.name))),
        Format::Table | Format::Wide => {
            let wide = format == Format::Wide;
            let now = unix_millis();
            let rows = nodes.map(|node| cells(node, now)).collect();
            output::print_table(if wide { &HEADS } else { &HEADS[..NARROW] }, &output::cut(rows, wide, NARROW));
        }
    }
}

fn value(node: &Node) -> Value {
    json!({
        "name": node.name,
        "status": node.readiness.word(),
        "cordoned": node.cordoned,
        "roles": node.roles(),
        "created": node.created,
        "zone": node.zone,
        "type": node.instance_type,
        "internal_ip": node.addresses.first(),
        "addresses": node.addresses,
        "version": node.version,
        "instance_id": node.instance_id,
        "os": node.machine.system,
        "architecture": node.machine.architecture,
        "labels": node.labels,
        // Why no agent can run there.
        "no_agent": node.cannot_run().map(|reason| reason.to_string()),
    })
}

fn cells(node: &Node, now: u64) -> Vec<String> {
    let or_dash = |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned());
    let listed = |items: Vec<String>| or_dash(Some(items.join(",")));
    let machine = [node.machine.system.clone(), node.machine.architecture.clone()];
    vec![
        node.name.0.clone(),
        node.status(),
        listed(node.roles().into_iter().map(str::to_owned).collect()),
        or_dash(node.created.map(|created| text::lasting(now.saturating_sub(created)))),
        or_dash(node.addresses.first().map(ToString::to_string)),
        or_dash(node.zone.clone()),
        or_dash(node.instance_type.clone()),
        or_dash(node.version.clone()),
        listed(node.addresses.iter().map(ToString::to_string).collect()),
        or_dash(Some(machine.into_iter().flatten().collect::<Vec<_>>().join("/"))),
        or_dash(node.instance_id.clone()),
        node.cannot_run().map_or_else(|| "possible".to_owned(), |reason| reason.to_string()),
        listed(node.labels.iter().map(|(name, value)| format!("{name}={value}")).collect()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Node {
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Node {
            labels: [
                label("node-role.kubernetes.io/control-plane", ""),
                label("node-role.kubernetes.io/edge", "true"),
                label("zone", "a"),
            ]
            .into(),
            addresses: vec!["10.0.0.1".parse().expect("an address"), "203.0.113.1".parse().expect("an address")],
            created: Some(1_000),
            ..Node::named("n".into())
        }
    }

    #[test]
    fn a_node_has_the_columns_of_kubectl() {
        let row = cells(&node(), 3 * 86_400_000 + 1_000);
        assert_eq!(row.len(), HEADS.len());
        assert_eq!(&row[2..5], ["control-plane,edge", "3d", "10.0.0.1"]);
        assert_eq!(row[8], "10.0.0.1,203.0.113.1");
        assert!(row[12].ends_with("zone=a"), "{row:?}");
        let bare = cells(&Node::named("n".into()), 0);
        assert_eq!(&bare[2..8], ["-"; 6]);
    }

    #[test]
    fn programs_get_every_field_of_the_reference() {
        let value = value(&node());
        let fields: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
        let mut known: Vec<&str> = RECORD.fields.iter().map(|(name, _)| *name).collect();
        known.sort_unstable();
        assert_eq!(fields, known);
        assert_eq!((&value["internal_ip"], &value["labels"]["zone"]), (&json!("10.0.0.1"), &json!("a")));
    }
}
