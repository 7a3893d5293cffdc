//! How far a counter has come between two readings.
//!
//! Owns what a smaller value means: the counter was full and began again at 0 (32 or 64 bit), it was set back, as a
//! driver does when it is reset, or it was corrected a little. Pure.

/// A counter that is this near to its largest value may be full at the next reading.
const NEAR: u64 = 1 << 28;
const FULL_32: u64 = 1 << 32;

/// What lies between two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// What was counted.
    pub moved: u64,
    /// The counter was set back.
    pub reset: bool,
}

/// Between the reading before and this one. What a counter that was set back had counted until then is not known.
pub fn difference(before: u64, now: u64) -> Difference {
    let (moved, reset) = if now >= before {
        (now - before, false)
    } else if (FULL_32 - NEAR..FULL_32).contains(&before) && now < NEAR {
        (FULL_32 - before + now, false)
    } else if before >= u64::MAX - NEAR && now < NEAR {
        (now.wrapping_sub(before), false)
    } else if now <= before / 2 {
        // Since it was set back it has come this far.
        (now, true)
    } else {
        // Nothing that counts falls a little: it was corrected.
        (0, true)
    };
    Difference { moved, reset }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_counter_goes_on_from_nought() {
        assert_eq!(difference(5, 7), Difference { moved: 2, reset: false });
        assert_eq!(difference(u64::from(u32::MAX), 2), Difference { moved: 3, reset: false });
        assert_eq!(difference(u64::from(u32::MAX) - 999, 0), Difference { moved: 1000, reset: false });
        assert_eq!(difference(u64::MAX, 0), Difference { moved: 1, reset: false });
        assert_eq!(difference(u64::MAX - 4, 5), Difference { moved: 10, reset: false });
        // One of 64 bit that passes the largest number of 32 is no full one.
        assert_eq!(difference(u64::from(u32::MAX), u64::from(u32::MAX) + 3), Difference { moved: 3, reset: false });
    }

    #[test]
    fn one_that_was_set_back_has_counted_what_it_has() {
        assert_eq!(difference(1_000_000, 12), Difference { moved: 12, reset: true });
        assert_eq!(difference(3_000_000_000, 5), Difference { moved: 5, reset: true });
        assert_eq!(difference(1000, 998), Difference { moved: 0, reset: true });
    }

    proptest! {
        #[test]
        fn no_two_readings_make_more_than_there_can_be(before: u64, now: u64) {
            let found = difference(before, now);
            prop_assert!(found.moved <= now.max(2 * NEAR));
            prop_assert_eq!(difference(now, now), Difference { moved: 0, reset: false });
        }

        #[test]
        fn whatever_is_added_is_found_again_over_every_end(before: u64, by in 0..NEAR) {
            prop_assert_eq!(difference(before, before.wrapping_add(by)).moved, by);
            let narrow = before as u32;
            let found = difference(u64::from(narrow), u64::from(narrow.wrapping_add(by as u32)));
            prop_assert_eq!(found.moved, by);
        }
    }
}
