//! A disk without room: orders are refused with the reason, reads go on, and it recovers
//! when there is room again.
//!
//! Needs a small file system of its own. As root the tests mount one in memory; without
//! root, `A4CO_TEST_SMALL_DISK` names a folder on one of 200 to 500 MiB, whose contents the
//! tests may remove.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

use a4co_tests::shop::{self, expect_end};
use a4co_tests::{Client, Options, Order, until};
use serde_json::{Value, json};

use crate::prometheus::Prometheus;

/// Names a prepared small file system, where there is no right to mount one.
const SMALL_DISK: &str = "A4CO_TEST_SMALL_DISK";
const MIB: usize = 1024 * 1024;

/// One small file system that is named is used by one test at a time.
static NAMED: Mutex<()> = Mutex::new(());

/// A small file system.
struct SmallDisk {
    folder: PathBuf,
    mounted: bool,
    /// Keeps the folder that it is mounted on until it is mounted no more.
    _options: Options,
    _named: Option<MutexGuard<'static, ()>>,
}

impl SmallDisk {
    #[track_caller]
    fn new(options: &Options) -> Self {
        if let Some(folder) = std::env::var_os(SMALL_DISK) {
            let named = NAMED
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let folder = PathBuf::from(folder);
            let _ = fs::remove_file(folder.join("ballast"));
            let _ = fs::remove_dir_all(folder.join("data"));
            return Self {
                folder,
                mounted: false,
                _options: options.clone(),
                _named: Some(named),
            };
        }
        let folder = options.scratch().join("small-disk");
        fs::create_dir(&folder).expect("a folder to mount on");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=240m", "a4co-e2e"])
            .arg(&folder)
            .output()
            .expect("the program mount");
        assert!(
            mount.status.success(),
            "a small file system is needed, and mounting one takes root: run the tests as root, or name one of 200 to 500 MiB in {SMALL_DISK}. mount said: {}",
            String::from_utf8_lossy(&mount.stderr)
        );
        Self {
            folder,
            mounted: true,
            _options: options.clone(),
            _named: None,
        }
    }

    /// Takes all the room there is, but for `left`.
    fn fill(&self, left: usize) {
        let mut ballast = File::create(self.ballast()).expect("a file to fill the disk with");
        let block = vec![0x5a; 64 * 1024];
        let mut written = 0;
        while ballast.write_all(&block).is_ok() {
            written += block.len();
        }
        // What the last, partial write took is taken back with the rest.
        let kept = written.saturating_sub(left) as u64;
        if left > 0 {
            ballast.set_len(kept).expect("a smaller file");
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.ballast()).expect("the ballast");
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if self.mounted {
            // Lazily: whatever still has a file open there is about to end.
            let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
        }
    }
}

/// A large order: 100 kB of notes.
fn large() -> Order {
    let mut order = Order::of(&[("cup", 1)]);
    for note in 0..50 {
        order = order.noted(&format!("note-{note}"), json!("𝄞".repeat(500)));
    }
    order
}

#[track_caller]
fn expect_refusal(answer: a4co_tests::Answer) {
    let problem = answer.json();
    let code = problem["code"].as_str().unwrap_or_default();
    assert!(
        matches!((answer.status, code), (507, "journal_full") | (503, _)),
        "{answer:?}"
    );
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(!detail.is_empty(), "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
}

/// Reads answer, and tell the truth.
#[track_caller]
fn expect_reads_to_go_on(client: &Client, known: &Value) {
    assert_eq!(&client.look(shop::id(known)), known);
    let listed = client.all_orders("");
    assert!(
        listed
            .iter()
            .any(|order| shop::id(order) == shop::id(known))
    );
    let _ = client.product("cup");
    let _ = client.get("/health").expect(200);
    let _ = client.get("/health/live").expect(200);
}

#[track_caller]
fn expect_recovery(client: &Client) {
    let order = until("an order after there is room again", || {
        let ask = client.ask("POST", "/api/v1/orders").wait(30);
        let answer = ask.json(Order::of(&[("cup", 1)]).body()).send();
        match answer.status {
            201 => Ok(answer.json()),
            _ => Err(format!("{answer:?}")),
        }
    });
    expect_end(&client.ended(shop::id(&order)), "CONFIRMED", "COMPLETED");
    until("readiness after there is room again", || {
        let answer = client.get("/health/ready");
        (answer.status == 200)
            .then_some(())
            .ok_or_else(|| format!("{answer:?}"))
    });
}

#[test]
fn below_the_reserve_orders_are_refused_until_there_is_room() {
    let options = Options::new();
    let disk = SmallDisk::new(&options);
    let options = options
        .data(&disk.folder.join("data"))
        .flag("--min-free-disk-mib", "8");
    let server = options.start();
    let client = server.client();
    client.stock("cup", 10_000);
    let known = client.order(&Order::of(&[("cup", 1)]));
    disk.fill(4 * MIB);
    let refusal = until("a refusal while the disk is nearly full", || {
        let answer = client.post("/api/v1/orders", Order::of(&[("cup", 1)]).body());
        match answer.status {
            201 => Err("it was taken".to_owned()),
            _ => Ok(answer),
        }
    });
    expect_refusal(refusal);
    let ready = client.get("/health/ready");
    assert_eq!(ready.status, 503, "{ready:?}");
    expect_reads_to_go_on(&client, &known);
    disk.make_room();
    expect_recovery(&client);
    let sold = client.all_orders("status=CONFIRMED").len() as u64;
    client.expect_stock("cup", 10_000 - sold, 0, sold);
    assert!(server.stop().success());
}

#[test]
fn a_disk_that_is_nearly_full_is_an_alarm_until_there_is_room() {
    let options = Options::new();
    let disk = SmallDisk::new(&options);
    let options = options
        .data(&disk.folder.join("data"))
        .flag("--min-free-disk-mib", "8");
    let server = options.start();
    let client = server.client();
    client.stock("cup", 10_000);
    let prometheus = Prometheus::of(&server);
    prometheus.expect("up == 1");
    disk.fill(4 * MIB);
    prometheus.expect_alert("JournalFull");
    prometheus.expect_alert("EngineNotReady");
    prometheus.expect_alert_while("ServerErrors", || {
        expect_refusal(client.post("/api/v1/orders", Order::of(&[("cup", 1)]).body()));
    });
    disk.make_room();
    expect_recovery(&client);
    prometheus.expect("journal_writable == 1");
    prometheus.expect("engine_ready == 1");
}

#[test]
fn with_no_room_at_all_nothing_acknowledged_is_lost() {
    let options = Options::new();
    let disk = SmallDisk::new(&options);
    let options = options
        .data(&disk.folder.join("data"))
        .flag("--min-free-disk-mib", "0");
    let server = options.start();
    let client = server.client();
    client.stock("cup", 10_000);
    let known = client.order(&Order::of(&[("cup", 1)]));
    disk.fill(0);
    let mut acknowledged = vec![shop::id(&known).to_owned()];
    let large = large();
    // What the log has set aside is used up first.
    let refusal = until("a refusal while the disk is full", || {
        for _ in 0..50 {
            let answer = client.post("/api/v1/orders", large.body());
            match answer.status {
                201 => acknowledged.push(shop::id(&answer.json()).to_owned()),
                _ => return Ok(answer),
            }
        }
        Err(format!("{} orders were taken", acknowledged.len()))
    });
    expect_refusal(refusal);
    expect_reads_to_go_on(&client, &known);
    // Killed with a full disk, and started with room.
    server.kill();
    disk.make_room();
    let server = options.start();
    let client = server.client();
    for order_id in &acknowledged {
        let _ = client.ended(order_id);
    }
    expect_recovery(&client);
    let sold = client.all_orders("status=CONFIRMED").len() as u64;
    assert!(sold > acknowledged.len() as u64);
    client.expect_stock("cup", 10_000 - sold, 0, sold);
}
