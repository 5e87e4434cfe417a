//! What has been reached: where a saga stood, what happened to it, and what had gone wrong
//! last. A check says nothing about a place that no run has been to.

use std::fmt::Write as _;

/// Where a saga stands, by the ledger's numbers.
const STAGES: [&str; 7] = [
    "created",
    "paying",
    "paid",
    "confirmed",
    "failed",
    "undoing",
    "undone",
];

/// What happens to it, by the ledger's numbers: the three journals' events.
const EVENTS: [&str; EVENTS_MAX] = {
    let mut names = [""; EVENTS_MAX];
    let order = [
        "OrderCreated",
        "PaymentRequested",
        "CommitRequested",
        "OrderConfirmed",
        "OrderFailed",
        "CompensationRequested",
        "UndoAcknowledged",
        "SagaParked",
        "RetryRequested",
        "OrderCancelled",
        "Answered (order)",
        "Recalled (order)",
        "StockAnswered",
        "StockGivenUp",
    ];
    let inventory = [
        "ProductDefined",
        "StockAdjusted",
        "InventoryReserved",
        "InventoryOutOfStock",
        "ReservationExtended",
        "InventoryCommitted",
        "InventoryCommitted, retaken",
        "InventoryCommitRefused",
        "InventoryReleased",
        "InventoryExpired",
        "Answered (inventory)",
        "Recalled (inventory)",
        "Returned",
    ];
    let payment = [
        "PaymentProcessing",
        "PaymentAttempted",
        "PaymentSucceeded",
        "PaymentFailed",
        "PaymentCancelRequested",
        "PaymentUndoRequested",
        "PaymentCancelled",
        "PaymentCancelled, forestalled",
        "PaymentCapturedLate",
        "RefundRequested",
        "PaymentRefunded",
        "RefundFailed",
        "PaymentParked",
        "PaymentRetried",
        "Answered (payment)",
        "Recalled (payment)",
        "PaymentActionRequired",
        "PaymentAuthorised",
        "PaymentCaptureRequested",
        "PaymentCaptureFailed",
        "PaymentWrittenOff",
    ];
    let mut at = 0;
    while at < payment.len() {
        if at < order.len() {
            names[at] = order[at];
        }
        if at < inventory.len() {
            names[INVENTORY as usize + at] = inventory[at];
        }
        names[PAYMENT as usize + at] = payment[at];
        at += 1;
    }
    names
};

/// Where the numbers of the inventory's events begin.
pub(crate) const INVENTORY: u8 = 20;
/// Where those of the payment's events begin.
pub(crate) const PAYMENT: u8 = 40;
const EVENTS_MAX: usize = 64;

macro_rules! strikes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// What had gone wrong last.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Strike { $($(#[$doc])* $name,)+ }

        const STRIKES: &[&str] = &[$($text),+];
    };
}

strikes! {
    /// Nothing yet.
    Nothing = "nothing yet",
    /// A request or a reply was lost.
    MessageLost = "request or reply lost",
    /// A call never reached the gateway.
    CallLost = "call lost",
    /// A call reached the gateway after its caller had given up.
    CallLate = "call late",
    /// The gateway answered with an error that says nothing.
    CallFails = "call fails",
    /// The gateway's answer was lost.
    AnswerLost = "answer lost",
    /// The gateway was out.
    Outage = "outage",
    /// The process was killed.
    Killed = "killed",
    /// The power went.
    PowerCut = "power cut",
    /// A sync was made to fail.
    SyncFails = "sync fails",
    /// A disk operation was made to fail.
    DiskFails = "disk fails",
    /// The disk was full.
    DiskFull = "disk full",
    /// The clock jumped.
    ClockJump = "clock jumps",
    /// A process of a cluster stood still, or was cut off.
    Apart = "process apart",
    /// The journal service had no leader, or was slow.
    Service = "journal service",
    /// All faults had ended.
    Healed = "faults ended",
}

impl Strike {
    /// How a process died.
    pub(crate) const fn of_death(power: bool) -> Self {
        if power { Self::PowerCut } else { Self::Killed }
    }
}

const WORDS: usize = STAGES.len() * EVENTS_MAX * 16 / 64;

/// A set of cells: of a saga's stage, an event, and what had gone wrong last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cells(Box<[u64; WORDS]>);

impl Default for Cells {
    fn default() -> Self {
        Self(Box::new([0; WORDS]))
    }
}

const fn index(stage: usize, event: usize, strike: usize) -> usize {
    (stage * EVENTS_MAX + event) * 16 + strike
}

impl Cells {
    /// Adds a cell, by the ledger's numbers of the stage and the event.
    pub(crate) fn insert(&mut self, stage: u8, event: u8, strike: Strike) {
        let index = index(usize::from(stage), usize::from(event), strike as usize);
        if let Some(word) = self.0.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }

    /// Adds all cells of another set.
    pub(crate) fn extend(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(other.0.iter()) {
            *word |= other;
        }
    }

    fn has(&self, stage: usize, event: usize, strike: usize) -> bool {
        let index = index(stage, event, strike);
        self.0[index / 64] & (1 << (index % 64)) != 0
    }

    /// The pairs of stage and event that were reached, with whatever had gone wrong.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let all = (0..STAGES.len()).flat_map(|it| (0..EVENTS_MAX).map(move |event| (it, event)));
        all.filter(|(stage, event)| {
            let at = index(*stage, *event, 0);
            self.0[at / 64] >> (at % 64) & 0xffff != 0
        })
    }

    /// How many cells, and of how many pairs of a stage and an event.
    #[must_use]
    pub fn count(&self) -> (u32, usize) {
        let cells = self.0.iter().map(|word| word.count_ones()).sum();
        (cells, self.pairs().count())
    }

    /// In a few words.
    pub(crate) fn summary(&self) -> String {
        let (cells, pairs) = self.count();
        let of = pairs * STRIKES.len();
        format!("{pairs} cells of (saga, event), {cells} of {of} of (saga, event, fault)")
    }

    /// Every pair that was reached, with what had gone wrong before; and which were not.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from("what had gone wrong last:\n");
        for (number, strike) in (b'a'..).zip(STRIKES) {
            let _ = writeln!(text, "  {} {strike}", char::from(number));
        }
        let mut missing = String::new();
        let mut never = 0;
        for (stage, event) in self.pairs() {
            let mut row = String::new();
            for (strike, letter) in (b'a'..).zip(STRIKES).map(|(it, _)| it).enumerate() {
                let has = self.has(stage, event, strike);
                row.push(if has { char::from(letter) } else { '.' });
            }
            let _ = writeln!(text, "{row}  {:<9} {}", STAGES[stage], EVENTS[event]);
            for (strike, name) in STRIKES.iter().enumerate() {
                if !self.has(stage, event, strike) {
                    never += 1;
                    let (stage, event) = (STAGES[stage], EVENTS[event]);
                    let _ = writeln!(missing, "  {stage}, {event}, after: {name}");
                }
            }
        }
        let _ = writeln!(text, "never reached, of pairs that were: {never}");
        text.push_str(&missing);
        let reached: Vec<_> = self.pairs().collect();
        text.push_str("never reached at all, most of them because they cannot be:\n");
        for (stage, name) in STAGES.iter().enumerate() {
            let events = (0..EVENTS_MAX).filter(|event| !EVENTS[*event].is_empty());
            let not: Vec<_> = events
                .filter(|event| !reached.contains(&(stage, *event)))
                .map(|event| EVENTS[event])
                .collect();
            let _ = writeln!(text, "  {name}: {}", not.join(", "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_what_was_inserted_and_nothing_else() {
        let mut cells = Cells::default();
        cells.insert(1, 2, Strike::Nothing);
        let mut others = Cells::default();
        others.insert(6, 55, Strike::Healed);
        others.insert(1, 2, Strike::PowerCut);
        cells.extend(&others);
        assert_eq!(cells.count(), (3, 2));
        assert_eq!(cells.pairs().collect::<Vec<_>>(), [(1, 2), (6, 55)]);
        let table = cells.table();
        assert!(table.contains("a.......i.......  paying    CommitRequested\n"));
        assert!(table.contains("...............p  undone    Recalled (payment)\n"));
        assert!(table.contains("  paying, CommitRequested, after: killed\n"));
        assert!(STRIKES.len() <= 16, "a strike has four bits");
    }
}
