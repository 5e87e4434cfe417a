//! Tidiness as a test: what a reader of this repository may take for granted in every file.
//!
//! Each rule is a function from one file to its findings, and all findings are shown at
//! once. The last test plants an offence for each rule, so that a rule which finds nothing
//! is known to have looked. The offending words are put together from pieces here:
//! this file keeps its own rules.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file that grows past this asks to be split, and is named in the output.
const LINES_WARN: usize = 600;
/// A file past this fails the test.
const LINES_MAX: usize = 700;

/// A text file of the repository: its path from the root, with `/`, and what it says.
struct File {
    path: String,
    text: String,
}

/// A line, counted from one, and what is wrong with it.
type Finding = (usize, String);

#[test]
fn every_rust_file_opens_by_saying_what_it_is() {
    check(opens_with_docs);
}

#[test]
fn no_rust_file_is_too_long() {
    for file in files().iter().filter(|file| file.is_rust()) {
        let lines = file.text.lines().count();
        if (LINES_WARN + 1..=LINES_MAX).contains(&lines) {
            println!("warning: {} has {lines} lines: is it one idea?", file.path);
        }
    }
    check(not_too_long);
}

#[test]
fn no_code_is_left_for_later() {
    check(nothing_unfinished);
}

#[test]
fn no_note_is_left_for_later() {
    check(no_notes);
}

#[test]
fn no_path_of_one_machine() {
    check(no_machine_paths);
}

#[test]
fn no_trailing_whitespace() {
    check(no_trailing_blanks);
}

#[test]
fn every_relative_link_leads_somewhere() {
    // Pictures too, which are no text.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let known = known_paths(&listed(&root));
    check(|file| dead_links(file, &known));
}

/// `no_std` already keeps `std` out of the core. This keeps it from coming back by an
/// `extern crate`, and keeps the runtime's name out of the core's code and comments alike.
#[test]
fn the_core_is_pure() {
    check(impure_core);
}

#[test]
fn each_rule_finds_what_it_is_for() {
    let known = known_paths(&["docs/A.md".to_owned()]);
    let links = |file: &File| dead_links(file, &known);
    let long = "//! Long.\n".repeat(LINES_MAX + 1);
    let later = |word: &str| format!("//! File.\nfn f() {{ {word} }}\n");
    let rust = "core/src/a.rs";

    finds(opens_with_docs, rust, "use core::fmt;\n", &[1]);
    finds(opens_with_docs, rust, "", &[1]);
    finds(opens_with_docs, rust, "//! What.\n", &[]);
    finds(not_too_long, rust, &long, &[LINES_MAX + 1]);
    for word in UNFINISHED {
        finds(nothing_unfinished, rust, &later(word), &[2]);
    }
    for word in NOTES {
        finds(no_notes, "a.md", &format!("a\n{word}: b\n"), &[2]);
        finds(no_notes, "a.md", &format!("mktemp a.{word}{word}\n"), &[]);
        finds(no_notes, rust, &format!("(\"{word}\", 0)\n"), &[]);
    }
    for folder in MACHINE_FOLDERS {
        finds(no_machine_paths, "a.sh", &format!("cd {folder}x\n"), &[1]);
        finds(
            no_machine_paths,
            "a.md",
            &format!("<http://a{folder}>\n"),
            &[],
        );
    }
    finds(no_trailing_blanks, "a.toml", "a = 1\nb = 2 \n\t\n", &[2, 3]);
    finds(no_trailing_blanks, "a.snap", "a \n", &[]);

    finds(links, "docs/B.md", "[a](A.md#b) [b](../docs/)\n", &[]);
    finds(links, "docs/B.md", "[a](https://a.b) [b](#b)\n", &[]);
    finds(
        links,
        "docs/B.md",
        "```\n[a](b.md)\n```\n`[a](b.md)`\n",
        &[],
    );
    finds(links, "docs/B.md", "\n[a](docs/A.md)\n", &[2]);
    finds(links, "docs/B.md", "![a](a.png \"Title\")\n", &[1]);
    finds(links, "B.md", "[a]\n\n[a]: docs/C.md\n", &[3]);
    finds(links, "B.md", "<img src=\"docs/a.svg\">\n", &[1]);

    finds(impure_core, rust, "use std::fmt;\n", &[1]);
    finds(impure_core, rust, "// as tokio does\n", &[1]);
    finds(impure_core, rust, "extern crate std;\n", &[1]);
    finds(impure_core, rust, "use crate::mystd::fmt;\n", &[]);
    finds(impure_core, "sim/src/a.rs", "use std::fmt;\n", &[]);
    let tests =
        "#[cfg(test)]\nextern crate std;\n\n#[cfg(test)]\nmod tests {\n    use std::fmt;\n}\n";
    finds(impure_core, rust, tests, &[]);
    finds(impure_core, rust, &format!("{tests}use std::fmt;\n"), &[8]);
}

// ---- the rules

/// Text that only a work in progress has.
const UNFINISHED: [&str; 4] = [
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("d", "bg!("),
    concat!("#[", "ignore"),
];

/// Words that put something off. An issue is the place for that.
const NOTES: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

/// Folders that one machine has and the next one does not.
const MACHINE_FOLDERS: [&str; 3] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/fa", "rm/"),
];

fn opens_with_docs(file: &File) -> Vec<Finding> {
    if !file.is_rust() || file.text.starts_with("//!") {
        return Vec::new();
    }
    vec![(
        1,
        "the first line begins with `//!` and says what lives here".into(),
    )]
}

fn not_too_long(file: &File) -> Vec<Finding> {
    let lines = file.text.lines().count();
    if !file.is_rust() || lines <= LINES_MAX {
        return Vec::new();
    }
    vec![(
        lines,
        format!("{lines} lines, and {LINES_MAX} are the most: split it"),
    )]
}

fn nothing_unfinished(file: &File) -> Vec<Finding> {
    if !file.is_rust() {
        return Vec::new();
    }
    file.each_line(|line| {
        let word = UNFINISHED.iter().find(|word| line.contains(**word))?;
        Some(format!("`{word}` is not finished"))
    })
}

/// Finds the words where they stand alone. In quotes they are data: a currency has one as its code.
fn no_notes(file: &File) -> Vec<Finding> {
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '"' | '\'' | '`');
    file.each_line(|line| {
        let word = NOTES.iter().find(|word| stands_after(line, word, inside))?;
        Some(format!("{word}: do it, or file it"))
    })
}

fn no_machine_paths(file: &File) -> Vec<Finding> {
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '}');
    file.each_line(|line| {
        let starts = |folder: &str| {
            line.match_indices(folder)
                .any(|(at, _)| !line[..at].ends_with(inside))
        };
        let folder = MACHINE_FOLDERS.iter().find(|folder| starts(folder))?;
        Some(format!("{folder} is a folder of one machine"))
    })
}

fn no_trailing_blanks(file: &File) -> Vec<Finding> {
    // What tools write is theirs.
    if [".snap", ".patch", ".proptest-regressions"]
        .iter()
        .any(|end| file.path.ends_with(end))
        || file.path.contains("/corpus/")
    {
        return Vec::new();
    }
    let blank = |line: &str| line.ends_with([' ', '\t', '\r']);
    let lines = file
        .text
        .split('\n')
        .enumerate()
        .filter(|(_, line)| blank(line));
    lines
        .map(|(at, _)| (at + 1, "blanks at the end of the line".into()))
        .collect()
}

fn dead_links(file: &File, known: &BTreeSet<String>) -> Vec<Finding> {
    if !file.path.ends_with(".md") {
        return Vec::new();
    }
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut fenced = false;
    let mut findings = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        for target in link_targets(line) {
            if !known.contains(&resolve(folder, &target)) {
                findings.push((
                    at + 1,
                    format!("the link to {target} leads nowhere in this repository"),
                ));
            }
        }
    }
    findings
}

fn impure_core(file: &File) -> Vec<Finding> {
    if !file.path.starts_with("core/src/") || !file.is_rust() || file.path.ends_with("tests.rs") {
        return Vec::new();
    }
    let tested = test_lines(&file.text);
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    let mut findings = file.each_line(|line| {
        let std = line
            .match_indices("std::")
            .any(|(at, _)| !line[..at].ends_with(inside));
        let found = std || line.contains("extern crate std") || line.contains("tokio");
        found.then(|| "the core has no clock, no I/O and no runtime".into())
    });
    findings.retain(|(line, _)| !tested.contains(line));
    findings
}

// ---- what the rules stand on

/// Fails with every finding of a rule in every file.
#[track_caller]
fn check(rule: impl Fn(&File) -> Vec<Finding>) {
    let mut report = String::new();
    for file in files() {
        for (line, what) in rule(&file) {
            report.push_str(&format!("\n  {}:{line}: {what}", file.path));
        }
    }
    assert!(report.is_empty(), "{report}\n");
}

/// Fails unless a rule finds exactly these lines.
#[track_caller]
fn finds(rule: impl Fn(&File) -> Vec<Finding>, path: &str, text: &str, lines: &[usize]) {
    let found: Vec<usize> = rule(&File::new(path, text))
        .into_iter()
        .map(|(line, _)| line)
        .collect();
    assert_eq!(found, lines, "in {path}:\n{text}");
}

impl File {
    fn new(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn each_line(&self, finding: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
        let lines = self.text.lines().enumerate();
        lines
            .filter_map(|(at, line)| Some((at + 1, finding(line)?)))
            .collect()
    }
}

/// Every text file that is, or would be, committed.
fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for path in listed(&root) {
        // A file may be gone from the folder and not yet from the index, or be no text.
        if let Ok(text) = std::fs::read_to_string(root.join(&path)) {
            files.push(File { path, text });
        }
    }
    assert!(!files.is_empty(), "git lists no file");
    files
}

fn listed(root: &PathBuf) -> Vec<String> {
    let mut git = Command::new("git");
    git.arg("-C").arg(root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let output = git.output().expect("git is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "git cannot list the files of this checkout: {said}"
    );
    let names = String::from_utf8(output.stdout).expect("file names are UTF-8");
    names.split_terminator('\0').map(str::to_owned).collect()
}

/// The paths of all files and of the folders they are in; the root is the empty path.
fn known_paths(files: &[String]) -> BTreeSet<String> {
    let mut known = BTreeSet::from([String::new()]);
    for file in files {
        let mut path = file.as_str();
        known.insert(path.to_owned());
        while let Some((folder, _)) = path.rsplit_once('/') {
            known.insert(folder.to_owned());
            path = folder;
        }
    }
    known
}

/// Whether a word is in the line with no character of `inside` on either side.
fn stands_after(line: &str, word: &str, inside: impl Fn(char) -> bool) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(&inside) && !after.is_some_and(&inside)
    })
}

/// The relative targets of a Markdown line's links, images and reference definitions.
fn link_targets(line: &str) -> Vec<String> {
    // Every second piece between backticks is code.
    let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" ");
    let mut targets = Vec::new();
    for (open, close) in [("](", ')'), ("src=\"", '"'), ("href=\"", '"')] {
        for (at, _) in prose.match_indices(open) {
            let rest = &prose[at + open.len()..];
            targets.extend(rest.split(close).next());
        }
    }
    if prose.starts_with('[') {
        targets.extend(prose.split_once("]: ").map(|(_, target)| target));
    }
    let paths = targets.into_iter().filter_map(|target| {
        let target = target.split_whitespace().next()?.trim_matches(['<', '>']);
        let path = target.split(['#', '?']).next()?;
        let outside = target.contains("://") || target.starts_with("mailto:");
        (!outside && !path.is_empty()).then(|| path.to_owned())
    });
    paths.collect()
}

/// Where a link in a file of `folder` leads, as a path from the root.
fn resolve(folder: &str, target: &str) -> String {
    let (start, rest) = match target.strip_prefix('/') {
        Some(rest) => ("", rest),
        None => (folder, target),
    };
    let mut path: Vec<&str> = start.split_terminator('/').collect();
    for part in rest.split('/') {
        match part {
            "" | "." => {}
            ".." if path.pop().is_none() => return "..".into(),
            ".." => {}
            part => path.push(part),
        }
    }
    path.join("/")
}

/// The lines of items under `#[cfg(test)]`, told by the indentation that rustfmt gives.
fn test_lines(text: &str) -> BTreeSet<usize> {
    let mut lines = BTreeSet::new();
    let mut item: Option<&str> = None;
    for (at, line) in text.lines().enumerate() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        if item.is_none() && code.starts_with("#[cfg(test)]") {
            item = Some(indent);
        }
        if let Some(start) = item {
            lines.insert(at + 1);
            let one_line = code.ends_with(';') || (code.contains('{') && code.ends_with('}'));
            if indent == start && (one_line || code.starts_with('}')) {
                item = None;
            }
        }
    }
    lines
}
