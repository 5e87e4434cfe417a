//! The effective values as `a4co config` shows them.
//!
//! Apart from the values themselves: what is shown must never be able to hold a secret.

use serde::Serialize;

use super::collect::{Values, shown};
use super::keys;
use super::problem::Origin;

/// What stands in for a secret.
pub(super) const MASK: &str = "********";

/// One key with its value, fit to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The key.
    pub key: &'static str,
    /// The value as it was given, or the mask of a secret; `None` where nothing is set.
    pub value: Option<String>,
    /// Where it came from.
    pub source: Origin,
    /// The environment variable of the key.
    pub env: &'static str,
    /// The flag of the key, without its dashes.
    pub flag: Option<&'static str>,
}

pub(super) fn rows(values: &Values) -> Vec<Row> {
    let row = |key: &'static keys::Key| {
        let setting = values.get(key);
        Row {
            key: key.name,
            value: setting.map(|setting| shown(key, &setting.text)),
            source: setting.map_or(Origin::Default, |setting| setting.origin.clone()),
            env: key.env,
            flag: key.flag,
        }
    };
    keys::ALL.iter().map(row).collect()
}
