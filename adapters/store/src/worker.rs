//! The one thread that writes to sled, and brings it back when it has failed.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::apply::Writer;
use crate::error::StoreError;
use crate::view::{Health, Shared};

/// With nothing to do, how often to look whether a failed disk is back.
const IDLE: Duration = Duration::from_secs(3600);

/// Free bytes without which sled is not closed and opened again, whatever the floor.
const REOPEN_BYTES_MIN: u64 = 16 << 20;

/// What a step came to.
enum Step {
    Applied,
    NothingToDo,
    /// The disk does not take it now.
    Blocked(Health),
}

pub(crate) fn start(shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name("store-writer".to_owned())
        .spawn(move || run(&shared))
}

fn run(shared: &Shared) {
    let mut last = Instant::now();
    let mut blocked = !shared.disk.is_up();
    loop {
        let closing = wait(shared, last, blocked);
        if closing && !shared.pending.load(Ordering::Acquire) {
            break;
        }
        last = Instant::now();
        let step = step(shared);
        blocked = matches!(step, Step::Blocked(_));
        let mut state = shared.state();
        let health = match step {
            Step::Applied | Step::NothingToDo => Health::Serving,
            Step::Blocked(health) => health,
        };
        if state.health != health {
            match &health {
                Health::Serving => tracing::info!("the store writes again"),
                other => tracing::warn!(health = ?other, "the store does not write"),
            }
            state.health = health;
        }
        if closing && blocked {
            break;
        }
        drop(state);
        shared.done.notify_all();
    }
    shared.done.notify_all();
}

/// Waits for something to do. Says whether the view is closing.
fn wait(shared: &Shared, last: Instant, blocked: bool) -> bool {
    let options = &shared.options;
    let mut state = shared.state();
    loop {
        if state.closing {
            return true;
        }
        let due = if blocked {
            Some(last + options.retry_every)
        } else if !shared.pending.load(Ordering::Acquire) {
            state.hurry = false;
            None
        } else if state.hurry || shared.over.load(Ordering::Acquire) {
            return false;
        } else {
            Some(last + options.apply_every)
        };
        let left = due.map_or(IDLE, |due| due.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return false;
        }
        let waited = shared.work.wait_timeout(state, left);
        (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
    }
}

fn step(shared: &Shared) -> Step {
    if let Health::NeedsRebuild { why } = shared.state().health.clone() {
        return Step::Blocked(Health::NeedsRebuild { why });
    }
    let is_up = shared.disk.is_up();
    let floor_bytes = match shared.options.free_floor_bytes {
        floor_bytes if is_up => floor_bytes,
        // While it stays open it can be read, and without room it would not open again.
        floor_bytes => floor_bytes.max(REOPEN_BYTES_MIN),
    };
    match shared.disk.free_bytes() {
        Ok(free_bytes) if free_bytes < floor_bytes => {
            return Step::Blocked(Health::Paused {
                free_bytes,
                floor_bytes,
            });
        }
        Ok(_) => {}
        Err(error) => {
            return Step::Blocked(Health::Degraded {
                why: error.to_string(),
            });
        }
    }
    if !is_up && let Err(health) = come_back(shared) {
        return Step::Blocked(health);
    }
    match apply(shared) {
        Ok(true) => Step::Applied,
        Ok(false) => Step::NothingToDo,
        Err(StoreError::Undecodable { what, key }) => {
            let why = format!("{what} cannot be decoded, key {key}");
            Step::Blocked(needs_rebuild(shared, why))
        }
        Err(error) => {
            shared.disk.fail();
            let why = error.to_string();
            Step::Blocked(Health::Degraded { why })
        }
    }
}

/// Writes what is pending. Rows leave memory only when they are flushed: what is in sled
/// then survives that sled is closed and opened again.
fn apply(shared: &Shared) -> Result<bool, StoreError> {
    let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
    shared.pending.store(false, Ordering::Release);
    let generation = shared.overlay_mut().freeze();
    let Some(generation) = generation else {
        return Ok(false);
    };
    // Until this one is written, there is more to do.
    shared.pending.store(true, Ordering::Release);
    shared.over.store(false, Ordering::Release);
    drop(shared.state());
    shared.done.notify_all();
    writer.apply(&shared.disk, &generation)?;
    {
        let _gate = shared.gate.write().unwrap_or_else(PoisonError::into_inner);
        let mut overlay = shared.overlay_mut();
        overlay.frozen = None;
        let more = !overlay.current.is_empty();
        shared.pending.store(more, Ordering::Release);
    }
    shared.set_applied(generation.sequence);
    Ok(true)
}

/// Opens sled again, now that there is room, and checks that it has all that memory no longer has.
fn come_back(shared: &Shared) -> Result<(), Health> {
    let degraded = |why| Health::Degraded { why };
    let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
    // Whoever had the lock may have brought it back.
    if shared.disk.is_up() {
        return Ok(());
    }
    shared.disk.reopen().map_err(degraded)?;
    let failed = |error: StoreError| {
        let why = error.to_string();
        shared.disk.put_down(&why);
        Health::Degraded { why }
    };
    let (needed, found) = (shared.applied(), shared.disk.applied().map_err(failed)?);
    if found < needed {
        let why = format!("sled is at {found} again, and was at {needed}");
        return Err(needs_rebuild(shared, why));
    }
    *writer = Writer::load(&shared.disk).map_err(failed)?;
    Ok(())
}

fn needs_rebuild(shared: &Shared, why: String) -> Health {
    shared.disk.put_down(&why);
    if let Err(error) = shared.disk.forget() {
        tracing::error!(%error, "the store could not be marked to be rebuilt");
    }
    Health::NeedsRebuild { why }
}
