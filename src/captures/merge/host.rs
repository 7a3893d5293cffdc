//! Link types whose packets hold numbers of the capturing host.
//!
//! Owns which bytes these are: the new file is little-endian, and so they have to be.

/// Turns the numbers of a packet that a big-endian host captured.
pub(super) fn to_little_endian(link_type: u16, data: &mut [u8]) {
    match link_type {
        USB => usb(data, 48),
        USB_MMAPPED => usb(data, 64),
        NFLOG => nflog(data),
        _ => {}
    }
}

const USB: u16 = 189;
const USB_MMAPPED: u16 = 220;
const NFLOG: u16 = 239;

fn turn(data: &mut [u8], at: usize, length: usize) {
    if let Some(number) = data.get_mut(at..at + length) {
        number.reverse();
    }
}

/// Linux's header of a USB request, and the descriptors of isochronous transfers behind it.
fn usb(data: &mut [u8], header: usize) {
    const ISOCHRONOUS: u8 = 0;
    let (transfer, setup) = (data.get(9).copied(), data.get(14).copied());
    for (at, length) in [(0, 8), (12, 2), (16, 8), (24, 4), (28, 4), (32, 4), (36, 4)] {
        turn(data, at, length);
    }
    if transfer == Some(ISOCHRONOUS) && setup != Some(0) {
        turn(data, 40, 4);
        turn(data, 44, 4);
    }
    if header < 64 {
        return;
    }
    for at in [48, 52, 56, 60] {
        turn(data, at, 4);
    }
    if transfer == Some(ISOCHRONOUS) {
        let count = data.get(60..64).and_then(<[u8]>::first_chunk).map_or(0, |&count| u32::from_le_bytes(count));
        for descriptor in 0..(count as usize).min(data.len() / 16) {
            let at = header + descriptor * 16;
            for (at, length) in [(at, 4), (at + 4, 4), (at + 8, 4)] {
                turn(data, at, length);
            }
        }
    }
}

/// Netfilter's log: four bytes, then attributes whose lengths and types are the host's.
fn nflog(data: &mut [u8]) {
    if data.len() < 4 || data[1] != 0 {
        return;
    }
    let mut at = 4;
    while let Some(&length) = data.get(at..).and_then(<[u8]>::first_chunk::<2>) {
        let length = usize::from(u16::from_be_bytes(length));
        turn(data, at, 2);
        turn(data, at + 2, 2);
        if length < 4 {
            return;
        }
        at += length.next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_host_are_turned_and_short_packets_are_no_harm() {
        let mut data: Vec<u8> = (0..64).collect();
        to_little_endian(USB, &mut data);
        assert_eq!(data[..8], [7, 6, 5, 4, 3, 2, 1, 0]);
        assert_eq!((data[8], data[12], data[13], data[36], data[40]), (8, 13, 12, 39, 40));
        let mut log = vec![2, 0, 0, 1, 0, 6, 0, 9, 1, 2, 0, 0, 0, 4, 0, 1];
        to_little_endian(NFLOG, &mut log);
        assert_eq!(log, [2, 0, 0, 1, 6, 0, 9, 0, 1, 2, 0, 0, 4, 0, 1, 0]);
        for link_type in [USB, USB_MMAPPED, NFLOG, 1] {
            for length in 0..80 {
                to_little_endian(link_type, &mut vec![0; length]);
                to_little_endian(link_type, &mut vec![0xFF; length]);
            }
        }
    }
}
