//! IEEE 802.11: data frames, alone or behind what a radio says of them.
//!
//! Owns how long their headers are. What is encrypted, cut in pieces or packed together is not read. Pure.

/// The frame is split, or part of one that is.
const MORE_PIECES: u8 = 0x04;
const PROTECTED: u8 = 0x40;
/// Four bytes more follow.
const ORDER: u8 = 0x80;

/// Where the data of a frame begins that begins at `at`, or, as an error, where a header ends behind which there is nothing to
/// be read. With `aligned` it is at a multiple of four bytes.
#[cold]
#[inline(never)]
pub fn data(bytes: &[u8], at: usize, aligned: bool) -> Result<usize, usize> {
    let Some(&[control, flags]) = bytes.get(at..at + 2) else { return Err(at) };
    let is_data = control & 0x0F == 0x08 && control & 0x40 == 0;
    let with_quality = control & 0x80 != 0;
    let mut header = 24;
    header += if flags & 0x03 == 0x03 { 6 } else { 0 };
    let quality = at + header;
    if with_quality {
        header += if flags & ORDER == 0 { 2 } else { 6 };
    }
    if aligned {
        header = header.next_multiple_of(4);
    }
    let end = at + header;
    let is_packed = with_quality && bytes.get(quality).is_some_and(|control| control & 0x80 != 0);
    let is_piece = flags & MORE_PIECES != 0 || bytes.get(at + 22).is_some_and(|number| number & 0x0F != 0);
    if !is_data || flags & PROTECTED != 0 || is_packed || is_piece || bytes.len() < end {
        return Err(if is_data { end } else { at });
    }
    Ok(end)
}

/// The same of a frame behind a radiotap header.
pub fn behind_radio(bytes: &[u8]) -> Result<usize, usize> {
    const FLAGS: u32 = 1 << 1;
    const TIMER: u32 = 1;
    const MORE: u32 = 1 << 31;
    const ALIGNED: u8 = 0x20;
    let &[0, _, low, high, first @ .., _, _, _, _] = bytes.first_chunk::<12>().unwrap_or(&[1; 12]) else {
        return Err(0);
    };
    let length = usize::from(u16::from_le_bytes([low, high]));
    let mut present = u32::from_le_bytes(first);
    let (says_flags, timer) = (present & FLAGS != 0, present & TIMER != 0);
    let mut at = 8;
    while present & MORE != 0 {
        let Some(&word) = bytes.get(at..).and_then(<[u8]>::first_chunk) else { return Err(0) };
        present = u32::from_le_bytes(word);
        at += 4;
    }
    if timer {
        at = at.next_multiple_of(8) + 8;
    }
    let aligned = says_flags && bytes.get(at).is_some_and(|flags| flags & ALIGNED != 0);
    if length < 8 || bytes.len() < length { Err(0) } else { data(bytes, length, aligned) }
}
