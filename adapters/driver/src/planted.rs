//! Mistakes that can be switched on, in a build made for it: the proof that the checks
//! would see them. The product is built without the feature `planted`, and then nothing of
//! this is there.

#[cfg(feature = "planted")]
mod switch {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::NAMES;

    /// One above the place in [`NAMES`]; 0: none.
    static SELECTED: AtomicUsize = AtomicUsize::new(0);

    /// Switches one mistake on and all others off. False: there is none of this name.
    pub fn select(name: Option<&str>) -> bool {
        let place = name.map(|name| NAMES.iter().position(|known| *known == name));
        let selected = place.flatten().map_or(0, |place| place + 1);
        SELECTED.store(selected, Ordering::Relaxed);
        place != Some(None)
    }

    pub(crate) fn is_on(name: &str) -> bool {
        let selected = SELECTED.load(Ordering::Relaxed);
        selected != 0 && NAMES[selected - 1] == name
    }
}

#[cfg(feature = "planted")]
pub use switch::select;

#[cfg(feature = "planted")]
pub(crate) use switch::is_on;

#[cfg(not(feature = "planted"))]
pub(crate) const fn is_on(_: &str) -> bool {
    false
}

/// Is this mistake switched on? Always `false`, and known to the compiler to be, in a
/// build without the feature.
macro_rules! planted {
    ($name:literal) => {
        cfg!(feature = "planted") && $crate::planted::is_on($name)
    };
}
pub(crate) use planted;

/// Every mistake that can be switched on here.
#[cfg(feature = "planted")]
pub const NAMES: &[&str] = &[
    "reply_before_append",
    "end_told_before_shown",
    "watchers_looked_up_before_rows",
    "queue_count_leak",
    "second_watcher_replaces_the_first",
    "stop_drops_what_was_taken",
    "fetched_row_lost",
    "full_record_dropped",
];
