//! A run as one page that needs nothing else: `--html FILE`.
//!
//! The run's lines are in the page as JSON; a script in it draws them.

use serde_json::json;

use crate::meaning::meaning;
use crate::run::Outcome;
use crate::verdict::Kind;

const CSS: &str = include_str!("html/page.css");
const JS: &str = include_str!("html/page.js");

/// The page of a run that kept its lines: of its outcome, its options, its summary, the
/// command that runs it again, and its plan as text.
#[must_use]
pub fn page(outcome: &Outcome, how: &str, summary: &str, command: &str, plan: &str) -> String {
    let lines: Vec<_> = outcome.trace.lines.iter().flatten().collect();
    let machines = lines.iter().filter_map(|line| line.machine).max();
    let machines = machines.map_or(0, |last| last + 1);
    let lines: Vec<_> = lines
        .into_iter()
        .map(|line| {
            json!({
                "at_us": line.at_us,
                "node": line.node.name(),
                "machine": line.machine,
                "what": line.what,
                "text": line.text,
                "about": line.about,
                "events": line.events,
                "changes": line.changes,
            })
        })
        .collect();
    let failure = outcome.failure.as_ref().map(|failure| {
        let kind = match failure.kind {
            Kind::Safety => "safety",
            Kind::Liveness => "liveness",
            Kind::Crash => "crash",
        };
        json!({
            "kind": kind,
            "check": failure.check,
            "detail": failure.detail,
            "meaning": meaning(failure.check),
            "at_us": failure.at_us,
        })
    });
    let data = json!({
        "how": how,
        "summary": summary,
        "command": command,
        "plan": plan,
        "digest": outcome.trace.digest(),
        "failure": failure,
        "machines": machines,
        "journals": ["order", "inventory", "payment"],
        "orders": outcome.orders,
        "lines": lines,
    });
    // Inside of JSON's strings, and nowhere else in it, is there a "<" or a "://".
    let data = data
        .to_string()
        .replace('<', "\\u003c")
        .replace("://", ":\\u002f/");
    format!(
        r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>A simulated run</title><style>{CSS}</style></head><body>
<header id="head"><h1 id="title"></h1><div id="means"></div><div id="why"></div><div id="plain"></div>
<div class="dim"><span id="how"></span><code id="command"></code></div>
<details><summary class="dim">Plan and options of this run</summary><pre id="knobs" style="max-height:40vh;overflow:auto"></pre></details></header>
<div id="tools"><input id="search" type="search" placeholder="search ( / )" aria-label="search">
<select id="view" aria-label="view"><option value="">all lines</option><option value="0">order journal</option><option value="1">inventory journal</option><option value="2">payment journal</option></select>
<button id="jump">to the failure</button><span id="count" class="dim"></span>
<span class="key down">process down</span><span class="key outage">gateway outage</span><span class="key full">disk full</span><span class="key healed">faults ended</span></div>
<div id="main"><nav id="orders"></nav><div id="middle"><div id="lanes"></div><div id="scroll" tabindex="0"><div id="space" style="position:relative"></div></div></div>
<aside id="detail"><p class="dim">Click on a row, or go with j and k.</p></aside></div>
<script id="data" type="application/json">{data}</script><script>{JS}</script></body></html>
"#
    )
}
