//! A driver that runs a journal on the simulated disk beside the simplest model of it: the
//! list of payloads that were acknowledged, and the one that may or may not be there.

#![allow(clippy::unwrap_used, missing_docs, dead_code, unreachable_pub)]

use a4co_journal::sim_disk::SimDisk;
use a4co_journal::{
    AppendError, ChainHash, Disk, Journal, Keep, OpenError, Options, PrepareError, Reader,
    RetainError, SnapshotError, verify,
};

pub fn small() -> Options {
    Options {
        segment_bytes: 8192,
        milestones: 2,
    }
}

/// Payloads of many lengths, with zeros in them, and no two alike.
pub fn payload(sequence: u64, variant: u64) -> Vec<u8> {
    let length = usize::try_from((sequence * 397 + variant * 131) % 1400).unwrap();
    let mut bytes = vec![0; length];
    for (at, byte) in bytes.iter_mut().enumerate().skip(40) {
        *byte = u8::try_from((at as u64 * sequence + variant) % 251).unwrap() & 0x7f;
    }
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&variant.to_le_bytes());
    bytes
}

/// What the model says a snapshot at this place must hold.
pub fn state(acknowledged: &[Vec<u8>]) -> Vec<u8> {
    let mut chain = ChainHash::GENESIS;
    for (payload, sequence) in acknowledged.iter().zip(1..) {
        chain = chain.then(sequence, payload);
    }
    format!("{} {chain}", acknowledged.len()).into_bytes()
}

pub struct Driver<D: Disk> {
    pub disk: D,
    pub journal: Option<Journal<D>>,
    pub acknowledged: Vec<Vec<u8>>,
    pub in_flight: Option<Vec<u8>>,
    pub snapshot_at: u64,
    /// The record from which history was asked to be kept, at most.
    pub kept_from: u64,
    pub rejected_full: u64,
    variant: u64,
}

impl Driver<SimDisk> {
    pub fn sim() -> Self {
        Self::over(SimDisk::new())
    }
}

impl<D: Disk> Driver<D> {
    pub fn over(disk: D) -> Self {
        Self {
            disk,
            journal: None,
            acknowledged: Vec::new(),
            in_flight: None,
            snapshot_at: 0,
            kept_from: 1,
            rejected_full: 0,
            variant: 0,
        }
    }

    /// Appends one record; false when the process must end.
    pub fn append(&mut self) -> bool {
        let Some(journal) = &mut self.journal else {
            return false;
        };
        self.variant += 1;
        let payload = payload(self.acknowledged.len() as u64 + 1, self.variant);
        match journal.append(&payload) {
            Ok(sequence) => {
                self.acknowledged.push(payload);
                assert_eq!(sequence, self.acknowledged.len() as u64);
                assert_eq!(journal.last_sequence(), sequence);
                true
            }
            Err(AppendError::Full(_)) => {
                self.rejected_full += 1;
                assert_eq!(journal.last_sequence(), self.acknowledged.len() as u64);
                true
            }
            Err(error) => {
                assert!(error.is_fatal());
                assert!(matches!(
                    journal.append(&payload),
                    Err(AppendError::Stopped)
                ));
                assert!(!journal.has_room(1));
                self.in_flight = Some(payload);
                self.journal = None;
                false
            }
        }
    }

    pub fn prepare(&mut self) -> Result<(), PrepareError> {
        match &self.journal {
            Some(journal) if journal.wants_spare() => journal.spare_preparer().prepare(),
            _ => Ok(()),
        }
    }

    pub fn snapshot(&mut self) -> Result<(), SnapshotError> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        let written = journal
            .snapshot_writer()
            .write(journal.position(), &state(&self.acknowledged));
        if written.is_ok() {
            self.snapshot_at = self.acknowledged.len() as u64;
        }
        written
    }

    pub fn retain(&mut self, from: u64) -> Result<(), RetainError> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        self.kept_from = self.kept_from.max(from);
        journal.retain(Keep::From(from)).map(|_| ())
    }

    /// Opens, and takes over what the log says about the record that was in flight.
    pub fn open(&mut self) -> Result<(), OpenError> {
        self.journal = None;
        let (journal, recovered) = Journal::open(self.disk.clone(), small())?;
        let acknowledged = self.acknowledged.len() as u64;
        if recovered.last_sequence == acknowledged + 1 {
            // It was written and never answered: it may be there, and if so, for good.
            let payload = self.in_flight.take().expect("a record nobody appended");
            self.acknowledged.push(payload);
        } else {
            assert_eq!(recovered.last_sequence, acknowledged, "{recovered:?}");
        }
        if let Some(torn) = &recovered.torn_tail {
            assert_eq!(torn.sequence, recovered.last_sequence + 1);
        }
        self.in_flight = None;
        assert_eq!(recovered.damaged_snapshots, Vec::new());
        assert!(recovered.base_sequence < self.kept_from);
        let at = recovered
            .snapshot
            .as_ref()
            .map_or(0, |snapshot| snapshot.position.sequence);
        assert!(at >= self.snapshot_at, "snapshot at {at}");
        if let Some(snapshot) = &recovered.snapshot {
            let before = usize::try_from(at).unwrap();
            assert_eq!(snapshot.payload, state(&self.acknowledged[..before]));
        }
        self.snapshot_at = at;
        self.journal = Some(journal);
        self.check_content();
        Ok(())
    }

    /// Everything that is kept is what was acknowledged, byte for byte.
    pub fn check_content(&self) {
        let reader = Reader::open(self.disk.clone()).unwrap();
        for recovery in [reader.recover_from_base(), reader.recover_from_newest()] {
            let recovery = recovery.unwrap();
            assert_eq!(recovery.damaged_snapshots, Vec::new());
            let from = recovery
                .snapshot
                .map_or(0, |snapshot| snapshot.position.sequence);
            let skipped = usize::try_from(from).unwrap();
            let read: Vec<_> = recovery.records.map(Result::unwrap).collect();
            let expected = &self.acknowledged[skipped..];
            assert_eq!(read.len(), expected.len());
            for ((record, payload), sequence) in read.iter().zip(expected).zip(from + 1..) {
                assert_eq!(record.sequence, sequence);
                assert_eq!(&record.payload, payload);
            }
        }
        let report = verify(&self.disk).unwrap();
        assert!(report.is_intact(), "{report:?}");
        assert_eq!(report.last_sequence, self.acknowledged.len() as u64);
        assert!(report.base_sequence < self.kept_from);
    }
}
