//! Fills a small file system until sled itself fails, reads on, makes room, and looks
//! whether everything is there. Needs a file system of its own, some 160 megabytes:
//!
//! ```text
//! mount -t tmpfs -o size=160m tmpfs FOLDER
//! cargo run --release -p a4co-store --example full -- FOLDER
//! ```

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::{Duration, Instant};

use a4co_core::ids::{OrderId, Sequence};
use a4co_core::inventory::{Reservation, ReservationStatus};
use a4co_core::row::Row;
use a4co_core::time::{Millis, Timestamp};
use a4co_store::{Health, Options, View};

fn main() {
    let folder = std::env::args()
        .nth(1)
        .expect("a folder on a small file system");
    let folder = Path::new(&folder);
    let ballast = folder.join("ballast");
    std::fs::write(&ballast, vec![0; 64 << 20]).unwrap();
    // The floor is off: it is sled's own failure that is looked at.
    let options = || Options {
        free_floor_bytes: 0,
        ..Options::default()
    };
    let opened = View::open(&folder.join("store"), options()).unwrap();
    let view = opened.view;
    println!("opened: {} {:?}", opened.applied, opened.why_rebuilt);
    let mut sequence = opened.applied;
    while view.health() == Health::Serving {
        sequence += 1;
        let _ = view.publish(
            sequence,
            (0..100).map(|part| row(sequence * 100 + part)).collect(),
        );
        std::thread::sleep(Duration::from_micros(200));
    }
    println!(
        "{} published, {} applied: {:?}",
        sequence,
        view.applied(),
        view.health()
    );
    let all = |view: &View, from: u64| {
        let (mut there, mut failed) = (0, 0);
        for number in from * 100..sequence * 100 + 100 {
            match view.reservation(id(number)) {
                Ok(found) => there += u64::from(found.is_some()),
                Err(_) => failed += 1,
            }
        }
        format!(
            "{there} there, {failed} unreadable, of {}",
            (sequence + 1 - from) * 100
        )
    };
    println!("those in memory: {}", all(&view, view.applied() + 1));
    println!("all: {}", all(&view, 1));
    std::thread::sleep(Duration::from_secs(2));
    println!("two seconds later: {:?}", view.health());
    println!("all: {}", all(&view, 1));
    std::fs::remove_file(&ballast).unwrap();
    let begin = Instant::now();
    let applied = view.wait_applied(sequence, Duration::from_secs(30));
    println!(
        "room again: applied {applied} after {:?}, {:?}",
        begin.elapsed(),
        view.health()
    );
    println!("all: {}", all(&view, 1));
    println!("closed: {:?}", view.close());
    drop(view);
    let opened = View::open(&folder.join("store"), options()).unwrap();
    println!("opened: {} {:?}", opened.applied, opened.why_rebuilt);
    println!("all: {}", all(&opened.view, 1));
}

fn id(number: u64) -> OrderId {
    OrderId::from_bytes(u128::from(number).to_be_bytes())
}

fn row(number: u64) -> Row {
    let at = Timestamp::from_unix_ms(number);
    Row::Reservation(Box::new(Reservation {
        order_id: id(number),
        status: ReservationStatus::Released,
        lines: std::sync::Arc::from([]),
        shortages: Vec::new(),
        hold_ms: Millis::new(0),
        created_at: at,
        expires_at: at,
        released_at: None,
        release_reason: None,
        version: Sequence::new(number),
    }))
}
