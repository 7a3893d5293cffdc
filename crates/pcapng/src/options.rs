//! Options and records as blocks have them: walked, and written anew in our byte order.
//!
//! Owns which options hold numbers, and that only what parses is copied. Must not know where blocks come from.

use crate::write::option;

/// The byte order of a section.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Order {
    #[default]
    Little,
    Big,
}

impl Order {
    pub(crate) fn u16(self, bytes: [u8; 2]) -> u16 {
        if self == Self::Big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    pub(crate) fn u32(self, bytes: [u8; 4]) -> u32 {
        if self == Self::Big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    pub(crate) fn u64(self, bytes: [u8; 8]) -> u64 {
        if self == Self::Big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) }
    }

    /// A number's bytes in our order.
    fn swapped<const N: usize>(self, mut bytes: [u8; N]) -> [u8; N] {
        if self == Self::Big {
            bytes.reverse();
        }
        bytes
    }
}

/// Options up to the end that they name, or to the first that does not fit.
pub(crate) struct Options<'a> {
    rest: &'a [u8],
    order: Order,
    /// One did not fit.
    pub(crate) damaged: bool,
}

impl<'a> Options<'a> {
    pub(crate) fn new(bytes: &'a [u8], order: Order) -> Self {
        Self { rest: bytes, order, damaged: false }
    }

    /// What follows the end.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let Some(&[a, b, c, d]) = self.rest.first_chunk::<4>() else {
            self.damaged |= !self.rest.is_empty();
            self.rest = &[];
            return None;
        };
        let (code, length) = (self.order.u16([a, b]), usize::from(self.order.u16([c, d])));
        if code == 0 {
            self.rest = &self.rest[4..];
            return None;
        }
        let Some(value) = self.rest.get(4..4 + length) else {
            self.damaged = true;
            self.rest = &[];
            return None;
        };
        self.rest = self.rest.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        Some((code, value))
    }
}

/// How many packets were lost before the one with these options, as a [`crate::Packet`] has them.
pub fn lost_before(options: &[u8]) -> u64 {
    let lost = Options::new(options, Order::Little).find(|(code, _)| *code == 4);
    lost.and_then(|(_, value)| value.first_chunk()).map_or(0, |&count| u64::from_le_bytes(count))
}

/// Options that were not copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Because they do not fit where they are, or have a length that they cannot have.
    pub damaged: u64,
    /// Where the block with the first of these begins.
    pub first_at: u64,
    /// Because their makers do not want them in another file.
    pub kept_back: u64,
}

impl Lost {
    /// Adds those of the block that begins there.
    pub(crate) fn add(&mut self, lost: Self, at: u64) {
        if self.damaged == 0 {
            self.first_at = at;
        }
        self.damaged += lost.damaged;
        self.kept_back += lost.kept_back;
    }
}

/// Whose options they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Packet,
    ObsoletePacket,
    Interface,
    Names,
    Secrets,
}

/// How an option's value is made up.
enum Form {
    /// At least so many bytes, the same in both byte orders.
    Bytes(usize),
    /// As many.
    Exactly(usize),
    /// Numbers of four bytes, so many.
    Words(usize),
    /// One of eight bytes.
    Long,
    /// A type, and for two of them a number of eight bytes.
    Verdict,
    /// A filter's type, and for bytecode whole instructions.
    Filter,
    /// Whose it is, and bytes that only they know.
    Custom,
    /// Its maker does not want it in a file that was written anew.
    Stays,
}

/// The private number of a maker whose custom blocks and options Wireshark looks into, and refuses when they are odd.
pub(crate) const NETFLIX: u32 = 10949;

fn form(of: Of, code: u16) -> Form {
    match (of, code) {
        (_, 2988 | 2989) => Form::Custom,
        // What it had there means something else in the packets that are written.
        (_, 19372 | 19373) | (Of::ObsoletePacket, 4..=8) => Form::Stays,
        (Of::Packet | Of::ObsoletePacket, 2) | (Of::Packet, 6) | (Of::Interface, 10) => Form::Words(1),
        (Of::Packet | Of::ObsoletePacket, 3) => Form::Bytes(1),
        (Of::Packet, 8) => Form::Words(2),
        (Of::Packet, 4 | 5) | (Of::Interface, 8 | 14 | 16 | 17) => Form::Long,
        (Of::Packet, 7) => Form::Verdict,
        (Of::Interface, 4 | 7) => Form::Exactly(8),
        (Of::Interface, 5) => Form::Exactly(17),
        (Of::Interface, 6) => Form::Exactly(6),
        (Of::Interface, 9 | 13) => Form::Exactly(1),
        (Of::Interface, 11) => Form::Filter,
        (Of::Names, 3) => Form::Exactly(4),
        (Of::Names, 4) => Form::Exactly(16),
        _ => Form::Bytes(0),
    }
}

/// Writes options anew, but for those that are `left` to the caller and the end; returns what could not be kept.
pub(crate) fn copy(out: &mut Vec<u8>, bytes: &[u8], order: Order, of: Of, left: impl Fn(u16) -> bool) -> Lost {
    let mut lost = Lost::default();
    let mut options = Options::new(bytes, order);
    for (code, value) in options.by_ref() {
        match form(of, code) {
            _ if left(code) => {}
            Form::Stays => lost.kept_back += 1,
            Form::Custom if value.first_chunk().is_some_and(|&maker| order.u32(maker) == NETFLIX) => {
                lost.kept_back += 1;
            }
            form => lost.damaged += u64::from(!copy_one(out, order, &form, code, value)),
        }
    }
    lost.damaged += u64::from(options.damaged);
    lost
}

fn copy_one(out: &mut Vec<u8>, order: Order, form: &Form, code: u16, value: &[u8]) -> bool {
    let fits = match form {
        Form::Bytes(least) => value.len() >= *least,
        Form::Exactly(length) => value.len() == *length,
        Form::Words(count) => value.len() == count * 4,
        Form::Long => value.len() == 8,
        Form::Verdict => match value.first() {
            Some(1 | 2) => value.len() == 9,
            kind => kind.is_some(),
        },
        Form::Filter => match value.first() {
            Some(1) => (value.len() - 1).is_multiple_of(8),
            kind => kind.is_some(),
        },
        Form::Custom => value.len() >= 4,
        Form::Stays => false,
    };
    if !fits {
        return false;
    }
    if order == Order::Little {
        option(out, code, value);
        return true;
    }
    let mut anew = value.to_vec();
    match form {
        Form::Words(_) => {
            for word in anew.as_chunks_mut::<4>().0 {
                *word = order.swapped(*word);
            }
        }
        Form::Long => anew.reverse(),
        Form::Verdict if matches!(value[0], 1 | 2) => anew[1..].reverse(),
        Form::Custom => anew[..4].reverse(),
        _ => {}
    }
    option(out, code, &anew);
    true
}

/// Writes a name resolution block's records and options anew; returns what could not be kept.
pub(crate) fn copy_names(out: &mut Vec<u8>, body: &[u8], order: Order) -> Lost {
    let mut damaged = 0;
    let mut records = Options::new(body, order);
    for (kind, value) in records.by_ref() {
        let least = match kind {
            1 => 4,
            2 => 16,
            3 => 6,
            4 => 8,
            _ => 0,
        };
        // Names, each with its end, behind the address.
        if value.len() > least && value.last() == Some(&0) {
            option(out, kind, value);
        } else {
            damaged += 1;
        }
    }
    damaged += u64::from(records.damaged);
    option(out, 0, &[]);
    let before = out.len();
    let lost = copy(out, records.rest(), order, Of::Names, |_| false);
    if out.len() > before {
        option(out, 0, &[]);
    }
    Lost { damaged: lost.damaged + damaged, ..lost }
}
