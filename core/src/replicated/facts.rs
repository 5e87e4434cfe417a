//! What a replica has seen of one other journal and may still have to read.
//!
//! A frame stays until a stored frame of the reader's own journal says that it was read:
//! what a leader has read in memory only is read again by the next one.

use alloc::collections::VecDeque;

use super::entry::{SharedFrame, StreamSequence};
use crate::decider::Fact;
use crate::ids::Sequence;
use crate::limits::FACTS_KEPT_MAX;

/// The frames of one other journal from the reader's recorded cursor on.
#[derive(Debug, Default)]
pub(super) struct Facts {
    frames: VecDeque<(StreamSequence, SharedFrame)>,
    events: usize,
    /// The last message seen.
    seen: StreamSequence,
    /// Messages came that there was no room for: the tail has to be asked for again.
    is_behind: bool,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Seen now, or before.
    Yes,
    /// There is no room; [`Facts::wants_from`] tells when.
    Full,
    /// Messages in between are missing.
    Gap,
}

impl Facts {
    /// Nothing seen, and the next message to see is the one after `seen`.
    pub(super) fn after(seen: StreamSequence) -> Self {
        Self {
            seen,
            ..Self::default()
        }
    }

    /// The last message seen.
    pub(super) const fn seen(&self) -> StreamSequence {
        self.seen
    }

    /// Takes a message; `read` is the reader's recorded cursor.
    pub(super) fn push(
        &mut self,
        stream_sequence: StreamSequence,
        frame: Option<SharedFrame>,
        read: Sequence,
    ) -> Taken {
        if stream_sequence <= self.seen {
            return Taken::Yes;
        }
        if self.is_behind || self.events >= FACTS_KEPT_MAX {
            self.is_behind = true;
            return Taken::Full;
        }
        if stream_sequence != self.seen.next() {
            return Taken::Gap;
        }
        self.seen = stream_sequence;
        if let Some(frame) = frame
            && frame.last() > read
        {
            self.events += frame.span().1;
            self.frames.push_back((stream_sequence, frame));
        }
        Taken::Yes
    }

    /// The reader's journal says that it has read up to here.
    pub(super) fn recorded(&mut self, read: Sequence) {
        while let Some((_, frame)) = self.frames.front()
            && frame.last() <= read
        {
            self.events -= frame.span().1;
            self.frames.pop_front();
        }
    }

    /// From where the tail is wanted, if there is room.
    pub(super) const fn wants_from(&mut self) -> Option<StreamSequence> {
        // Half, so that it is not asked for anew after every few messages.
        if self.is_behind && self.events > FACTS_KEPT_MAX / 2 {
            return None;
        }
        self.is_behind = false;
        Some(self.seen.next())
    }

    /// The message after which everything that may still have to be read comes.
    pub(super) fn restart_after(&self) -> StreamSequence {
        self.frames
            .front()
            .map_or(self.seen, |(stream_sequence, _)| stream_sequence.previous())
    }

    /// The event after `cursor`, if it was seen. `Err`: it never will be, events after it
    /// were seen.
    pub(super) fn next(&self, cursor: Sequence) -> Result<Option<Fact<'_>>, ()> {
        let index = self
            .frames
            .partition_point(|(_, frame)| frame.last() <= cursor);
        let Some((_, frame)) = self.frames.get(index) else {
            return Ok(None);
        };
        frame.fact(cursor.next()).map(Some).ok_or(())
    }
}
