//! What the fuzz targets do with their bytes, as plain functions: the targets call them
//! under libFuzzer, and a test calls them with the corpus on stable Rust.

use std::collections::BTreeMap;
use std::sync::Arc;

use a4co::events::{PublicEvent, PublicStream};
use a4co_core::command::{Command, RequestId};
use a4co_core::embedded::{EmbeddedHost, HostInput, HostOutput};
use a4co_core::gateway::GatewayOutcome;
use a4co_core::ids::{CustomerId, Fingerprint, GatewayReference, OrderId, ProductId};
use a4co_core::inventory::InventoryCommand;
use a4co_core::money::{Amount, Currency};
use a4co_core::order::{CreateOrder, Line, NewOrder, OrderCommand, SandboxHints};
use a4co_core::payment::PaymentCommand;
use a4co_core::record::{self, Record, Snapshot};
use a4co_core::row::{Row, RowKey};
use a4co_core::settings::Settings;
use a4co_core::time::{Millis, Timestamp};
use a4co_journal::sim_disk::SimDisk;
use a4co_journal::{Journal, Options};

/// Decoding at rest is total: any bytes give a value or an error, and a value that was
/// decoded encodes to something that decodes to the same.
pub fn record(bytes: &[u8]) {
    if let Ok(decoded) = record::decode::<Record>(bytes) {
        let again = record::decode(&record::encode(&decoded));
        assert_eq!(again.as_ref(), Ok(&decoded));
        // What decodes need not fit, but it must not panic.
        let mut host = EmbeddedHost::new(&Settings::default());
        let _ = host.replay(&decoded, true);
    }
    if let Ok(decoded) = record::decode::<Snapshot>(bytes) {
        let again = record::decode(&record::encode(&decoded));
        assert_eq!(again.as_ref(), Ok(&decoded));
    }
}

/// Every body and header that a client may send is read or refused as the client's fault.
///
/// # Panics
/// When one is neither.
pub fn http(bytes: &[u8]) {
    a4co::http::parse_any(bytes);
}

/// Any header and body are a webhook of Stripe's or refused; a wrong signature is never
/// taken. The input is the header `Stripe-Signature`, an empty line, and the body.
///
/// # Panics
/// When a reader panics, or takes what nobody signed.
pub fn webhook(bytes: &[u8]) {
    a4co::gateway::stripe::parse_any(bytes);
}

/// Any headers and body are a public event or an error; one that was read is written and
/// read as the same. The input is `name: value` lines, an empty line, and the body.
///
/// # Panics
/// When it is read otherwise the second time.
pub fn events(bytes: &[u8]) {
    let end = bytes.windows(2).position(|two| two == b"\n\n");
    let (head, body) = end.map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + 2..]));
    let head = String::from_utf8_lossy(head);
    let headers: Vec<(&str, &str)> = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .collect();
    let header = |name: &str| headers.iter().find(|it| it.0 == name).map(|it| it.1);
    if let Ok(event) = PublicEvent::decode(header, body) {
        let written = event.headers();
        let header = |name: &str| {
            let found = written.iter().find(|it| it.0 == name);
            found.map(|it| it.1.as_str())
        };
        let again = PublicEvent::decode(header, &event.body());
        assert_eq!(again.as_ref(), Ok(&event));
        assert_eq!(
            project_stream(&event),
            Some(event.kind.stream()),
            "its subject belongs to its stream"
        );
    }
}

/// The stream whose subjects the event's subject is one of.
fn project_stream(event: &PublicEvent) -> Option<PublicStream> {
    let (first, _) = event.kind.subject().split_once('.')?;
    let mut streams = PublicStream::ALL.into_iter();
    streams.find(|stream| stream.subjects().strip_suffix(".>") == Some(first))
}

/// A log over any bytes opens, or refuses; what it then holds is read without a panic, and
/// what is appended to it is read back.
///
/// # Panics
/// When one of these does not hold.
pub fn journal(bytes: &[u8]) {
    const SEGMENT_BYTES: u64 = 8_192;
    let options = Options {
        segment_bytes: SEGMENT_BYTES,
        ..Options::default()
    };
    let disk = SimDisk::new();
    let (mut log, _) = Journal::open(disk.clone(), options.clone()).expect("an empty disk opens");
    for payload in [b"first".as_slice(), b"second", b"third"] {
        log.append(payload).expect("there is room");
    }
    drop(log);
    // Three bytes an edit: where, and what is flipped.
    let name = "segment-00000000000000000001.log";
    for edit in bytes.chunks_exact(3) {
        let offset = u64::from(u16::from_le_bytes([edit[0], edit[1]])) % SEGMENT_BYTES;
        disk.corrupt(name, offset, edit[2]);
    }
    if let Ok((mut log, found)) = Journal::open(disk, options) {
        let sequence = log.append(b"after").expect("there is room");
        assert_eq!(sequence, found.last_sequence + 1);
        let records: Vec<_> = log.read_from(1).expect("it opened").collect();
        let last = records
            .last()
            .expect("one was appended")
            .as_ref()
            .expect("it is readable");
        assert_eq!(last.payload, b"after");
    }
}

/// Amounts are read exactly or refused, whatever the text.
///
/// # Panics
/// When a text that was read is not written the same way twice.
pub fn money(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for currency in [Currency::EUR, Currency::JPY, Currency::KWD] {
        if let Ok(amount) = currency.parse_amount(text) {
            let written = currency.format_amount(amount);
            assert_eq!(
                currency.parse_amount(&written),
                Ok(amount),
                "{text} as {currency}"
            );
        }
    }
}

/// Any sequence of inputs, each of two bytes: no panic, stock conserved at every commit, and
/// a replay of the log that gives the same state.
///
/// # Panics
/// When one of these does not hold.
pub fn saga(bytes: &[u8]) {
    let mut world = World::new();
    for pair in bytes.chunks_exact(2).take(512) {
        world.step(pair[0], pair[1]);
    }
    let mut replayed = EmbeddedHost::new(&world.settings);
    for bytes in &world.log {
        let record = record::decode::<Record>(bytes).expect("what was written decodes");
        replayed
            .replay(&record, false)
            .expect("the log is contiguous");
    }
    if let Some(live) = world.host.snapshot() {
        assert_eq!(
            replayed.snapshot().as_ref(),
            Some(&live),
            "replay equals state"
        );
    }
}

/// Recovery from any bytes at all, as the first segment of the log: it opens, and then
/// takes an append, or it refuses, and then has touched nothing.
///
/// # Panics
/// When it does neither.
pub fn recovery(bytes: &[u8]) {
    let options = Options {
        segment_bytes: 8_192,
        ..Options::default()
    };
    let name = "segment-00000000000000000001.log";
    let disk = SimDisk::new();
    disk.plant(name, bytes);
    match Journal::open(disk.clone(), options) {
        Ok((mut log, found)) => {
            let sequence = log.append(b"after").expect("there is room");
            assert_eq!(sequence, found.last_sequence + 1);
        }
        Err(_) => assert_eq!(disk.content(name).as_deref(), Some(bytes), "refused"),
    }
}

/// The log that the corpus of [`recovery`] holds, as bytes: three records in one segment.
///
/// # Panics
/// When an empty disk does not take them.
#[must_use]
pub fn small_log() -> Vec<u8> {
    let options = Options {
        segment_bytes: 8_192,
        ..Options::default()
    };
    let disk = SimDisk::new();
    let (mut log, _) = Journal::open(disk.clone(), options).expect("an empty disk opens");
    for payload in [b"first".as_slice(), b"second", b"third"] {
        log.append(payload).expect("there is room");
    }
    drop(log);
    disk.content("segment-00000000000000000001.log")
        .expect("the segment is there")
}

struct World {
    host: EmbeddedHost,
    settings: Settings,
    now: Timestamp,
    log: Vec<Vec<u8>>,
    rows: BTreeMap<RowKey, Row>,
    calls: Vec<(OrderId, a4co_core::gateway::GatewayOperation)>,
}

impl World {
    fn new() -> Self {
        let settings = Settings::default();
        let mut world = Self {
            host: EmbeddedHost::new(&settings),
            settings,
            now: Timestamp::from_unix_ms(1_000_000),
            log: Vec::new(),
            rows: BTreeMap::new(),
            calls: Vec::new(),
        };
        world.host.start(world.now);
        for product in ["a", "b"] {
            world.command(Command::Inventory(InventoryCommand::Define {
                product_id: ProductId::parse(product).expect("a valid id"),
                name: None,
                price: None,
                on_hand: Some(5),
            }));
        }
        world
    }

    fn command(&mut self, command: Command) {
        self.input(HostInput::Command {
            request: RequestId(0),
            command,
        });
    }

    fn input(&mut self, input: HostInput) {
        self.host.handle_input(self.now, input);
        while let Some(output) = self.host.poll_output() {
            match output {
                HostOutput::Commit(bytes) => {
                    self.log.push(bytes);
                    self.host.handle_input(self.now, HostInput::Committed);
                    for product in self.host.inventory().state().products.values() {
                        assert!(product.reserved <= product.on_hand, "never oversold");
                        let balance = i128::from(product.on_hand) + i128::from(product.sold)
                            - i128::from(product.received);
                        assert_eq!(balance, 0, "stock conserved");
                    }
                }
                HostOutput::Publish(rows) => {
                    self.rows
                        .extend(rows.into_iter().map(|row| (row.key(), row)));
                }
                HostOutput::CallGateway(call) => self.calls.push((call.order_id, call.operation)),
                HostOutput::Fetch(key) => {
                    let row = self.rows.get(&key).cloned();
                    self.host
                        .handle_input(self.now, HostInput::Fetched { key, row });
                }
                HostOutput::Reply { .. } => {}
            }
        }
    }

    fn step(&mut self, what: u8, which: u8) {
        let order_id = OrderId::from_bytes([which % 8; 16]);
        match what % 8 {
            0 | 1 => self.command(Command::Order(OrderCommand::Create(CreateOrder {
                order_id,
                may_exist: true,
                order: Arc::new(order(which)),
            }))),
            2 => self.command(Command::Order(OrderCommand::Cancel {
                order_id,
                reason: Arc::from("fuzz"),
                idempotency: None,
            })),
            3 => self.command(Command::Payment(PaymentCommand::Refund {
                order_id,
                amount: (which > 127).then(|| Amount::from_minor(1).expect("within range")),
                idempotency: None,
            })),
            4 => {
                self.now = self
                    .now
                    .saturating_add(Millis::new(u64::from(which) * 2_000));
                self.input(HostInput::Time);
            }
            5 => self.command(Command::Order(OrderCommand::Retry {
                order_id,
                idempotency: None,
            })),
            6 => self.input(HostInput::Gateway {
                order_id,
                operation: None,
                outcome: outcome(which),
            }),
            _ => {
                if !self.calls.is_empty() {
                    let index = usize::from(which) % self.calls.len();
                    let (order_id, operation) = self.calls.swap_remove(index);
                    let operation = Some(operation);
                    self.input(HostInput::Gateway {
                        order_id,
                        operation,
                        outcome: outcome(which),
                    });
                }
            }
        }
    }
}

fn outcome(which: u8) -> GatewayOutcome {
    let reference = || GatewayReference::parse("ref").expect("a valid reference");
    match which % 7 {
        0 => GatewayOutcome::Succeeded {
            reference: reference(),
        },
        1 => GatewayOutcome::Rejected {
            code: Arc::from("declined"),
        },
        2 => GatewayOutcome::Pending,
        3 => GatewayOutcome::NotFound,
        4 => GatewayOutcome::Cancelled,
        5 => GatewayOutcome::Refunded {
            reference: reference(),
        },
        _ => GatewayOutcome::Unknown {
            detail: Arc::from("fuzz"),
        },
    }
}

fn order(which: u8) -> NewOrder {
    let price = Amount::from_minor(100).expect("within range");
    let line = |product: &str, quantity: u32| Line {
        product_id: ProductId::parse(product).expect("a valid id"),
        quantity,
        unit_price: price,
    };
    let lines = match which % 3 {
        0 => vec![line("a", 1)],
        1 => vec![line("a", 2), line("b", 1)],
        _ => vec![line("b", 1), line("b", 1)],
    };
    let units: u32 = lines.iter().map(|line| line.quantity).sum();
    NewOrder {
        customer_id: CustomerId::parse("c").expect("a valid id"),
        lines: lines.into(),
        total: price.checked_mul(u64::from(units)).expect("within range"),
        currency: Currency::EUR,
        payment_method: None,
        metadata: Arc::from([]),
        hints: SandboxHints::default(),
        idempotency_key: None,
        fingerprint: Fingerprint::of(&[which % 3]),
        trace: None,
    }
}
