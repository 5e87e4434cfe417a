//! The page of a run: its data is whole and well-formed, and it asks nobody for anything.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use sim::verdict::{Failure, Kind};
use sim::{html, run, swarm};

fn data(page: &str) -> serde_json::Value {
    let start = "<script id=\"data\" type=\"application/json\">";
    let (_, rest) = page.split_once(start).unwrap();
    let (text, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_page_has_every_line_and_asks_nobody() {
    let plan = swarm::plan(1);
    let mut outcome = run(&plan, true);
    let hostile = "</script><script>alert(1)</script> http://example.com";
    outcome.failure = Some(Failure {
        kind: Kind::Safety,
        check: "a_check",
        detail: hostile.into(),
        at_us: 5,
    });
    let page = html::page(&outcome, "--seed 1", "", "sim --seed 1", &plan.to_text());
    assert!(!page.contains("http://") && !page.contains("https://"));
    assert!(page.contains("default-src 'none'"));
    assert_eq!(page.matches("</script>").count(), 2);
    let data = data(&page);
    assert_eq!(data["failure"]["detail"], hostile);
    assert_eq!(data["digest"], outcome.trace.digest());
    let told = data["lines"].as_array().unwrap();
    let lines = outcome.trace.lines.as_ref().unwrap();
    assert_eq!(told.len(), lines.len());
    for (told, line) in told.iter().zip(lines) {
        assert_eq!(told["text"], line.text.as_str());
        assert_eq!(told["at_us"], line.at_us);
    }
}
