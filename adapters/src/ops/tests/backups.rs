//! `backup` and `restore`: what comes back is what was there, and nothing is overwritten.

use std::fs;
use std::path::Path;

use a4co_core::time::Timestamp;

use super::world::{World, check, replayed};
use crate::embedded::journal_dir;
use crate::gateway::sandbox::SandboxBooks;
use crate::ops::{
    Backup, BackupArgs, BackupError, MANIFEST_FILE, ManifestError, Quiet, RestoreArgs,
    RestoreError, Restored, backup, restore,
};

const NOW: Timestamp = Timestamp::from_unix_ms(1_767_300_000_000);

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn back_up(from: &Path, to: &Path) -> Result<Backup, BackupError> {
    let args = BackupArgs {
        data_dir: from.to_owned(),
        to: to.to_owned(),
    };
    backup(&args, NOW, &Quiet)
}

fn put_back(from: &Path, to: &Path, force: bool) -> Result<Restored, RestoreError> {
    let args = RestoreArgs {
        from: from.to_owned(),
        data_dir: to.to_owned(),
        force,
    };
    restore(&args, NOW, &Quiet)
}

#[test]
fn what_is_restored_replays_to_the_same_state() {
    let dir = folder();
    let (data, copy, new) = (
        dir.path().join("a"),
        dir.path().join("b/c"),
        dir.path().join("d"),
    );
    let mut world = World::new(&data);
    world.mixture();
    world.snapshot();
    let made = back_up(&data, &copy).expect("a backup of a running instance");
    assert!(made.report.is_clean(), "{}", made.report);
    assert_eq!(made.manifest.orders_total(), 24);
    assert_eq!(made.manifest.sandbox_entries, Some(24));
    assert!(made.to_string().contains("24 orders"), "{made}");
    let state = world.state();
    world.stop();

    let restored = put_back(&copy, &new, false).expect("restored");
    assert_eq!(restored.manifest, made.manifest);
    assert!(restored.moved_aside.is_none());
    assert!(restored.to_string().contains("24 orders"), "{restored}");
    assert_eq!(replayed(&new), state);
    let report = check(&new);
    assert!(report.is_clean(), "{report}");
    // It goes on from there, and the backup is itself a folder that can be verified.
    let mut world = World::new(&new);
    world.place(70, 1);
    world.serve();
    world.stop();
    assert!(check(&new).is_clean());
    assert!(check(&copy).is_clean());
}

#[test]
fn a_backup_of_a_busy_instance_fits_together() {
    let dir = folder();
    let (data, copy, new) = (
        dir.path().join("a"),
        dir.path().join("b"),
        dir.path().join("c"),
    );
    let mut world = World::new(&data);
    world.mixture();
    let (told, tell) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let copying = scope.spawn(|| {
            let made = back_up(&data, &copy);
            told.send(()).expect("somebody waits");
            made
        });
        let mut number = 1000;
        while tell.try_recv().is_err() {
            world.place(number, 1);
            world.serve();
            world.refund(number, 50);
            world.serve();
            number += 1;
        }
        let made = copying.join().expect("no panic").expect("a backup");
        assert!(made.report.is_clean(), "{}", made.report);
    });
    world.stop();
    put_back(&copy, &new, false).expect("restored");
    let report = check(&new);
    assert!(report.is_clean(), "{report}");
}

#[test]
fn books_are_cut_to_what_the_copied_journal_had_asked_for() {
    let dir = folder();
    let (data, early, late) = (
        dir.path().join("a"),
        dir.path().join("b"),
        dir.path().join("c"),
    );
    let mut world = World::new(&data);
    world.mixture();
    back_up(&data, &early).expect("a backup");
    let entries = SandboxBooks::read(&early)
        .expect("readable")
        .expect("there")
        .len();
    world.refund(7, 100);
    world.serve();
    world.place(80, 1);
    world.serve();
    world.stop();
    // The journal of the first copy with the books of the second one.
    back_up(&data, &late).expect("a backup");
    fs::create_dir_all(dir.path().join("d")).expect("made");
    let mixed = dir.path().join("d");
    let restored = put_back(&early, &mixed, false).expect("restored");
    for entry in fs::read_dir(&late).expect("a folder") {
        let entry = entry.expect("an entry");
        if entry.path().extension().is_some_and(|end| end == "log") {
            fs::copy(entry.path(), mixed.join(entry.file_name())).expect("copied");
        }
    }
    assert!(!check(&mixed).is_clean(), "the books are ahead");
    let cut = dir.path().join("e");
    let made = back_up(&mixed, &cut).expect("a backup");
    assert!(made.report.is_clean(), "{}", made.report);
    assert_eq!(made.manifest.sandbox_entries, Some(entries));
    assert_eq!(
        made.manifest.journal.last_sequence,
        restored.manifest.journal.last_sequence
    );
}

#[test]
fn a_target_with_contents_is_left_alone() {
    let dir = folder();
    let (data, copy) = (dir.path().join("a"), dir.path().join("b"));
    World::new(&data).stop();
    fs::create_dir_all(&copy).expect("made");
    fs::write(copy.join("mine"), b"1").expect("written");
    let error = back_up(&data, &copy).expect_err("not empty");
    assert!(matches!(error, BackupError::NotEmpty { .. }));
    let error = back_up(&data, &copy.join("mine")).expect_err("a file");
    assert!(matches!(error, BackupError::NotAFolder { .. }));
    let error = back_up(&data, &journal_dir(&data).join("b")).expect_err("inside");
    assert!(matches!(error, BackupError::Inside { .. }));
    assert_eq!(fs::read(copy.join("mine")).expect("there"), b"1");
    assert_eq!(fs::read_dir(&copy).expect("a folder").count(), 1);
}

#[test]
fn a_data_folder_with_contents_is_moved_aside_only_when_asked() {
    let dir = folder();
    let (data, copy) = (dir.path().join("a"), dir.path().join("b"));
    let mut world = World::new(&data);
    world.mixture();
    world.stop();
    back_up(&data, &copy).expect("a backup");
    let error = put_back(&copy, &data, false).expect_err("not empty");
    assert!(matches!(error, RestoreError::NotEmpty { .. }));
    assert!(error.to_string().contains("--force"), "{error}");

    let before = replayed(&data);
    let restored = put_back(&copy, &data, true).expect("restored");
    let aside = restored.moved_aside.expect("what was there");
    assert_eq!(replayed(&aside), before);
    assert!(aside.join("store").exists());
    assert_eq!(replayed(&data), before);
    assert!(check(&data).is_clean());
}

#[test]
fn a_data_folder_in_use_is_refused() {
    let dir = folder();
    let (data, copy) = (dir.path().join("a"), dir.path().join("b"));
    let world = World::new(&data);
    back_up(&data, &copy).expect("a backup");
    let error = put_back(&copy, &data, true).expect_err("in use");
    assert!(matches!(error, RestoreError::Running(_)), "{error}");
    assert!(error.to_string().contains("stop it first"), "{error}");
    world.stop();
}

#[test]
fn a_backup_that_is_not_intact_is_refused() {
    let dir = folder();
    let (data, copy, new) = (
        dir.path().join("a"),
        dir.path().join("b"),
        dir.path().join("c"),
    );
    let mut world = World::new(&data);
    world.mixture();
    world.stop();
    back_up(&data, &copy).expect("a backup");
    let manifest = fs::read_to_string(copy.join(MANIFEST_FILE)).expect("a manifest");

    let other = manifest.replace("\"chainHash\": \"", "\"chainHash\": \"0");
    fs::write(copy.join(MANIFEST_FILE), other).expect("written");
    let error = put_back(&copy, &new, false).expect_err("another chain");
    assert!(matches!(error, RestoreError::NotIntact { .. }), "{error}");

    let other = manifest.replace("\"version\": 1", "\"version\": 2");
    fs::write(copy.join(MANIFEST_FILE), other).expect("written");
    let error = put_back(&copy, &new, false).expect_err("another version");
    assert!(matches!(
        error,
        RestoreError::Manifest(ManifestError::Version { version: 2, .. })
    ));

    fs::remove_file(copy.join(MANIFEST_FILE)).expect("removed");
    let error = put_back(&copy, &new, false).expect_err("unfinished");
    assert!(matches!(
        error,
        RestoreError::Manifest(ManifestError::Missing { .. })
    ));
    assert!(!new.exists());

    fs::write(copy.join(MANIFEST_FILE), manifest).expect("written");
    let segment = fs::read_dir(journal_dir(&copy))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.extension().is_some_and(|end| end == "log"))
        .expect("a segment");
    let mut bytes = fs::read(&segment).expect("readable");
    bytes[4096 + 300] ^= 1;
    fs::write(&segment, bytes).expect("written");
    let error = put_back(&copy, &new, false).expect_err("damaged");
    assert!(matches!(error, RestoreError::NotIntact { .. }), "{error}");
    assert!(!new.exists());
}
