//! The only source of chance: a seed, and what is forked from it by name.
//!
//! Every decision draws from a fork that is named after what is decided (the component, the
//! order, the attempt). So components do not disturb each other, and a plan from which an
//! action was taken out decides everything else as before: that is what makes shrinking
//! work.

/// `SplitMix64`: small, fast, and the same on every machine.
#[derive(Debug, Clone)]
pub struct Rng(u64);

/// What a fork is for. The numbers are part of every seed's meaning.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Stream {
    Swarm = 1,
    Settings,
    Actions,
    Faults,
    Network,
    Append,
    Fetch,
    Charge,
    Call,
    Refund,
    Webhook,
    Crash,
    Restart,
    Ids,
    Flip,
    Driver,
    Cluster,
    Reads,
}

const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Rng {
    /// The fork of `seed` for one decision.
    #[must_use]
    pub fn fork(seed: u64, stream: Stream, names: &[u64]) -> Self {
        let mut state = mix(seed ^ (stream as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for name in names {
            state = mix(state.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ *name);
        }
        Self(state)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias of a remainder is of no weight at bounds far below 2^64.
        self.next_u64().checked_rem(bound).unwrap_or(0)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in `per_mille` of 1,000 cases.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1000) < u64::from(per_mille)
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers computed once: a change here would change what every seed means.
    #[test]
    fn a_fork_is_the_same_for_ever() {
        let mut rng = Rng::fork(7, Stream::Swarm, &[1, 2]);
        let first = rng.next_u64();
        assert_eq!(Rng::fork(7, Stream::Swarm, &[1, 2]).next_u64(), first);
        assert_ne!(Rng::fork(7, Stream::Swarm, &[2, 1]).next_u64(), first);
        assert_ne!(Rng::fork(7, Stream::Settings, &[1, 2]).next_u64(), first);
        assert_ne!(Rng::fork(8, Stream::Swarm, &[1, 2]).next_u64(), first);
    }

    #[test]
    fn bounds_hold() {
        let mut rng = Rng::fork(1, Stream::Faults, &[]);
        for _ in 0..1000 {
            assert!((3..=5).contains(&rng.between(3, 5)));
            assert!(!rng.chance(0));
            assert!(rng.chance(1000));
        }
        assert_eq!(rng.below(0), 0);
    }
}
