//! Which value counts for each key, still as text, and what nobody knows.
//!
//! Apart from parsing so that precedence is decided in one place, for all keys alike.

use std::collections::BTreeMap;
use std::ffi::OsString;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Given;
use super::keys::{self, Key};
use super::problem::{Origin, Problem};

/// The text that counts for one key, and where it came from.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// What counts for each key; a key that nobody set and that has no default is absent.
#[derive(Debug)]
pub(super) struct Values(BTreeMap<&'static str, Setting>);

impl Values {
    pub(super) fn get(&self, key: &Key) -> Option<&Setting> {
        self.0.get(key.name)
    }

    /// A problem with what counts for a key.
    pub(super) fn problem(&self, key: &Key, problem: String, fix: String) -> Problem {
        let setting = self.get(key);
        Problem {
            key: key.name.to_owned(),
            value: setting.map(|setting| shown(key, &setting.text)),
            source: setting.map_or(Origin::Default, |setting| setting.origin.clone()),
            problem,
            fix,
        }
    }
}

/// How a value may be shown.
pub(super) fn shown(key: &Key, text: &str) -> String {
    if key.secret {
        return super::show::MASK.to_owned();
    }
    if let Some((scheme, rest)) = text.split_once("://")
        && let Some((_, host)) = rest.rsplit_once('@')
    {
        return format!("{scheme}://{}@{host}", super::show::MASK);
    }
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return format!("{text:?}");
    }
    text.to_owned()
}

pub(super) fn collect(given: &Given, problems: &mut Vec<Problem>) -> Values {
    let mut values = BTreeMap::new();
    for key in keys::ALL {
        if let Some(default) = key.default {
            let text = default.to_owned();
            values.insert(
                key.name,
                Setting {
                    text,
                    origin: Origin::Default,
                },
            );
        }
    }
    if let Some((path, text)) = &given.file {
        from_file(path, text, &mut values, problems);
    }
    from_env(&given.env, &mut values, problems);
    for (name, text) in &given.flags {
        let key = keys::by_name(name).and_then(|key| Some((key.name, key.flag?)));
        if let Some((name, flag)) = key {
            let text = text.clone();
            values.insert(
                name,
                Setting {
                    text,
                    origin: Origin::Flag(flag),
                },
            );
        }
    }
    Values(values)
}

fn from_env(
    env: &BTreeMap<String, OsString>,
    values: &mut BTreeMap<&'static str, Setting>,
    problems: &mut Vec<Problem>,
) {
    for key in keys::ALL {
        let Some(value) = env.get(key.env).filter(|value| !value.is_empty()) else {
            continue;
        };
        let origin = Origin::Env(key.env.to_owned());
        match value.to_str() {
            Some(text) => {
                let text = text.to_owned();
                values.insert(key.name, Setting { text, origin });
            }
            None => problems.push(Problem {
                key: key.name.to_owned(),
                value: None,
                source: origin,
                problem: "is not UTF-8".to_owned(),
                fix: "write it as UTF-8".to_owned(),
            }),
        }
    }
    for (name, value) in env {
        let ours = name.starts_with(keys::ENV_PREFIX);
        let known = || {
            keys::ALL
                .iter()
                .map(|key| key.env)
                .chain(keys::OTHER_ENV.iter().map(|(name, _)| *name))
        };
        if !ours || known().any(|known| known == name) || is_service_link(name, value) {
            continue;
        }
        problems.push(Problem {
            key: name.clone(),
            value: None,
            source: Origin::Env(name.clone()),
            problem: "no such variable is known".to_owned(),
            fix: rename_or_remove(name, known()),
        });
    }
}

/// Whether Kubernetes made this variable, as it does in each pod for a service named
/// `a4co` or `a4co-…`: nobody meant it as a setting.
fn is_service_link(name: &str, value: &OsString) -> bool {
    let is_url = value.to_str().is_some_and(|value| value.contains("://"));
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.ends_with("_PORT") && is_url)
        || ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| {
            name.split_once("_PORT_")
                .is_some_and(|(_, rest)| rest.contains(protocol))
        })
}

fn from_file(
    path: &str,
    text: &str,
    values: &mut BTreeMap<&'static str, Setting>,
    problems: &mut Vec<Problem>,
) {
    let origin = |at: usize| Origin::File {
        path: path.to_owned(),
        line: line_of(text, at),
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    // What was read around a mistake is a guess.
    let is_toml = errors.is_empty();
    for error in errors {
        problems.push(Problem {
            key: path.to_owned(),
            value: None,
            source: origin(error.span().map_or(0, |span| span.start)),
            problem: format!("is not TOML: {}", error.message()),
            fix: "write one KEY = VALUE a line, with texts in double quotes".to_owned(),
        });
    }
    if !is_toml {
        return;
    }
    for (name, value) in table.get_ref() {
        let origin = origin(name.span().start);
        let name = name.get_ref().as_ref();
        let Some(key) = keys::by_name(name) else {
            problems.push(Problem {
                key: name.to_owned(),
                value: None,
                source: origin,
                problem: "no such key is known".to_owned(),
                fix: rename_or_remove(name, keys::ALL.iter().map(|key| key.name)),
            });
            continue;
        };
        match scalar(value) {
            Some(text) => {
                values.insert(key.name, Setting { text, origin });
            }
            None => problems.push(Problem {
                key: key.name.to_owned(),
                value: None,
                source: origin,
                problem: format!("is of the type {}", value.get_ref().type_str()),
                fix: "write a text, a number, true or false".to_owned(),
            }),
        }
    }
}

/// The text of a single value, numbers as they stand in the file.
fn scalar(value: &Spanned<DeValue<'_>>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.as_ref().to_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().iter().take(at);
    before.filter(|byte| **byte == b'\n').count() + 1
}

fn rename_or_remove<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    match keys::nearest(name, known) {
        Some(near) => format!("rename it to {near} if that is what was meant, or remove it"),
        None => "remove it; `a4co config` lists what is known".to_owned(),
    }
}
