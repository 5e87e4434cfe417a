//! `a4co config`, and how every command gets its configuration.
//!
//! Apart from the configuration itself, which neither prints nor ends a process.

use std::path::Path;

use serde::Serialize;

use super::args::ConfigFlags;
use super::table::Table;
use super::{Exit, complain, show};
use crate::config::{ConfigError, Effective, Given, Problem, Row};

/// Reads the configuration of this process: flags, environment, file.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn load(flags: &ConfigFlags, file: Option<&Path>) -> Result<Effective, ConfigError> {
    Effective::from_given(&Given::from_process(flags.given.clone(), file)?)
}

/// `a4co config`: prints the settings in force, or what is wrong with them.
#[must_use]
pub fn print(flags: &ConfigFlags, file: Option<&Path>, as_json: bool) -> Exit {
    match load(flags, file) {
        Ok(effective) if as_json => {
            show(&json(&Settings {
                settings: &effective.rows,
                notes: &effective.notes,
            }));
            Exit::Done
        }
        Ok(effective) => {
            show(&text(&effective.rows));
            for note in &effective.notes {
                complain(&format!("note: {note}"));
            }
            Exit::Done
        }
        Err(error) => {
            if as_json {
                show(&json(&Problems {
                    problems: &error.problems,
                }));
            }
            complain(&error.to_string());
            Exit::Usage
        }
    }
}

#[derive(Serialize)]
struct Settings<'e> {
    settings: &'e [Row],
    notes: &'e [String],
}

#[derive(Serialize)]
struct Problems<'e> {
    problems: &'e [Problem],
}

fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value);
    text.map_or_else(|error| error.to_string(), |text| text + "\n")
}

fn text(rows: &[Row]) -> String {
    let mut table = Table::new(&["KEY", "VALUE", "FROM"], &[]);
    for row in rows {
        let value = row.value.as_deref().unwrap_or("(not set)");
        table.row([row.key, value, &row.source.to_string()]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Given;

    #[test]
    fn settings_are_shown_with_their_source_and_secrets_without_their_value() {
        let mut given = Given::default();
        let env = &mut given.env;
        env.insert("STRIPE_SECRET_KEY".to_owned(), "sk_test_hunter2".into());
        env.insert("A4CO_DATA_DIR".to_owned(), "/srv/a4co".into());
        let effective = Effective::from_given(&given).expect("good");
        let shown = text(&effective.rows);
        for line in [
            "listen                    127.0.0.1:3004          default",
            "data_dir                  /srv/a4co               environment variable A4CO_DATA_DIR",
            "nats_url                  (not set)               default",
            "stripe_secret_key         ********                environment variable STRIPE_SECRET_KEY",
        ] {
            assert!(
                shown.lines().any(|shown| shown == line),
                "{line}\nnot in\n{shown}"
            );
        }
        let shown = json(&Settings {
            settings: &effective.rows,
            notes: &effective.notes,
        });
        assert!(!shown.contains("hunter2"));
        let read: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(read["settings"][0]["key"], "listen");
        assert_eq!(read["settings"][0]["source"], "default");
    }
}
