//! Time on a node: a clock for lengths of time that no one can set, and the one on the wall for people.
//!
//! Owns the boot-time clock, which goes on while the machine is suspended and never jumps: leases, deadlines, a flight
//! recorder's spans and ages are measured by it. Must not know what the time is for.

use std::{
    fs,
    ops::{Add, Sub},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nodewatch_protocol::UnixMillis;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;

/// A timer of the runtime stands still while the machine is suspended: no wait relies on one for longer than this.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// A moment on the boot-time clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Boot(Duration);

impl Boot {
    /// As it is remembered: milliseconds since the node was started.
    pub fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// Milliseconds since the node was started.
    pub fn as_millis(self) -> u64 {
        self.0.as_millis() as u64
    }

    /// Nanoseconds since the node was started.
    pub fn as_nanos(self) -> i64 {
        i64::try_from(self.0.as_nanos()).unwrap_or(i64::MAX)
    }

    /// How long ago `earlier` was; nothing when it is still to come.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Boot {
    type Output = Self;

    /// However long the time is, the sum is a moment.
    fn add(self, length: Duration) -> Self {
        Self(self.0.saturating_add(length))
    }
}

impl Sub<Duration> for Boot {
    type Output = Self;

    fn sub(self, length: Duration) -> Self {
        Self(self.0.saturating_sub(length))
    }
}

/// Both clocks. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    hands: Option<Arc<Hands>>,
}

/// A clock whose hands a test moves.
#[derive(Debug, Default)]
struct Hands {
    boot: AtomicU64,
    wall: AtomicU64,
    moved: Notify,
}

impl Clock {
    /// The node's.
    pub const fn system() -> Self {
        Self { hands: None }
    }

    /// One that stands still at those milliseconds until it is told to go on, for tests.
    pub fn standing(boot: u64, wall: UnixMillis) -> Self {
        let hands = Hands { boot: boot.into(), wall: wall.into(), moved: Notify::new() };
        Self { hands: Some(Arc::new(hands)) }
    }

    /// Time goes on, on both clocks, or is suspended so long. A system's clock goes by itself.
    pub fn advance(&self, length: Duration) {
        let Some(hands) = &self.hands else { return };
        let millis = length.as_millis() as u64;
        hands.boot.fetch_add(millis, Ordering::SeqCst);
        hands.wall.fetch_add(millis, Ordering::SeqCst);
        hands.moved.notify_waiters();
    }

    /// Somebody sets the clock on the wall. A system's clock is not ours to set.
    pub fn set_wall(&self, wall: UnixMillis) {
        let Some(hands) = &self.hands else { return };
        hands.wall.store(wall, Ordering::SeqCst);
    }

    /// The boot-time clock.
    pub fn boot(&self) -> Boot {
        match &self.hands {
            None => {
                let time = clock_gettime(ClockId::Boottime);
                Boot(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
            }
            Some(hands) => Boot::from_millis(hands.boot.load(Ordering::SeqCst)),
        }
    }

    /// The clock on the wall, in nanoseconds since the Unix epoch.
    pub fn unix_nanos(&self) -> u64 {
        match &self.hands {
            None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64),
            Some(hands) => hands.wall.load(Ordering::SeqCst).saturating_mul(1_000_000),
        }
    }

    /// The same as the wire has it.
    pub fn unix_millis(&self) -> UnixMillis {
        self.unix_nanos() / 1_000_000
    }

    /// Waits for a moment, which a machine that was suspended meanwhile reaches on time.
    pub async fn reaches(&self, moment: Boot) {
        loop {
            let moved = self.hands.as_ref().map(|hands| hands.moved.notified());
            let left = moment.since(self.boot());
            if left.is_zero() {
                return;
            }
            match moved {
                Some(moved) => moved.await,
                None => tokio::time::sleep(left.min(LONGEST_SLEEP)).await,
            }
        }
    }
}

/// Names the time since the node was started last: a [`Boot`] that was remembered means something within it only. Empty
/// where the kernel does not tell.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or_else(|_| String::new(), |id| id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_bounds_and_no_sign() {
        let early = Boot::from_millis(5);
        let late = early + Duration::MAX;
        assert!(late > early);
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!((early - Duration::from_secs(9)).as_millis(), 0);
    }

    #[test]
    fn the_system_clock_counts_up_and_its_boot_has_a_name() {
        let clock = Clock::system();
        let before = clock.boot();
        assert!(clock.boot() >= before && before > Boot::default());
        assert_eq!(boot_id().len(), 36);
        assert_eq!(boot_id(), boot_id());
    }

    #[tokio::test]
    async fn a_wait_ends_by_the_boot_clock_whatever_the_wall_says() {
        let clock = Clock::standing(1000, 5_000_000);
        let mut wait = Box::pin(clock.reaches(clock.boot() + Duration::from_secs(60)));
        let mut is_over = async || {
            tokio::select! {
                biased;
                () = &mut wait => true,
                () = std::future::ready(()) => false,
            }
        };
        clock.set_wall(9_000_000_000);
        assert!(!is_over().await, "a wall clock that was set is no time");
        clock.advance(Duration::from_secs(59));
        assert!(!is_over().await);
        clock.set_wall(1);
        clock.advance(Duration::from_secs(1));
        assert!(is_over().await);
    }
}
