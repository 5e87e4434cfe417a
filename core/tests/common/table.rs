//! A table of every state and every input: what is not said to be decided must decide
//! nothing.

use std::collections::BTreeSet;
use std::fmt::Debug;

use a4co_core::rejection::Rejection;

/// A closed enumeration with the list of all its values.
#[macro_export]
macro_rules! closed {
    ($(#[$doc:meta])* $vis:vis $name:ident { $($(#[$note:meta])* $variant:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        $vis enum $name { $($(#[$note])* $variant),* }

        impl $name {
            $vis const ALL: &[Self] = &[$(Self::$variant),*];
        }
    };
}

/// Every pair of a state and an input, and which of them have been checked.
pub(crate) struct Table<S, I> {
    states: Vec<S>,
    inputs: Vec<I>,
    decide: fn(S, I) -> String,
    checked: BTreeSet<(S, I)>,
}

impl<S: Copy + Ord + Debug, I: Copy + Ord + Debug> Table<S, I> {
    pub(crate) fn new(states: &[S], inputs: Vec<I>, decide: fn(S, I) -> String) -> Self {
        Self {
            states: states.to_vec(),
            inputs,
            decide,
            checked: BTreeSet::new(),
        }
    }

    /// Each of these states decides this on each of these inputs.
    #[track_caller]
    pub(crate) fn check(&mut self, states: &[S], inputs: &[I], expected: &str) {
        for &state in states {
            for &input in inputs {
                assert!(self.states.contains(&state) && self.inputs.contains(&input));
                let decided = (self.decide)(state, input);
                assert_eq!(decided, expected, "{state:?} on {input:?}");
                let is_new = self.checked.insert((state, input));
                assert!(is_new, "{state:?} on {input:?} is in the table twice");
            }
        }
    }

    /// Every pair that was not checked decides nothing.
    #[track_caller]
    pub(crate) fn the_rest_decides_nothing(self) {
        for &state in &self.states {
            for &input in &self.inputs {
                if !self.checked.contains(&(state, input)) {
                    let decided = (self.decide)(state, input);
                    assert_eq!(decided, "nothing", "{state:?} on {input:?}");
                }
            }
        }
    }
}

/// What was decided, on one line.
pub(crate) fn render<E>(
    decision: Result<Vec<E>, Rejection>,
    name: impl Fn(&E) -> String,
) -> String {
    match decision {
        Err(rejection) => {
            let debug = format!("{rejection:?}");
            let end = debug.find(|c: char| !c.is_alphanumeric());
            format!("refused: {}", &debug[..end.unwrap_or(debug.len())])
        }
        Ok(events) if events.is_empty() => "nothing".into(),
        Ok(events) => events.iter().map(name).collect::<Vec<_>>().join(" + "),
    }
}
