//! Writes the documentation's pictures and its demo into `assets/`. Run by `make pictures`.

#[path = "../tests/support/incident.rs"]
mod incident;
#[path = "../tests/support/pictures.rs"]
mod pictures;
#[path = "../tests/support/sample.rs"]
mod sample;

use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    for (name, picture) in pictures::all() {
        std::fs::write(folder.join(name), picture)?;
    }
    Ok(())
}
