//! What the demo shows: a live table on a terminal, lines elsewhere, a summary at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::DemoArgs;
use super::scenes::{Outcome, Scene};
use crate::bench::connection::AskError;

/// Characters of a reason that a line shows.
const REASON_CHARS_MAX: usize = 70;

/// Counts of one scene.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    placed: u64,
    ended: BTreeMap<String, u64>,
    unexpected: u64,
}

/// The summary of a demo.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    scenes: BTreeMap<Scene, Row>,
    took_s: f64,
    slowest_ms: u64,
    /// Orders that did not end as their scene says, and requests without an answer.
    unexpected: Vec<String>,
}

/// The counts so far, and where they are shown.
pub(super) struct Board {
    summary: Summary,
    slowest: Duration,
    bar: Option<ProgressBar>,
    lines: bool,
}

impl Board {
    pub(super) fn new(args: &DemoArgs) -> Self {
        let live = !args.json && std::io::stderr().is_terminal();
        let bar = live.then(|| {
            let bar = ProgressBar::new(u64::from(args.orders));
            let style = "{bar:40} {pos}/{len} orders ended, {elapsed}\n{msg}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar
        });
        Self {
            summary: Summary {
                scenes: BTreeMap::new(),
                took_s: 0.0,
                slowest_ms: 0,
                unexpected: Vec::new(),
            },
            slowest: Duration::ZERO,
            bar,
            lines: !live && !args.json,
        }
    }

    pub(super) fn placed(&mut self, scene: Scene) {
        self.summary.scenes.entry(scene).or_default().placed += 1;
        self.show();
    }

    pub(super) fn ended(&mut self, outcome: Result<Outcome, AskError>) {
        match outcome {
            Ok(outcome) => self.outcome(&outcome),
            Err(error) => {
                if self.lines {
                    println!("{error}");
                }
                self.summary.unexpected.push(error.to_string());
            }
        }
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
        self.show();
    }

    fn outcome(&mut self, outcome: &Outcome) {
        let row = self.summary.scenes.entry(outcome.scene).or_default();
        *row.ended.entry(outcome.status.clone()).or_default() += 1;
        self.slowest = self.slowest.max(outcome.took);
        let line = line(outcome);
        if self.lines {
            println!("{line}");
        }
        if !outcome.as_expected {
            row.unexpected += 1;
            self.summary.unexpected.push(line);
        }
    }

    fn show(&self) {
        if let Some(bar) = &self.bar {
            bar.set_message(table(&self.summary.scenes));
        }
    }

    /// Takes the live table away, and gives the summary.
    pub(super) fn finish(self, took: Duration) -> Summary {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        Summary {
            took_s: took.as_secs_f64(),
            slowest_ms: u64::try_from(self.slowest.as_millis()).unwrap_or(u64::MAX),
            ..self.summary
        }
    }
}

impl Summary {
    /// Every order ended as its scene says.
    pub(super) fn is_as_expected(&self) -> bool {
        self.unexpected.is_empty()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let placed: u64 = self.scenes.values().map(|row| row.placed).sum();
        writeln!(
            f,
            "\n{placed} orders in {:.1} s, the slowest took {} ms",
            self.took_s, self.slowest_ms
        )?;
        f.write_str(&table(&self.scenes))?;
        if self.unexpected.is_empty() {
            return writeln!(f, "Every order either completed or was undone.");
        }
        writeln!(f, "{} did not go as they should:", self.unexpected.len())?;
        for line in &self.unexpected {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}

fn line(outcome: &Outcome) -> String {
    let mut reason: String = outcome.reason.chars().take(REASON_CHARS_MAX).collect();
    if reason.len() < outcome.reason.len() {
        reason.push('…');
    }
    format!(
        "{:<36}  {:<27}  {:<9}  {:>5} ms  {reason}",
        outcome.order_id,
        outcome.scene.title(),
        outcome.status,
        outcome.took.as_millis()
    )
}

fn table(scenes: &BTreeMap<Scene, Row>) -> String {
    use std::fmt::Write as _;
    let mut table = String::new();
    for (scene, row) in scenes {
        let ended: Vec<String> = row
            .ended
            .iter()
            .map(|(status, count)| format!("{status} {count}"))
            .collect();
        let under_way = row.placed - row.ended.values().sum::<u64>().min(row.placed);
        let under_way = match under_way {
            0 => String::new(),
            count => format!("  under way {count}"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "  {:<27} {:>5}  {}{under_way}",
            scene.title(),
            row.placed,
            ended.join(", ")
        );
    }
    table
}
