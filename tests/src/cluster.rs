//! What the tests of several processes need: clients that never give up, and a line to the
//! servers that can be cut, silent or slow.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::Client;
use crate::server::Server;
use crate::shop::{self, Order};

/// How long one request may take before a client tries another process.
const PATIENCE: Duration = Duration::from_secs(120);

/// Clients that place orders one after the other, each order under its own key, at
/// whichever process answers, until they are told to stop.
#[derive(Debug)]
pub struct Buyers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    addresses: Mutex<Vec<SocketAddr>>,
    acknowledged: Mutex<BTreeMap<String, String>>,
    /// The longest that an order took from its first try to its acknowledgement.
    slowest: Mutex<Duration>,
    tries: AtomicUsize,
    is_over: AtomicBool,
}

impl Buyers {
    /// Starts so many, who buy one unit of a product again and again.
    #[must_use]
    pub fn start(count: usize, product: &str, addresses: &[SocketAddr]) -> Self {
        let shared = Arc::new(Shared {
            addresses: Mutex::new(addresses.to_vec()),
            ..Shared::default()
        });
        let threads = (0..count).map(|buyer| {
            let (shared, product) = (shared.clone(), product.to_owned());
            std::thread::spawn(move || shared.buy(buyer, &product))
        });
        Self {
            threads: threads.collect(),
            shared,
        }
    }

    /// The processes are elsewhere now.
    pub fn find(&self, addresses: &[SocketAddr]) {
        *lock(&self.shared.addresses) = addresses.to_vec();
    }

    /// Orders that were acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        lock(&self.shared.acknowledged).len()
    }

    /// Waits until so many more orders are acknowledged.
    ///
    /// # Panics
    /// When they are not.
    #[track_caller]
    pub fn expect_more(&self, count: usize) {
        let wanted = self.acknowledged() + count;
        crate::until("more orders", || {
            let have = self.acknowledged();
            if have >= wanted {
                Ok(())
            } else {
                Err(format!("{have} orders are acknowledged, not {wanted}"))
            }
        });
    }

    /// The longest that an order took, and starts to measure anew.
    #[must_use]
    pub fn slowest(&self) -> Duration {
        std::mem::take(&mut *lock(&self.shared.slowest))
    }

    /// Stops them, each after the order that it has under way. Key and id of every order.
    ///
    /// # Panics
    /// When one of them gave up.
    #[must_use]
    pub fn stop(self) -> BTreeMap<String, String> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a buyer who was served");
        }
        println!(
            "{} orders with {} requests",
            lock(&self.shared.acknowledged).len(),
            self.shared.tries.load(Ordering::Relaxed)
        );
        std::mem::take(&mut *lock(&self.shared.acknowledged))
    }
}

impl Shared {
    fn buy(&self, buyer: usize, product: &str) {
        for number in 0.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let key = format!("buyer-{buyer}-{number}");
            let order = Order::of(&[(product, 1)]);
            let began = Instant::now();
            let id = self.insist(buyer + number, &key, &order);
            lock(&self.acknowledged).insert(key, id);
            let mut slowest = lock(&self.slowest);
            *slowest = (*slowest).max(began.elapsed());
        }
    }

    /// The same request under the same key, until it is acknowledged.
    fn insist(&self, first: usize, key: &str, order: &Order) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut said = String::new();
        for turn in first.. {
            self.tries.fetch_add(1, Ordering::Relaxed);
            let addresses = lock(&self.addresses).clone();
            let client = Client::new(addresses[turn % addresses.len()]);
            let placed = client
                .ask("POST", "/api/v1/orders")
                .key(key)
                .wait(3)
                .json(order.body())
                .try_send();
            match placed {
                Ok(answer) if answer.status == 201 => return shop::id(&answer.json()).to_owned(),
                Ok(answer) if answer.status < 500 => panic!("{key}: {answer:?}"),
                Ok(answer) => said = format!("{answer:?}"),
                Err(error) => said = error,
            }
            assert!(Instant::now() < deadline, "{key}: {said}");
            std::thread::sleep(Duration::from_millis(20));
        }
        said
    }
}

/// Fails unless every order that was acknowledged is there and has ended, at this process,
/// and its key still names it.
///
/// # Panics
/// When one is lost.
#[track_caller]
pub fn expect_kept(client: &Client, acknowledged: &BTreeMap<String, String>, product: &str) {
    let mut ids: Vec<&String> = acknowledged.values().collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), acknowledged.len(), "two keys name one order");
    for order_id in acknowledged.values() {
        // A process may be a moment behind the one that answered.
        crate::until("an order that every process shows", || {
            let answer = client.get(&format!("/api/v1/orders/{order_id}"));
            (answer.status == 200)
                .then_some(())
                .ok_or_else(|| format!("{answer:?}"))
        });
        let _ = client.ended(order_id);
    }
    for (key, order_id) in acknowledged.iter().take(20) {
        let again = client
            .ask("POST", "/api/v1/orders")
            .key(key)
            .json(Order::of(&[(product, 1)]).body())
            .send()
            .expect(201);
        assert_eq!(shop::id(&again.json()), order_id, "{key}");
        assert!(
            again.headers.contains_key("idempotency-replayed"),
            "{again:?}"
        );
    }
}

/// Stocks a product at the first process, and waits until all of them show it.
///
/// # Panics
/// When they do not.
#[track_caller]
pub fn stock(servers: &[Server], product: &str, units: u64) {
    servers[0].client().stock(product, units);
    for server in servers {
        crate::until("a product that every process shows", || {
            let path = format!("/api/v1/inventory/products/{product}");
            let answer = server.client().get(&path);
            (answer.status == 200)
                .then_some(())
                .ok_or_else(|| format!("{answer:?}"))
        });
    }
}

/// Fails unless `a4co verify` finds nothing wrong in the journals on these servers.
///
/// # Panics
/// When it does.
#[track_caller]
pub fn expect_verified(url: &str) {
    let verified = crate::server::run(&["verify", "--nats", url]);
    let said = [verified.stdout.as_slice(), &verified.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert_eq!(verified.status.code(), Some(0), "{said}");
}

/// Does this process decide for the participant?
///
/// # Panics
/// When it does not answer.
#[must_use]
pub fn leads(client: &Client, participant: &str) -> bool {
    let line = format!("participant_leader{{participant=\"{participant}\"}} 1");
    let metrics = client.get("/metrics").expect(200);
    String::from_utf8_lossy(&metrics.body).contains(&line)
}

/// Waits until this process decides for all of these participants.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn expect_to_lead(server: &Server, participants: &[&str]) {
    crate::until("a leader", || {
        let client = server.client();
        let not_led = participants.iter().find(|it| !leads(&client, it));
        not_led.map_or(Ok(()), |it| Err(format!("{it} is not led")))
    });
}

/// A line between a process and a server that can be cut, silent or slow, and mended again.
#[derive(Debug)]
pub struct Wire {
    port: u16,
    line: Arc<Line>,
}

#[derive(Debug, Default)]
struct Line {
    state: Mutex<State>,
    changed: Condvar,
    open: Mutex<Vec<TcpStream>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Whole,
    Cut,
    /// Nothing gets through, and nobody is told, as when a network loses every packet: what
    /// was sent arrives once it is mended.
    Silent,
    /// So long for each piece of what is sent, in either direction.
    Slow(Duration),
}

impl Wire {
    /// A line to a port of this machine.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let wire = Self {
            port: listener.local_addr().expect("an address").port(),
            line: Arc::default(),
        };
        let line = wire.line.clone();
        // Ends with the test's process.
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if *lock(&line.state) == State::Cut {
                    continue;
                }
                if let Ok(far) = TcpStream::connect(("127.0.0.1", port)) {
                    let _ = line.join(&near, &far);
                }
            }
        });
        wire
    }

    /// Its near end, as the URL of a NATS server.
    #[must_use]
    pub fn nats_url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Cuts it: what is open breaks, what is on it is lost, and nothing new gets through.
    pub fn cut(&self) {
        self.line.turn(State::Cut);
        for stream in lock(&self.line.open).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Nothing gets through any more, and neither end is told.
    pub fn fall_silent(&self) {
        self.line.turn(State::Silent);
    }

    /// Each piece of what is sent takes so long.
    pub fn slow_down(&self, delay: Duration) {
        self.line.turn(State::Slow(delay));
    }

    /// Mends it.
    pub fn mend(&self) {
        self.line.turn(State::Whole);
    }
}

impl Line {
    fn turn(&self, state: State) {
        *lock(&self.state) = state;
        self.changed.notify_all();
    }

    fn join(self: &Arc<Self>, near: &TcpStream, far: &TcpStream) -> io::Result<()> {
        lock(&self.open).extend([near.try_clone()?, far.try_clone()?]);
        for (from, to) in [(near, far), (far, near)] {
            from.set_nodelay(true)?;
            let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
            let line = self.clone();
            std::thread::spawn(move || {
                let _ = line.carry(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
                let _ = from.shutdown(Shutdown::Both);
            });
        }
        Ok(())
    }

    /// Until one end closes.
    fn carry(&self, from: &mut TcpStream, to: &mut TcpStream) -> io::Result<()> {
        let mut piece = [0; 16 * 1024];
        loop {
            let read = from.read(&mut piece)?;
            if read == 0 {
                return Ok(());
            }
            let mut state = lock(&self.state);
            while *state == State::Silent {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            let now = *state;
            drop(state);
            if let State::Slow(delay) = now {
                std::thread::sleep(delay);
            }
            to.write_all(&piece[..read])?;
        }
    }
}

/// What a process says of itself where it is not ready.
///
/// # Panics
/// When it does not answer.
#[must_use]
pub fn readiness(client: &Client) -> (u16, Value) {
    let answer = client.get("/health/ready");
    (answer.status, answer.json())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
