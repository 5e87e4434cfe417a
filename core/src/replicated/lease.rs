//! The lease of one journal: who should lead, so that two do not duel. Nothing that must
//! never happen depends on it.
//!
//! A key with a holder and a counter. Its holder writes it anew three times in its time to
//! live; whoever has seen the same revision for a whole time to live, on its own clock,
//! may try to take it, by an update of just that revision. The key is never deleted: a
//! released lease is one without a holder.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::entry::HostId;
use super::io::LeaseAnswer;
use crate::record::{DecodeError, decode, encode};
use crate::time::{Millis, Timestamp};

/// The value of a lease's key: the version byte, then postcard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Who holds it; nobody does where it was released.
    pub holder: Option<HostId>,
    /// Counts its holder's writes, so that each value differs from the one before.
    pub beat: u64,
}

impl Lease {
    /// The value at rest.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`DecodeError`] for any other bytes; never a panic.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes)
    }
}

/// What a keeper wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LeaseOutput {
    Read,
    Write {
        expected_revision: u64,
        value: Lease,
    },
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    revision: u64,
    holder: Option<HostId>,
    /// When this revision was first seen, on this process's clock.
    since: Timestamp,
}

/// One host's view of one lease.
#[derive(Debug)]
pub(super) struct LeaseKeeper {
    host: HostId,
    ttl: Millis,
    seen: Option<Seen>,
    beat: u64,
    /// The value of a write whose answer is due.
    writing: Option<Lease>,
    /// What was seen last may be older than the key: read it before writing again.
    is_doubtful: bool,
    next_read: Timestamp,
    next_renewal: Timestamp,
    /// Not taken before then: it was just handed over.
    rests_until: Timestamp,
    /// A write came to nothing: not written again before then, or servers that refuse at
    /// once (a key-value stream without a quorum does) are asked without a pause.
    write_after: Timestamp,
    /// It was handed over and not taken again since, whatever the key still shows.
    is_released: bool,
}

impl LeaseKeeper {
    pub(super) fn new(host: HostId, ttl: Millis) -> Self {
        Self {
            host,
            ttl,
            seen: None,
            beat: 0,
            writing: None,
            is_doubtful: true,
            next_read: Timestamp::UNIX_EPOCH,
            next_renewal: Timestamp::UNIX_EPOCH,
            rests_until: Timestamp::UNIX_EPOCH,
            write_after: Timestamp::UNIX_EPOCH,
            is_released: false,
        }
    }

    /// Does this host hold it, as far as it knows and without a doubt?
    pub(super) fn is_mine(&self) -> bool {
        !self.is_doubtful && !self.is_released && self.holder() == Some(self.host)
    }

    /// Another host claimed the journal, so it believes that it holds the lease: look
    /// before anything is done in the belief that it is ours. Otherwise two hosts, one of
    /// which slept beyond its lease, take the journal from each other without end.
    pub(super) fn doubt(&mut self, now: Timestamp) {
        self.is_doubtful = true;
        self.next_read = now;
    }

    /// Does another host hold it, as far as it is known here?
    pub(super) fn is_others(&self) -> bool {
        self.holder().is_some_and(|holder| holder != self.host)
    }

    /// Who holds it, as far as it is known here.
    pub(super) fn holder(&self) -> Option<HostId> {
        self.seen.and_then(|seen| seen.holder)
    }

    /// What the key held, and its revision. In a read's answer, and from a watch.
    pub(super) fn seen(&mut self, now: Timestamp, value: Option<&[u8]>, revision: u64) {
        // A watch may show what is older than a write of ours; the answer to a read that
        // was asked for in doubt is taken as it is, since a bucket made anew counts anew.
        if let Some(seen) = self.seen
            && (seen.revision == revision || (seen.revision > revision && !self.is_doubtful))
        {
            self.is_doubtful = false;
            return;
        }
        self.is_doubtful = false;
        // A value that cannot be read has a holder that nobody knows: it is waited for.
        let lease = value.map(Lease::decode);
        let holder = match lease {
            None => None,
            Some(Ok(lease)) => lease.holder,
            Some(Err(_)) => Some(HostId::default()),
        };
        // The key takes writes: ours was refused for the sake of another.
        self.write_after = Timestamp::UNIX_EPOCH;
        self.seen = Some(Seen {
            revision,
            holder,
            since: now,
        });
        if holder == Some(self.host) {
            self.next_renewal = now.saturating_add(self.third());
        }
    }

    pub(super) fn written(&mut self, now: Timestamp, answer: LeaseAnswer) {
        let Some(lease) = self.writing.take() else {
            return;
        };
        match answer {
            LeaseAnswer::Ok { revision } => {
                self.seen = Some(Seen {
                    revision,
                    holder: lease.holder,
                    since: now,
                });
                self.is_doubtful = false;
                self.next_renewal = now.saturating_add(self.third());
            }
            LeaseAnswer::Conflict | LeaseAnswer::Unknown => {
                self.is_doubtful = true;
                self.next_read = now;
                self.write_after = now.saturating_add(Millis::new(self.third().get() / 4));
            }
        }
    }

    /// Lets it go, and does not take it again for a time to live.
    pub(super) fn release(&mut self, now: Timestamp) -> Option<LeaseOutput> {
        self.rests_until = now.saturating_add(self.ttl);
        self.is_released = true;
        if self.holder() != Some(self.host) {
            return None;
        }
        // A renewal under way has another revision in the end, and then this one fails:
        // the lease runs out by itself.
        Some(self.write(None))
    }

    /// What is due now. `wants`: whether this host would lead.
    pub(super) fn tick(&mut self, now: Timestamp, wants: bool) -> Option<LeaseOutput> {
        if self.writing.is_some() {
            return None;
        }
        if self.is_doubtful {
            if now < self.next_read {
                return None;
            }
            self.next_read = now.saturating_add(self.third());
            return Some(LeaseOutput::Read);
        }
        let seen = self.seen?;
        let is_due = if seen.holder == Some(self.host) && !self.is_released {
            now >= self.next_renewal
        } else {
            // `>=`: a whole time to live has passed without a change.
            let is_silent = now >= seen.since.saturating_add(self.ttl);
            let is_free = seen.holder.is_none_or(|holder| holder == self.host);
            now >= self.rests_until && (is_free || is_silent)
        };
        (wants && is_due && now >= self.write_after).then(|| self.write(Some(self.host)))
    }

    /// When [`Self::tick`] may have something to do.
    pub(super) fn wake_at(&self, wants: bool) -> Option<Timestamp> {
        if self.writing.is_some() {
            return None;
        }
        if self.is_doubtful {
            return Some(self.next_read);
        }
        let seen = self.seen.filter(|_| wants)?;
        let due_at = if seen.holder == Some(self.host) && !self.is_released {
            self.next_renewal
        } else if seen.holder.is_none_or(|holder| holder == self.host) {
            self.rests_until
        } else {
            seen.since.saturating_add(self.ttl).max(self.rests_until)
        };
        Some(due_at.max(self.write_after))
    }

    fn write(&mut self, holder: Option<HostId>) -> LeaseOutput {
        self.beat += 1;
        self.is_released = holder.is_none();
        let value = Lease {
            holder,
            beat: self.beat,
        };
        self.writing = Some(value);
        LeaseOutput::Write {
            expected_revision: self.seen.map_or(0, |seen| seen.revision),
            value,
        }
    }

    const fn third(&self) -> Millis {
        Millis::new(self.ttl.get() / 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key-value stream without a quorum refuses each write at once, and shows the value
    /// of before. Both hosts, the holder and one who would take over, ask with pauses.
    #[test]
    fn a_write_that_is_refused_at_once_is_not_repeated_at_once() {
        let (us, other) = (HostId::from_bytes([1; 16]), HostId::from_bytes([2; 16]));
        let ttl = Millis::from_secs(10);
        for holder in [us, other] {
            let value = Lease {
                holder: Some(holder),
                beat: 7,
            };
            let mut keeper = LeaseKeeper::new(us, ttl);
            let mut now = Timestamp::from_unix_ms(1_000_000);
            keeper.seen(now, Some(&value.encode()), 40);
            let end = now.saturating_add(Millis::from_secs(30));
            let mut writes = 0;
            let mut steps = 0;
            while now < end {
                steps += 1;
                assert!(steps < 200, "asked without a pause");
                match keeper.tick(now, true) {
                    Some(LeaseOutput::Read) => keeper.seen(now, Some(&value.encode()), 40),
                    Some(LeaseOutput::Write { .. }) => {
                        writes += 1;
                        keeper.written(now, LeaseAnswer::Conflict);
                    }
                    None => now = keeper.wake_at(true).map_or(end, |at| at.max(now)),
                }
            }
            // Three or more in a time to live, so that it is had soon after they agree again.
            assert!((9..=40).contains(&writes), "{writes}");
        }
    }
}
