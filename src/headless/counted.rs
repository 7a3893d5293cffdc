//! `watch`: what the kernels of nodes count that has moved, or is out of the normal.
//!
//! Owns the record of one signal and which are told. What is normal is not known here.

use serde_json::{Value, json};

use super::{output, records};
use crate::{
    cli::Format,
    session::{
        Session,
        node::{NodeState, SignalState},
    },
};

/// Prints them for programs: what is out of the normal first, then what has moved.
pub(super) fn print(session: &Session, format: Format) {
    if matches!(format, Format::Json | Format::Yaml) {
        output::print_values(&records::SIGNAL, values(session).into_iter(), format);
    }
}

fn values(session: &Session) -> Vec<Value> {
    let now = session.now;
    let known = session.nodes.values().flat_map(|state| state.seen.signals.series.values().map(move |it| (state, it)));
    let told = known.filter_map(|(state, series)| {
        let out = state.seen.signals.is_out(series, now);
        (out || series.has_moved(now)).then(|| (out, value(session, state, series, out)))
    });
    let mut told: Vec<(bool, Value)> = told.collect();
    told.sort_by_key(|(out, _)| !out);
    told.into_iter().map(|(_, value)| value).collect()
}

fn value(session: &Session, state: &NodeState, series: &SignalState, out: bool) -> Value {
    let info = series.info();
    json!({
        "node": state.node.name, "at": session.wall(session.now), "signal": info.name,
        "item": (!series.item.is_empty()).then_some(&series.item), "unit": info.unit, "value": series.value,
        "moved": info.is_counter().then(|| series.moved(session.now)), "out_of_normal": out,
        "normal": info.normal.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nodewatch_protocol::{SignalSeries, SignalsUpdate, Update};

    use super::*;
    use crate::{
        model::{Node, NodesChange, Place, SessionId, TunnelChange},
        session::{Event, update},
    };

    const NOW: u64 = 1_000_000;

    #[test]
    fn what_is_out_of_the_normal_comes_first_and_what_stands_still_not_at_all() {
        let mut session = Session::plain(Place::Local, SessionId::new(1), Duration::from_secs(9));
        update(&mut session, Event::Nodes(NodesChange::Replaced(vec![Node::named("a".into())])), NOW);
        let series = |id, name: &str| SignalSeries { id, name: name.into(), item: String::new(), value: 5, total: 0 };
        let told = vec![series(1, "tcp.out_segs"), series(2, "tcp.listen_overflows"), series(3, "tcp.listen_drops")];
        let tell = |session: &mut Session, signals| {
            let change = TunnelChange::Update(Update::Signals(signals));
            update(session, Event::Tunnel("a".into(), change), NOW + 1000);
        };
        tell(&mut session, SignalsUpdate { since: Some(1), told, ..SignalsUpdate::default() });
        assert!(values(&session).is_empty(), "what was there before is no news");
        tell(&mut session, SignalsUpdate { moved: vec![(1, 7), (2, 3)], ..SignalsUpdate::default() });
        let values = values(&session);
        let said: Vec<(&str, u64, bool)> = values
            .iter()
            .filter_map(|it| Some((it["signal"].as_str()?, it["moved"].as_u64()?, it["out_of_normal"].as_bool()?)))
            .collect();
        assert_eq!(said, [("tcp.listen_overflows", 3, true), ("tcp.out_segs", 7, false)]);
        for value in &values {
            assert_eq!(records::undocumented(&records::SIGNAL, value), Vec::<String>::new());
            assert!(records::SIGNAL.fields.iter().all(|(field, _)| value.get(field).is_some()), "{value}");
        }
    }
}
