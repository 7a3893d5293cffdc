//! The records of why connections fail.

use super::Record;

/// What is known of why connections fail.
pub const ANSWER: Record = Record {
    kind: "answer",
    commands: "diagnose",
    one: "answer, those first that hurt most",
    name: "",
    fields: &[
        ("code", "`N-01` to `N-16`, see `explain`; `null` where only the place is known"),
        ("certainty", "`verdict`, `likely`, `located` or `note`"),
        ("text", "all of it in one sentence"),
        ("place", "`node`, `interface`, `pod`, `service`, `target`, `segment`: those that are known"),
        ("since", "its first evidence"),
        ("until", "its last evidence, where it has ended"),
        (
            "failed",
            "connections and questions that it has hurt in the last minute; where it has ended, in its worst one",
        ),
        ("of", "of so many"),
        ("in_all", "the same since it began"),
        (
            "proof",
            "up to three connections: `time` (when it failed; of an attempt, when it was begun), `source`, `destination`, `service`, `what`, `seen`, `missing`",
        ),
        (
            "clocks",
            "of nodes that both have seen the proof: times of `ahead` are `by_ms` ahead of those of `node`, give or take `error_ms`",
        ),
        ("counters", "that moved with it: `node`, `signal`, `before`, `after`"),
        ("ruled_out", "what it is not, and by what that is known"),
        ("not_seen", "what could not be seen"),
        ("runner_up", "what fits next best: `code`, and the `check` that would decide"),
        ("next", "what to do: commands, or where to look"),
        ("filter", "a display filter of Wireshark for these connections"),
    ],
};

/// What was looked at.
pub const LOOKED: Record = Record {
    kind: "looked",
    commands: "diagnose",
    one: "run, behind its answers",
    name: "",
    fields: &[
        ("since", ""),
        ("until", ""),
        ("nodes", "of files: places that they name"),
        ("taps", "interfaces"),
        ("unplaced", "interfaces beyond the number that answers know"),
        ("attempts", "connections begun and questions asked"),
        ("failed", ""),
        ("delayed", ""),
        ("one_direction", "attempts that nobody has judged, as only one direction of them was seen"),
        ("dns_unanswered", ""),
        ("unexplained", "connections with a symptom that no answer explains, in the last minute"),
        ("left_out", "connections with a symptom that had no room"),
        ("not_seen", "what could not be seen: nodes, times, what the API server knows"),
    ],
};
