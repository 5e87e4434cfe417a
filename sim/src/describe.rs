//! Words for what is in a record, for traces.

use a4co_core::record::{self, Record};

/// The events of a record, by name and order.
pub(crate) fn record(bytes: &[u8]) -> String {
    let Ok(record) = record::decode::<Record>(bytes) else {
        return "not a record".into();
    };
    events(&record)
}

/// A number that stands for these bytes in digests.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The events of a record, by name and order.
pub(crate) fn events(record: &Record) -> String {
    let mut words = Vec::new();
    let short = |id: Option<a4co_core::ids::OrderId>| {
        id.map_or_else(String::new, |id| format!("({})", &id.to_string()[..8]))
    };
    for recorded in &record.order.events {
        let event = &recorded.event;
        words.push(format!("{}{}", event.name(), short(event.order_id())));
    }
    for recorded in &record.inventory.events {
        let event = &recorded.event;
        words.push(format!("{}{}", event.name(), short(event.order_id())));
    }
    for recorded in &record.payment.events {
        let event = &recorded.event;
        words.push(format!("{}{}", event.name(), short(event.order_id())));
    }
    words.join(" ")
}
