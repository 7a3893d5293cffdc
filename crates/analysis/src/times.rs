//! How long things took, so that half and nearly all of them can be told.
//!
//! Owns the steps in which that is counted: four in each doubling, so a time is told within a fifth of itself.

/// Below this all is one step: 2^13 ns, about 8 µs.
const LEAST_BITS: u32 = 13;
/// The last step holds all that took longer than about 70 s.
const STEPS: usize = 92;

/// Times, counted by steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    steps: Box<[u32; STEPS]>,
    count: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self { steps: Box::new([0; STEPS]), count: 0 }
    }
}

impl Times {
    /// Counts one, in nanoseconds.
    pub fn count(&mut self, nanos: u64) {
        let step = &mut self.steps[step(nanos)];
        *step = step.saturating_add(1);
        self.count += 1;
    }

    /// How many were counted.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// None was counted.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// So many thousandths of them took no longer than this, in nanoseconds; `None` where there are none.
    pub fn within(&self, thousandths: u64) -> Option<u64> {
        let wanted = (self.count * thousandths).div_ceil(1000).max(1);
        let mut seen = 0;
        let at = self.steps.iter().position(|&count| {
            seen += u64::from(count);
            seen >= wanted
        })?;
        Some(middle(at))
    }

    /// Adds those of another.
    pub fn add(&mut self, other: &Self) {
        for (step, more) in self.steps.iter_mut().zip(other.steps.iter()) {
            *step = step.saturating_add(*more);
        }
        self.count += other.count;
    }
}

fn step(nanos: u64) -> usize {
    let bits = nanos.max(1).ilog2();
    if bits < LEAST_BITS {
        return 0;
    }
    let quarter = nanos >> (bits - 2) & 3;
    ((bits - LEAST_BITS) as usize * 4 + quarter as usize + 1).min(STEPS - 1)
}

/// What stands for all times of a step.
fn middle(step: usize) -> u64 {
    let Some(above) = step.checked_sub(1) else { return 1 << (LEAST_BITS - 1) };
    let (bits, quarter) = (LEAST_BITS + above as u32 / 4, above as u64 % 4);
    let width = 1u64 << (bits - 2);
    (4 + quarter) * width + width / 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_time_is_told_within_a_fifth(nanos in 10_000u64..60_000_000_000) {
            let mut times = Times::default();
            times.count(nanos);
            let told = times.within(500).expect("one");
            prop_assert!(told.abs_diff(nanos) * 5 <= nanos, "{told} {nanos}");
        }
    }

    #[test]
    fn half_and_nearly_all_are_told_apart() {
        let mut times = Times::default();
        assert_eq!(times.within(500), None);
        for _ in 0..98 {
            times.count(1_000_000);
        }
        (0..2).for_each(|_| times.count(900_000_000));
        times.count(u64::MAX);
        let (half, most) = (times.within(500).expect("half"), times.within(990).expect("most"));
        assert!((900_000..1_200_000).contains(&half) && (700_000_000..1_000_000_000).contains(&most), "{half} {most}");
        assert_eq!(times.len(), 101);
    }
}
