//! What must always hold, as named predicates over plain state.
//!
//! They are apart from the deciders because they are their check: the simulator, the
//! tests and `a4co verify` ask the same questions, and none of them asks a decider.
//!
//! ```text
//! Which view they need
//!  - a consistent cut: no participant's state may be ahead of another's whose events
//!    it has already read. One record of the embedded log is such a cut; so are three
//!    journals that were each read to their end, the order journal first;
//!  - rows that have left memory may be missing. Say so (`World::is_complete`), and
//!    what cannot be judged without them is not judged.
//!
//! When they hold
//!  - `Phase::Commit`: after every single append;
//!  - `Phase::TimersServed`: also, every timer that was due has been served;
//!  - `Phase::Quiescent`: also, nothing is under way any more, and the gateway answers.
//! ```
//!
//! [`check_all`] judges one view, [`check_transition`] two of them, one after the other.
//! Whoever has more rows than memory goes row by row, with [`check_order`],
//! [`check_product`] and [`StockSums`]. What concerns a journal and not a state is asked
//! with [`journal_contiguous`], [`one_committer`] and [`replay_equals_state`].

mod journal;
mod money;
mod saga;
mod stock;
mod world;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

pub use self::journal::{
    journal_contiguous, one_committer, replay_equals_state, same_key_same_answer,
};
pub use self::money::{charged_at_most_once, money_accounted, unaccounted_minor};
pub use self::saga::{
    cancelled_implies_nothing_held, confirmed_implies_committed_and_paid, every_saga_ends,
    payment_is_final, reservation_is_final, saga_steps_legal, terminal_is_final,
};
pub use self::stock::{
    StockSum, StockSums, leaked_units, never_oversold, no_hold_outlives_its_end, stock_conserved,
};
pub use self::world::{Books, GatewayAccount, OrderView, World};

use crate::ids::{IdempotencyKey, OrderId, ParticipantId, ProductId, Sequence};
use crate::inventory::Product;
use crate::time::Timestamp;

/// The invariants, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// See [`stock_conserved`].
    StockConserved,
    /// See [`never_oversold`].
    NeverOversold,
    /// See [`charged_at_most_once`].
    ChargedAtMostOnce,
    /// See [`money_accounted`].
    MoneyAccounted,
    /// See [`confirmed_implies_committed_and_paid`].
    ConfirmedImpliesCommittedAndPaid,
    /// See [`cancelled_implies_nothing_held`].
    CancelledImpliesNothingHeld,
    /// See [`no_hold_outlives_its_end`].
    NoHoldOutlivesItsEnd,
    /// See [`saga_steps_legal`].
    SagaStepsLegal,
    /// See [`terminal_is_final`].
    TerminalIsFinal,
    /// See [`journal_contiguous`].
    JournalContiguous,
    /// See [`replay_equals_state`].
    ReplayEqualsState,
    /// See [`one_committer`].
    OneCommitter,
    /// See [`every_saga_ends`].
    EverySagaEnds,
    /// See [`same_key_same_answer`].
    SameKeySameAnswer,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::StockConserved,
        Self::NeverOversold,
        Self::ChargedAtMostOnce,
        Self::MoneyAccounted,
        Self::ConfirmedImpliesCommittedAndPaid,
        Self::CancelledImpliesNothingHeld,
        Self::NoHoldOutlivesItsEnd,
        Self::SagaStepsLegal,
        Self::TerminalIsFinal,
        Self::JournalContiguous,
        Self::ReplayEqualsState,
        Self::OneCommitter,
        Self::EverySagaEnds,
        Self::SameKeySameAnswer,
    ];

    /// The name, as reports and documents have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::StockConserved => "stock_conserved",
            Self::NeverOversold => "never_oversold",
            Self::ChargedAtMostOnce => "charged_at_most_once",
            Self::MoneyAccounted => "money_accounted",
            Self::ConfirmedImpliesCommittedAndPaid => "confirmed_implies_committed_and_paid",
            Self::CancelledImpliesNothingHeld => "cancelled_implies_nothing_held",
            Self::NoHoldOutlivesItsEnd => "no_hold_outlives_its_end",
            Self::SagaStepsLegal => "saga_steps_legal",
            Self::TerminalIsFinal => "terminal_is_final",
            Self::JournalContiguous => "journal_contiguous",
            Self::ReplayEqualsState => "replay_equals_state",
            Self::OneCommitter => "one_committer",
            Self::EverySagaEnds => "every_saga_ends",
            Self::SameKeySameAnswer => "same_key_same_answer",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a violation was found on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// An order, its reservation or its payment.
    Order(OrderId),
    /// A product.
    Product(ProductId),
    /// A kept answer.
    Answer(ParticipantId, IdempotencyKey),
    /// A place in a journal.
    Journal(ParticipantId, Sequence),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order(order_id) => write!(f, "order {order_id}"),
            Self::Product(product_id) => write!(f, "product {product_id}"),
            Self::Answer(participant, key) => write!(f, "{participant} answer under {key}"),
            Self::Journal(participant, sequence) => {
                write!(f, "{participant} journal at {}", sequence.get())
            }
        }
    }
}

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// On what.
    pub subject: Subject,
    /// What was found, for people.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.invariant, self.subject, self.detail)
    }
}

/// What a predicate of this module comes to: `Err` says what was found.
pub type Verdict = Result<(), String>;

/// How much may be demanded of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// After any append: messages, calls and timers may be under way.
    Commit,
    /// As `Commit`, and every timer that was due at `now` has been served.
    TimersServed {
        /// The time up to which timers were served.
        now: Timestamp,
    },
    /// Nothing is under way: all messages are read, every call has its definite answer,
    /// and every timer that was due at `now` has been served.
    Quiescent {
        /// The time up to which timers were served.
        now: Timestamp,
    },
}

impl Phase {
    /// The time up to which timers have been served, if that may be relied on.
    #[must_use]
    pub const fn served_until(self) -> Option<Timestamp> {
        match self {
            Self::Commit => None,
            Self::TimersServed { now } | Self::Quiescent { now } => Some(now),
        }
    }

    /// Whether nothing is under way any more.
    #[must_use]
    pub const fn is_quiescent(self) -> bool {
        matches!(self, Self::Quiescent { .. })
    }
}

/// Asks everything that one view can answer.
#[must_use]
pub fn check_all(world: &World<'_>, phase: Phase) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut sums = StockSums::default();
    for view in world.orders() {
        for reservation in view.reservations() {
            sums.add(reservation);
        }
        check_order(&view, phase, &mut found);
    }
    for product in world.products() {
        let sum = sums.of(&product.product_id);
        check_product(product, sum, world.is_complete(), &mut found);
    }
    found
}

/// Asks everything about one order with its reservation and its payment.
pub fn check_order(view: &OrderView<'_>, phase: Phase, found: &mut Vec<Violation>) {
    let verdicts = [
        (Invariant::SagaStepsLegal, saga_steps_legal(view)),
        (
            Invariant::ConfirmedImpliesCommittedAndPaid,
            confirmed_implies_committed_and_paid(view),
        ),
        (
            Invariant::CancelledImpliesNothingHeld,
            cancelled_implies_nothing_held(view),
        ),
        (
            Invariant::NoHoldOutlivesItsEnd,
            no_hold_outlives_its_end(view, phase),
        ),
        (Invariant::ChargedAtMostOnce, charged_at_most_once(view)),
        (Invariant::MoneyAccounted, money_accounted(view, phase)),
        (Invariant::EverySagaEnds, every_saga_ends(view, phase)),
    ];
    let subject = || Subject::Order(view.order_id);
    found.extend(
        verdicts
            .into_iter()
            .filter_map(|(invariant, verdict)| violation(invariant, subject, verdict)),
    );
}

/// Asks everything about one product. `sum` is over all reservations if `is_complete`,
/// else over those in memory.
pub fn check_product(
    product: &Product,
    sum: StockSum,
    is_complete: bool,
    found: &mut Vec<Violation>,
) {
    let verdicts = [
        (
            Invariant::StockConserved,
            stock_conserved(product, sum, is_complete),
        ),
        (Invariant::NeverOversold, never_oversold(product)),
    ];
    let subject = || Subject::Product(product.product_id.clone());
    found.extend(
        verdicts
            .into_iter()
            .filter_map(|(invariant, verdict)| violation(invariant, subject, verdict)),
    );
}

/// Asks everything that only two views can answer: `after` is later than `before`, by
/// one append or by many.
#[must_use]
pub fn check_transition(before: &World<'_>, after: &World<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for earlier in before.orders() {
        let later = after.order(earlier.order_id);
        let mut reservations = before.reservations_of(earlier.order_id);
        let verdict = terminal_is_final(earlier.order, later.order)
            .and_then(|()| {
                reservations.try_for_each(|(shard, earlier)| {
                    let mut later = after.reservations_of(earlier.order_id);
                    let later = later.find(|(other, _)| *other == shard);
                    reservation_is_final(Some(earlier), later.map(|(_, it)| it))
                })
            })
            .and_then(|()| payment_is_final(earlier.payment, later.payment));
        let subject = || Subject::Order(earlier.order_id);
        found.extend(violation(Invariant::TerminalIsFinal, subject, verdict));
    }
    for (shard, earlier) in before.answers() {
        let Some(later) = after.answer(earlier.participant, shard, &earlier.key) else {
            continue;
        };
        let subject = || Subject::Answer(earlier.participant, earlier.key.clone());
        let verdict = same_key_same_answer(earlier, later);
        found.extend(violation(Invariant::SameKeySameAnswer, subject, verdict));
    }
    found
}

fn violation(
    invariant: Invariant,
    subject: impl Fn() -> Subject,
    verdict: Verdict,
) -> Option<Violation> {
    verdict.err().map(|detail| Violation {
        invariant,
        subject: subject(),
        detail,
    })
}
