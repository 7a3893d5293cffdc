//! What the user can set: the keymap, and the config file.

pub mod file;
pub mod keymap;

/// What an unknown name may have been meant as: `: did you mean "deploy"?`, or nothing.
pub(crate) fn suggest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> String {
    let nearest = known.map(|name| (strsim::jaro_winkler(wrong, name), name)).max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, name)) if likeness > 0.8 => format!(": did you mean {name:?}?"),
        _ => String::new(),
    }
}
