//! How far a long run has come, for whoever waits: a bar on a terminal, nothing elsewhere.

use std::cell::RefCell;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Told how far the work has come.
pub trait Progress {
    /// A new part of the work begins; it has `total` steps where that is known.
    fn begin(&self, what: &'static str, total: Option<u64>);

    /// So many steps of it are done.
    fn at(&self, done: u64);

    /// All work is done.
    fn end(&self);
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn begin(&self, _: &'static str, _: Option<u64>) {}

    fn at(&self, _: u64) {}

    fn end(&self) {}
}

/// A bar on standard error, and nothing where that is no terminal.
#[derive(Debug, Default)]
pub struct Bar {
    bar: RefCell<Option<ProgressBar>>,
}

impl Progress for Bar {
    fn begin(&self, what: &'static str, total: Option<u64>) {
        self.end();
        // It draws on standard error, and hides itself where that is no terminal.
        let (bar, template) = match total {
            Some(total) => (
                ProgressBar::new(total),
                "{msg:22} {wide_bar} {human_pos}/{human_len} {eta}",
            ),
            None => (
                ProgressBar::new_spinner(),
                "{msg:22} {spinner} {human_pos} {elapsed}",
            ),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(100));
        *self.bar.borrow_mut() = Some(bar);
    }

    fn at(&self, done: u64) {
        if let Some(bar) = self.bar.borrow().as_ref() {
            bar.set_position(done);
        }
    }

    fn end(&self) {
        if let Some(bar) = self.bar.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }
}
