//! Saga steps per second of the core alone: the embedded host with no log behind it, one
//! core. A step is one event; an order that completes takes eight (and its hold is not
//! extended, because no time passes).

use std::sync::Arc;
use std::time::Duration;

use a4co_core::command::{Command, RequestId};
use a4co_core::embedded::{EmbeddedHost, HostInput, HostOutput};
use a4co_core::gateway::GatewayOutcome;
use a4co_core::ids::{CustomerId, Fingerprint, GatewayReference, OrderId, ProductId};
use a4co_core::inventory::InventoryCommand;
use a4co_core::money::{Amount, Currency};
use a4co_core::order::{CreateOrder, Line, NewOrder, OrderCommand, SandboxHints};
use a4co_core::settings::Settings;
use a4co_core::time::Timestamp;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

// As in the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PRODUCTS: u64 = 1_000;
const BATCH: u64 = 64;
const STEPS_PER_ORDER: u64 = 8;

struct World {
    host: EmbeddedHost,
    template: Vec<Arc<NewOrder>>,
    next: u64,
    completed: u64,
}

fn now() -> Timestamp {
    Timestamp::from_unix_ms(1_700_000_000_000)
}

fn product(index: u64) -> ProductId {
    ProductId::parse(&format!("sku-{index}")).expect("a valid id")
}

impl World {
    fn new(active: u64) -> Self {
        let mut host = EmbeddedHost::new(&Settings::default());
        host.start(now());
        for index in 0..PRODUCTS {
            let command = Command::Inventory(InventoryCommand::Define {
                product_id: product(index),
                name: None,
                price: None,
                on_hand: Some(1_000_000_000),
            });
            host.handle_input(
                now(),
                HostInput::Command {
                    request: RequestId(0),
                    command,
                },
            );
        }
        let template = (0..PRODUCTS).map(|index| Arc::new(order(index))).collect();
        let mut world = Self {
            host,
            template,
            next: 0,
            completed: 0,
        };
        world.carry_out(true);
        for _ in 0..active {
            world.create();
        }
        world.carry_out(false);
        world
    }

    fn create(&mut self) {
        self.next += 1;
        let order = &self.template[usize::try_from(self.next % PRODUCTS).unwrap_or(0)];
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.next.to_be_bytes());
        let command = Command::Order(OrderCommand::Create(CreateOrder {
            order_id: OrderId::from_bytes(id),
            may_exist: false,
            order: order.clone(),
        }));
        self.host.handle_input(
            now(),
            HostInput::Command {
                request: RequestId(self.next),
                command,
            },
        );
    }

    fn carry_out(&mut self, pay: bool) {
        while let Some(output) = self.host.poll_output() {
            match output {
                HostOutput::Commit(bytes) => {
                    std::hint::black_box(bytes);
                    self.host.handle_input(now(), HostInput::Committed);
                }
                HostOutput::CallGateway(call) if pay => {
                    self.completed += 1;
                    let reference = GatewayReference::parse("ch_1").expect("a valid reference");
                    self.host.handle_input(
                        now(),
                        HostInput::Gateway {
                            order_id: call.order_id,
                            operation: Some(call.operation),
                            outcome: GatewayOutcome::Succeeded { reference },
                        },
                    );
                }
                other => {
                    std::hint::black_box(other);
                }
            }
        }
    }
}

fn order(index: u64) -> NewOrder {
    let price = Amount::from_minor(1_999).expect("within range");
    NewOrder {
        customer_id: CustomerId::parse("customer-1").expect("a valid id"),
        lines: Arc::from([
            Line {
                product_id: product(index),
                quantity: 1,
                unit_price: price,
            },
            Line {
                product_id: product((index * 7 + 1) % PRODUCTS),
                quantity: 2,
                unit_price: price,
            },
        ]),
        total: Amount::from_minor(5_997).expect("within range"),
        currency: Currency::EUR,
        payment_method: None,
        metadata: Arc::from([]),
        hints: SandboxHints::default(),
        idempotency_key: None,
        fingerprint: Fingerprint::of(b"order"),
        trace: None,
    }
}

fn saga_steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("saga_steps");
    group.throughput(Throughput::Elements(BATCH * STEPS_PER_ORDER));
    group.measurement_time(Duration::from_secs(5));
    for active in [0, 100_000] {
        let mut world = World::new(active);
        group.bench_function(format!("{active} other active orders"), |bench| {
            bench.iter_batched(
                || (),
                |()| {
                    for _ in 0..BATCH {
                        world.create();
                    }
                    world.carry_out(true);
                },
                BatchSize::SmallInput,
            );
        });
        assert!(world.completed >= BATCH, "the bench completes orders");
    }
    group.finish();
}

criterion_group!(benches, saga_steps);
criterion_main!(benches);
