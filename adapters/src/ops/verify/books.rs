//! The sandbox gateway's books against our payments, order by order.
//!
//! While a call is under way the gateway may be ahead of us, and never behind. Once a
//! payment is settled, both say the same.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use a4co_core::ids::OrderId;
use a4co_core::invariants::{
    GatewayAccount, Invariant, OrderView, Phase, Subject, Violation, charged_at_most_once,
    money_accounted,
};
use a4co_core::money::Amount;

use super::findings::Findings;
use super::parts::{Part, asked_back_minor};
use super::replay::Replay;
use super::report::Checked;
use crate::gateway::sandbox::{BookEntry, OrderBooks, SandboxBooks, SandboxError};

/// Compares the books in a folder with the payments. What was touched since the replay
/// ended is left out: its books may have gone on, too. That is asked for once the books
/// have been read, and only where something differs.
pub(super) fn compare(
    folder: &Path,
    replay: &mut Replay,
    touched_since: impl FnOnce() -> HashSet<OrderId>,
    findings: &mut Findings,
) -> Checked {
    let mut differing = Vec::new();
    let checked = match SandboxBooks::read(folder) {
        Ok(Some(books)) => compare_all(&books, replay, &mut differing),
        Ok(None) => Ok(Checked::NotChecked {
            why: "there are no sandbox books in this folder".to_owned(),
        }),
        Err(error) => Err(error),
    };
    if !differing.is_empty() {
        let touched = touched_since();
        differing.retain(|violation| match &violation.subject {
            Subject::Order(order_id) => !touched.contains(order_id),
            _ => true,
        });
    }
    for violation in differing {
        let subject = violation.subject.to_string();
        let detail = format!("{}: {}", violation.invariant, violation.detail);
        findings.difference("gateway_books_equal", subject, detail);
    }
    checked.unwrap_or_else(|error| {
        let subject = folder.display().to_string();
        findings.damage("gateway_books_readable", subject, error.to_string());
        Checked::NotChecked {
            why: "the sandbox's books cannot be read".to_owned(),
        }
    })
}

fn compare_all(
    books: &SandboxBooks,
    replay: &mut Replay,
    differing: &mut Vec<Violation>,
) -> Result<Checked, SandboxError> {
    let (mut items, mut without_history) = (0, 0);
    books.for_each_order(|order_id, account| {
        items += 1;
        if let Some(marks) = replay.marks.get_mut(&order_id) {
            marks.see_in_books();
        }
        let verdict = if replay.open_payment(order_id).is_some() {
            judge_open(order_id, account, replay)
        } else {
            match replay.marks.get(&order_id) {
                Some(ours) => judge_ended(ours.captured_minor, ours.refunded_minor, account),
                None if replay.is_whole => judge_ended(0, 0, account),
                None => {
                    without_history += 1;
                    Ok(())
                }
            }
        };
        if let Err((invariant, detail)) = verdict {
            let subject = Subject::Order(order_id);
            differing.push(Violation {
                invariant,
                subject,
                detail,
            });
        }
    })?;
    for (order_id, ours) in &replay.marks {
        if ours.captured_minor > 0 && !ours.is_in_books() {
            differing.push(Violation {
                invariant: Invariant::MoneyAccounted,
                subject: Subject::Order(*order_id),
                detail: format!(
                    "we have {} captured, the gateway's books do not know the order",
                    ours.captured_minor
                ),
            });
        }
    }
    Ok(Checked::Compared {
        items,
        without_history,
    })
}

type Judged = Result<(), (Invariant, String)>;

fn judge_open(order_id: OrderId, account: &OrderBooks, replay: &Replay) -> Judged {
    let parts = replay.parts(order_id);
    let amount = |minor| Amount::from_minor(minor).unwrap_or_default();
    let view = OrderView {
        order_id,
        order: parts.order.as_deref(),
        reservation: parts.reservation.as_deref(),
        others: Vec::new(),
        payment: parts.payment.as_deref(),
        gateway: Some(GatewayAccount {
            captured: amount(account.captured_minor),
            refunded: amount(account.refunded_minor),
            captures: account.captures,
        }),
        is_complete: false,
    };
    charged_at_most_once(&view).map_err(|detail| (Invariant::ChargedAtMostOnce, detail))?;
    money_accounted(&view, Phase::Commit).map_err(|detail| (Invariant::MoneyAccounted, detail))?;
    match &parts.payment {
        Some(payment) if payment.is_settled() => judge_ended(
            payment.captured.minor(),
            payment.refunded().minor(),
            account,
        ),
        _ => Ok(()),
    }
}

fn judge_ended(captured_minor: i64, refunded_minor: i64, account: &OrderBooks) -> Judged {
    if account.captures > 1 {
        let detail = format!("the gateway captured {} times", account.captures);
        return Err((Invariant::ChargedAtMostOnce, detail));
    }
    let theirs = (account.captured_minor, account.refunded_minor);
    if theirs == (captured_minor, refunded_minor) {
        return Ok(());
    }
    let detail = format!(
        "we have {captured_minor} captured and {refunded_minor} refunded, the gateway has {} \
         and {}",
        theirs.0, theirs.1
    );
    Err((Invariant::MoneyAccounted, detail))
}

/// Tells, entry by entry, which of the gateway's books belong to the past of a journal's
/// end: they are what the gateway would say if time went back to there.
pub(crate) struct BooksCut<'r> {
    replay: &'r Replay,
    refunded: HashMap<OrderId, i64>,
}

impl<'r> BooksCut<'r> {
    pub(super) fn new(replay: &'r Replay) -> Self {
        Self {
            replay,
            refunded: HashMap::new(),
        }
    }

    /// Whether this entry had been asked for.
    pub(crate) fn keeps(&mut self, entry: &BookEntry) -> bool {
        let order_id = entry.order_id();
        let open = self.replay.open_payment(order_id);
        let marks = self.replay.marks.get(&order_id);
        let (charged, asked_back_minor) = match (open, marks) {
            (Some(payment), _) => (
                !payment.is_settled() || !payment.captured.is_zero(),
                asked_back_minor(payment),
            ),
            (None, Some(marks)) => (marks.captured_minor > 0, marks.refunded_minor),
            // It ended before the history that is kept begins.
            (None, None) => return !self.replay.is_whole,
        };
        match entry {
            BookEntry::Charged { .. } => charged,
            BookEntry::Declined { .. } | BookEntry::Cancelled { .. } => {
                open.is_some() || marks.is_some_and(|marks| marks.sum(Part::Payment).is_some())
            }
            BookEntry::Refunded { amount, .. } => {
                let refunded = self.refunded.entry(order_id).or_default();
                let next = refunded.saturating_add(amount.minor());
                let is_asked = next <= asked_back_minor;
                if is_asked {
                    *refunded = next;
                }
                is_asked
            }
        }
    }
}
