//! The sandbox gateway: a payment gateway for tests, demos and development, that moves no
//! money and keeps books of its own.
//!
//! ```text
//! What becomes of a charge: the first line that fits
//!  - it was decided before          the same again, whatever was asked since
//!  - the hint `decline`             declined, `card_declined`
//!  - pm_card_declined               declined, `card_declined`
//!  - pm_card_timeout                charged, and the first answer is "unknown"
//!  - pm_card_timeout_fails          declined, and the first answer is "unknown"
//!  - pm_card_slow                   "pending" for some seconds, then charged
//!  - pm_card_undo_fails             the same; the first eight tries to undo it fail
//!  - anything else                  charged with the success rate, by the order's id
//! ```
//!
//! Chance has no part in it: with the same settings an order always fares the same
//! (see `fate.rs`). A charge takes effect when it is asked for, and only its answer takes
//! time, so that a crash in between leaves what a real one leaves: a charge whose answer
//! nobody has heard. `pm_card_slow` alone takes effect at its end, which the sandbox
//! reports by itself; a cancel before that comes in time.
//!
//! Every decision is written to `sandbox-gateway.log` before it is answered, all those of
//! one [`Gateway::submit`] in one `write`, so that a killed process forgets nothing that
//! it said. It is synced to the disk in the background, each second: a power cut may lose
//! the last of it, as no engine's journal may. The file is never compacted, since it is
//! what `a4co verify` compares with; memory holds the latest 100,000 payments, and older
//! ones are looked up in the file.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use a4co_core::gateway::{GatewayCall, GatewayOutcome};
use a4co_core::ids::OrderId;
use tokio::runtime::Handle;

use self::books::BooksFile;
use self::ledger::{Ledger, Verdict};
use self::timers::{Due, Timers};
use super::{AnswerSink, Gateway, GatewayAnswer};
use crate::config::SandboxConfig;

mod books;
mod copy;
mod fate;
mod ledger;
mod moved;
mod record;
mod shared;
mod timers;

pub use self::books::{OrderBooks, SandboxBooks, SandboxError};
pub use self::ledger::reference_of;
pub use self::moved::MoveError;
pub use self::record::BookEntry;
pub use self::shared::SharedSandbox;

/// How often what was written is synced to the disk.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// The sandbox gateway. Dropping it drops the answers that are still to come, as a crash
/// of the process would.
#[derive(Debug)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: SandboxConfig,
    state: Mutex<State>,
    unsynced: AtomicBool,
    timers: Timers,
    runtime: Handle,
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    file: BooksFile,
    lookups: Lookups,
}

/// Calls about payments that are not in memory.
#[derive(Debug, Default)]
struct Lookups {
    waiting: Vec<Asked>,
    is_running: bool,
}

/// A call with the place to which its answer goes.
struct Asked {
    call: GatewayCall,
    answers: Arc<dyn AnswerSink>,
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.call.fmt(f)
    }
}

impl Sandbox {
    /// Opens the books in `data_dir`, or starts new ones. Answers that take time, the
    /// syncing and the looking up of old payments run on `runtime`.
    ///
    /// # Errors
    /// [`SandboxError`]: the books cannot be read, or are damaged before their end. A
    /// record that was cut short at the end was never answered, and is removed.
    pub fn open(
        data_dir: &Path,
        config: SandboxConfig,
        runtime: Handle,
    ) -> Result<Self, SandboxError> {
        Self::open_with(data_dir, config, runtime, ledger::RECENT_MAX)
    }

    fn open_with(
        data_dir: &Path,
        config: SandboxConfig,
        runtime: Handle,
        recent_max: usize,
    ) -> Result<Self, SandboxError> {
        let (file, tail) = BooksFile::open(data_dir, recent_max)?;
        let ledger = Ledger::from_tail(tail, recent_max);
        let (timers, queue) = Timers::new();
        let inner = Arc::new(Inner {
            config,
            state: Mutex::new(State {
                ledger,
                file,
                lookups: Lookups::default(),
            }),
            unsynced: AtomicBool::new(false),
            timers,
            runtime: runtime.clone(),
        });
        runtime.spawn(timers::run(queue, Arc::downgrade(&inner)));
        runtime.spawn(sync_in_background(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    /// Syncs to the disk what was written. For an orderly end; blocks.
    ///
    /// # Errors
    /// What the disk said.
    pub fn sync(&self) -> std::io::Result<()> {
        self.inner.sync()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Err(error) = self.inner.sync() {
            tracing::error!(%error, "the sandbox's books could not be synced at the end");
        }
    }
}

impl Gateway for Sandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn submit(&self, calls: Vec<GatewayCall>, answers: &Arc<dyn AnswerSink>) {
        let asked = calls.into_iter().map(|call| Asked {
            call,
            answers: answers.clone(),
        });
        self.inner.carry_out(asked.collect(), false);
    }
}

/// What is to be done once the books are written.
#[derive(Default)]
struct Outbox {
    now: Vec<(Arc<dyn AnswerSink>, GatewayAnswer)>,
    later: Vec<(Duration, Due)>,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in between leaves the ledger ahead of the file at worst, which is what
        // an unknown outcome means.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides calls, writes what was decided, and answers. `looked_up`: what is not in
    /// memory is not in the file either.
    fn carry_out(self: &Arc<Self>, asked: Vec<Asked>, looked_up: bool) {
        let mut outbox = Outbox {
            now: Vec::with_capacity(asked.len()),
            ..Outbox::default()
        };
        let mut state = self.state();
        for asked in asked {
            self.decide(&mut state, asked, looked_up, &mut outbox);
        }
        self.write(&mut state, &mut outbox);
        let start_lookups = state.lookups.start();
        drop(state);
        // No lock is held from here on: the engine may submit again from within `deliver`.
        for (answers, answer) in outbox.now {
            answers.deliver(answer);
        }
        for (delay, due) in outbox.later {
            self.timers.after(delay, due);
        }
        if start_lookups {
            let inner = self.clone();
            self.runtime.spawn_blocking(move || inner.look_up());
        }
    }

    fn decide(&self, state: &mut State, asked: Asked, looked_up: bool, outbox: &mut Outbox) {
        let delay = fate::latency(&self.config, asked.call.order_id);
        match state.ledger.decide(&asked.call, &self.config, looked_up) {
            Verdict::Answer(outcome) => outbox.answer(delay, &asked, outcome),
            Verdict::AnswerAfter(wait, outcome) => outbox.answer(delay + wait, &asked, outcome),
            Verdict::AtWork(wait) => {
                // Answered at once: a call that stays open would keep a cancel waiting.
                outbox.answer(delay, &asked, GatewayOutcome::Pending);
                let Asked { call, answers } = asked;
                outbox
                    .later
                    .push((delay + wait, Due::Finish { call, answers }));
            }
            Verdict::LookUp => state.lookups.waiting.push(asked),
        }
    }

    /// Writes what was decided since the last time. Where that fails nothing was decided,
    /// and every answer that may rest on it is "unknown".
    fn write(&self, state: &mut State, outbox: &mut Outbox) {
        match state.file.append(state.ledger.unwritten()) {
            Ok(bytes) => {
                if bytes > 0 {
                    self.unsynced.store(true, Ordering::Release);
                }
                state.ledger.written();
            }
            Err(error) => {
                state.ledger.take_back();
                tracing::error!(%error, "the sandbox's books cannot be written");
                outbox.disown(&format!("the sandbox cannot write its books: {error}"));
            }
        }
    }

    /// The end of a charge that took its time, reported unasked.
    fn finish(&self, call: &GatewayCall, answers: &Arc<dyn AnswerSink>) {
        let mut outbox = Outbox::default();
        let mut state = self.state();
        if let Some(outcome) = state.ledger.finish(call) {
            let report = GatewayAnswer {
                order_id: call.order_id,
                operation: None,
                outcome,
            };
            outbox.now.push((answers.clone(), report));
        }
        self.write(&mut state, &mut outbox);
        drop(state);
        for (answers, answer) in outbox.now {
            answers.deliver(answer);
        }
    }

    /// Fetches the payments that calls wait for, all of them in one reading of the file,
    /// until none waits. Blocks; one at a time.
    fn look_up(self: Arc<Self>) {
        loop {
            let mut state = self.state();
            let waiting = std::mem::take(&mut state.lookups.waiting);
            if waiting.is_empty() {
                state.lookups.is_running = false;
                return;
            }
            let reader = state.file.reader();
            drop(state);
            let wanted: Vec<OrderId> = waiting.iter().map(|asked| asked.call.order_id).collect();
            match reader.entries_of(&wanted) {
                Ok(entries) => {
                    self.state().ledger.recall(&entries);
                    self.carry_out(waiting, true);
                }
                Err(error) => {
                    tracing::error!(%error, "the sandbox's books cannot be read");
                    let detail: Arc<str> = Arc::from(error.to_string());
                    for Asked { call, answers } in waiting {
                        let detail = detail.clone();
                        answers.deliver(answer_to(&call, GatewayOutcome::Unknown { detail }));
                    }
                }
            }
        }
    }

    fn sync(&self) -> std::io::Result<()> {
        if !self.unsynced.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        // Not under the lock: a sync takes as long as the disk likes.
        let file = self.state().file.handle();
        file.sync_data()
            .inspect_err(|_| self.unsynced.store(true, Ordering::Release))
    }
}

impl Lookups {
    /// Whether somebody has to start looking up, who then is the one that does.
    fn start(&mut self) -> bool {
        let is_due = !self.waiting.is_empty() && !self.is_running;
        self.is_running |= is_due;
        is_due
    }
}

impl Outbox {
    fn answer(&mut self, delay: Duration, asked: &Asked, outcome: GatewayOutcome) {
        let answer = answer_to(&asked.call, outcome);
        let answers = asked.answers.clone();
        if delay.is_zero() {
            self.now.push((answers, answer));
        } else {
            self.later.push((delay, Due::Answer { answer, answers }));
        }
    }

    /// Makes every answer "unknown". Charges at work stay so: they are not decided yet.
    fn disown(&mut self, detail: &str) {
        let detail: Arc<str> = Arc::from(detail);
        let answers = self.now.iter_mut().map(|(_, answer)| answer);
        let later = self.later.iter_mut().filter_map(|(_, due)| match due {
            Due::Answer { answer, .. } => Some(answer),
            Due::Finish { .. } => None,
        });
        for answer in answers.chain(later) {
            let detail = detail.clone();
            answer.outcome = GatewayOutcome::Unknown { detail };
        }
    }
}

fn answer_to(call: &GatewayCall, outcome: GatewayOutcome) -> GatewayAnswer {
    GatewayAnswer {
        order_id: call.order_id,
        operation: Some(call.operation),
        outcome,
    }
}

async fn sync_in_background(inner: Weak<Inner>) {
    let mut tick = tokio::time::interval(SYNC_EVERY);
    loop {
        tick.tick().await;
        let Some(inner) = inner.upgrade() else {
            return;
        };
        if !inner.unsynced.load(Ordering::Acquire) {
            continue;
        }
        let synced = tokio::task::spawn_blocking(move || inner.sync()).await;
        if let Ok(Err(error)) = synced {
            tracing::error!(%error, "the sandbox's books could not be synced");
        }
    }
}

#[cfg(test)]
mod tests;
