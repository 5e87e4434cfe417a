//! The loop's end, over ports that do as they are told.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::Future;
use std::sync::Arc;

use a4co_core::command::Command;
use a4co_core::embedded::EmbeddedHost;
use a4co_core::gateway::GatewayCall;
use a4co_core::ids::ProductId;
use a4co_core::inventory::InventoryCommand;
use a4co_core::record::Snapshot;
use a4co_core::row::{Row, RowKey};
use a4co_core::settings::Settings;
use a4co_core::time::{Millis, Timestamp};
use a4co_driver::ports::{AnswerSink, Clock, Gateway, Log, LogError, Observer, RowSink, Rows};
use a4co_driver::{Driver, DriverError};

/// Has room for so many records, and then none.
struct SmallLog(u64);

impl Log for SmallLog {
    fn append(&mut self, _: &[u8]) -> Result<u64, LogError> {
        if self.0 == 0 {
            return Err(LogError::Full("no space left".to_owned()));
        }
        self.0 -= 1;
        Ok(1)
    }

    fn has_room(&self, _: usize) -> bool {
        true
    }

    fn wants_snapshot(&self) -> bool {
        false
    }

    fn snapshot(&mut self, _: &Snapshot) {}
}

struct NoRows;

impl Rows for NoRows {
    fn publish(&mut self, _: u64, _: Vec<Row>) {}

    fn fetch(&self, keys: Vec<RowKey>, sink: &Arc<dyn RowSink>) {
        for key in keys {
            sink.fetched(key, None);
        }
    }
}

struct NoGateway;

impl Gateway for NoGateway {
    fn name(&self) -> &'static str {
        "none"
    }

    fn submit(&self, _: Vec<GatewayCall>, _: &Arc<dyn AnswerSink>) {}
}

struct TokioClock;

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(1_000_000)
    }

    fn sleep(&self, length: Millis) -> impl Future<Output = ()> {
        tokio::time::sleep(std::time::Duration::from_millis(length.get()))
    }
}

struct Nobody;

impl Observer for Nobody {
    fn committed(&mut self, _: u64, _: usize, _: &[Row]) {}

    fn room(&mut self, _: bool) {}
}

fn define(number: usize) -> Command {
    Command::Inventory(InventoryCommand::Define {
        product_id: ProductId::parse(&format!("sku-{number}")).unwrap(),
        // Large, so that a few of them saturate the host.
        name: Some(Arc::from("x".repeat(60_000))),
        price: None,
        on_hand: Some(1),
    })
}

/// Stops a loop that has these commands to carry out, and room for so many records.
fn stop(records: u64, commands: usize) -> Result<(), DriverError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (driver, reach) = Driver::new(
            EmbeddedHost::new(&Settings::default()),
            SmallLog(records),
            NoRows,
            TokioClock,
            Nobody,
            Arc::new(NoGateway),
            commands.max(1),
        );
        let replies: Vec<_> = (0..commands)
            .map(|number| {
                let mut reply = Box::pin(reach.handle.submit(define(number)));
                // Polled once, it is in the queue.
                let waker = std::task::Waker::noop();
                let mut context = std::task::Context::from_waker(waker);
                assert!(reply.as_mut().poll(&mut context).is_pending());
                reply
            })
            .collect();
        reach.stop.send(()).unwrap();
        let ended = driver.run().await.map(drop);
        for reply in replies {
            let reply = reply.await;
            assert_eq!(
                reply.is_ok(),
                ended.is_ok(),
                "answered only if it is durable"
            );
        }
        ended
    })
}

#[test]
fn everything_taken_is_answered() {
    assert!(stop(1_000, 0).is_ok());
    assert!(stop(1_000, 3).is_ok());
    assert!(stop(1_000, 300).is_ok());
}

#[test]
fn a_stop_without_room_says_so_and_does_not_wait_for_room() {
    for commands in [1, 3, 300] {
        let ended = stop(0, commands);
        let Err(DriverError::StoppedWithoutRoom(reason)) = ended else {
            panic!("{ended:?}");
        };
        assert_eq!(reason, "no space left");
    }
}
