//! The bytes of a small log, pinned: another format must be a decision, with another
//! version and a way to read this one.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fmt::Write as _;

use a4co_journal::sim_disk::SimDisk;
use a4co_journal::{Disk, FORMAT_VERSION, Journal, Keep, Options};

/// All lines that are not zeros, sixteen bytes each.
fn dump(disk: &SimDisk) -> String {
    let mut text = String::new();
    for name in disk.list().unwrap() {
        let content = disk.content(&name).unwrap();
        writeln!(text, "{name} {}", content.len()).unwrap();
        for (index, line) in content.chunks(16).enumerate() {
            if line.iter().any(|byte| *byte != 0) {
                write!(text, "{:05}", index * 16).unwrap();
                for word in line.chunks(4) {
                    text.push(' ');
                    for byte in word {
                        write!(text, "{byte:02x}").unwrap();
                    }
                }
                text.push('\n');
            }
        }
    }
    text
}

#[test]
fn the_format_is_what_it_was() {
    let disk = SimDisk::new();
    let options = Options {
        segment_bytes: 8192,
        milestones: 0,
    };
    let (mut journal, _) = Journal::open(disk.clone(), options).unwrap();
    journal.append(b"first").unwrap();
    journal.append(b"").unwrap();
    let writer = journal.snapshot_writer();
    writer.write(journal.position(), b"state at 2").unwrap();
    journal.retain(Keep::From(3)).unwrap();
    journal.append(&[0xab; 4040]).unwrap();
    writer.write(journal.position(), b"state at 3").unwrap();
    drop(journal);
    assert_eq!(FORMAT_VERSION, 1);
    let dump = dump(&disk);
    let (heads, filler) = dump.split_once("04144 abababab").unwrap_or((&dump, ""));
    assert!(filler.len() > 4000 || filler.is_empty(), "{dump}");
    assert_eq!(heads, include_str!("golden.txt"));
}
