//! What the fuzz targets share: the sources that they look at, and the few inputs that they begin with.
//!
//! Owns nothing of the product. The laptop's readers are compiled from its own sources, without the rest of it: that
//! would bring a few hundred packages along, all of them built to be looked into.

#[path = "../../src/base"]
pub mod base {
    pub mod disk;
    pub mod text;
}
#[path = "../../src/packets/mod.rs"]
pub mod packets;
#[path = "../../src/captures"]
pub mod captures {
    pub mod diagnose;
    pub mod merge;
    mod taps;
}
pub mod seeds;

/// Takes from the beginning of an input; nothing where there is not enough left.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// As many bytes as the next one says, or those that there are.
    pub fn some(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.byte()?).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(taken)
    }
}

/// How much later the next packet comes, in nanoseconds: the steps are those on whose two sides something else is said.
pub fn later(at: i64, step: u8) -> i64 {
    const MILLI: i64 = 1_000_000;
    let by = match step & 0xF {
        0..=3 => 1000,
        4 => MILLI,
        5 => 25 * MILLI,
        6 => 300 * MILLI,
        7 => 1000 * MILLI,
        8 => 3500 * MILLI,
        9 => 11_000 * MILLI,
        10 => 70_000 * MILLI,
        11 => -MILLI,
        12 => -20_000 * MILLI,
        13 => i64::MAX,
        14 => i64::MIN,
        _ => 0,
    };
    at.saturating_add(by)
}
