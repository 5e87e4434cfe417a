//! The live feed: `GET /api/v1/events`, what changes as server-sent events.
//!
//! ```text
//! What the feed owes the engine
//!  - the engine's thread takes no lock for it, waits for nobody and wakes nobody: see `tap`;
//!  - nobody listens: nothing is collected but the sagas' durations.
//! What it owes a client
//!  - `hello` first, with the last minutes' samples; from then on `overview` each second, and
//!    `orders` whenever some have changed, at most four times a second;
//!  - whatever was left out is said: `orders` counts what it does not list, and `resync` says
//!    that events were missed, so that what is shown has to be read anew.
//! ```
//!
//! A client that reconnects with the id of the last event that it saw gets what came since,
//! for as long as that is kept. One that reads too slowly is told to resync, and let go.

mod hub;
mod latency;
mod sample;
mod tap;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::Response;
use http_body_util::channel::{Channel, Sender};
use tokio::sync::{broadcast, mpsc};

pub(super) use self::hub::run;
use self::latency::Latencies;
pub(super) use self::sample::Sample;
use self::tap::CHANGES_MAX;
pub(super) use self::tap::Change;
pub use self::tap::LiveTap;
use super::ports::{Phase, Readiness};
use super::problem::{Code, Problem};
use super::request::Parameters;
use super::{HttpState, shapes};

/// Events that a slow client may be behind before it is let go.
const BEHIND_MAX: usize = 64;

/// Events that are kept for those who reconnect.
const KEPT_MAX: usize = 64;

/// Silence after which a client is sent a comment, so that what is between does not hang up.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long one event may wait for a client that does not read.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// How long a client waits before it connects again, in its own milliseconds.
const RECONNECT_AFTER_MS: u32 = 1_000;

/// The feed. Clones are the same one.
#[derive(Clone)]
pub(super) struct Feed(Arc<Inner>);

struct Inner {
    /// Names this process in the ids of events, which begin again with each.
    boot: String,
    /// Clients that are connected.
    listeners: AtomicUsize,
    /// Changes that found no room on their way to the hub.
    omitted: AtomicUsize,
    latencies: Latencies,
    changes: mpsc::Sender<Change>,
    /// Until the hub takes it.
    collected: Mutex<Option<mpsc::Receiver<Change>>>,
    kept: Mutex<Kept>,
    events: broadcast::Sender<Bytes>,
}

/// What was sent last.
#[derive(Default)]
struct Kept {
    /// The number of the last event.
    last: u64,
    events: VecDeque<(u64, Bytes)>,
    samples: VecDeque<sample::Sample>,
}

impl Default for Feed {
    fn default() -> Self {
        let (changes, collected) = mpsc::channel(CHANGES_MAX);
        Self(Arc::new(Inner {
            boot: uuid::Uuid::new_v4().simple().to_string(),
            listeners: AtomicUsize::new(0),
            omitted: AtomicUsize::new(0),
            latencies: Latencies::default(),
            changes,
            collected: Mutex::new(Some(collected)),
            kept: Mutex::default(),
            events: broadcast::Sender::new(BEHIND_MAX),
        }))
    }
}

impl Feed {
    /// The engine's end of it.
    pub(super) fn tap(&self) -> LiveTap {
        LiveTap::new(self.clone())
    }

    fn is_heard(&self) -> bool {
        self.0.listeners.load(Ordering::Relaxed) > 0
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing in here is left half done by a panic.
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends an event to everybody, and keeps it for those who come back.
    fn send(&self, name: &str, data: &str) {
        let mut kept = self.kept();
        kept.last += 1;
        let number = kept.last;
        let event = Bytes::from(format!(
            "event: {name}\nid: {}-{number}\ndata: {data}\n\n",
            self.0.boot
        ));
        kept.events.push_back((number, event.clone()));
        if kept.events.len() > KEPT_MAX {
            kept.events.pop_front();
        }
        // Nobody may be listening. While the lock is held, so that nobody who subscribes
        // meanwhile gets it twice or not at all.
        let _ = self.0.events.send(event);
    }

    /// A place among the clients.
    fn join(&self, listeners_max: usize) -> Option<Listener> {
        let listener = Listener(self.clone());
        let before = self.0.listeners.fetch_add(1, Ordering::Relaxed);
        (before < listeners_max).then_some(listener)
    }

    /// What a client missed since this event, if that is known, and what is to come.
    fn subscribe(&self, last_seen: Option<&str>) -> (Since, broadcast::Receiver<Bytes>) {
        let kept = self.kept();
        let receiver = self.0.events.subscribe();
        let Some(last_seen) = last_seen else {
            return (Since::New, receiver);
        };
        let number = last_seen
            .strip_prefix(&self.0.boot)
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|number| number.parse::<u64>().ok());
        let first_kept = kept
            .events
            .front()
            .map_or(kept.last + 1, |(first, _)| *first);
        let since = match number {
            Some(number) if number <= kept.last && number + 1 >= first_kept => {
                let later = kept.events.iter().filter(|(at, _)| *at > number);
                Since::Missed(later.map(|(_, event)| event.clone()).collect())
            }
            _ => Since::TooLong,
        };
        (since, receiver)
    }
}

/// What a client has missed.
enum Since {
    /// Nothing: it was not here before.
    New,
    /// These events.
    Missed(Vec<Bytes>),
    /// More than is kept.
    TooLong,
}

/// A client that is connected; gives its place back when it is dropped.
struct Listener(Feed);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.0.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `GET /events`
pub(super) async fn events(
    State(state): State<Arc<HttpState>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::of(&uri)?;
    // A client that has to connect by itself cannot set the header.
    let asked = parameters.take("lastEventId", |text| Ok(text.to_owned()));
    parameters.end()?;
    let header = headers.get("last-event-id");
    let header = header.and_then(|id| id.to_str().ok()).map(str::to_owned);
    if state.readiness.phase() == Phase::Draining {
        let detail = "the service is stopping; connect again in a moment";
        return Err(Problem::new(Code::ShuttingDown, detail));
    }
    let listener = state.feed.join(state.settings.listeners_max);
    let listener = listener.ok_or_else(|| {
        let detail = "as many clients follow the live feed as may; close one, or try again later";
        Problem::new(Code::Overloaded, detail)
    })?;
    let (since, receiver) = state.feed.subscribe(header.or(asked).as_deref());
    let mut first = vec![hello(&state)];
    match since {
        Since::New => {}
        Since::Missed(events) => first.extend(events),
        Since::TooLong => first.push(resync("the events since then are not kept any more")),
    }
    let (sender, body) = Channel::<Bytes>::new(4);
    let client = Client {
        sender,
        readiness: state.readiness.clone(),
        _listener: listener,
    };
    tokio::spawn(client.follow(first, receiver));
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // For proxies that would otherwise wait until there is more to pass on.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// A client's end: from the feed to its connection.
struct Client {
    sender: Sender<Bytes>,
    readiness: Arc<Readiness>,
    _listener: Listener,
}

impl Client {
    /// Until either side has gone, or the process is about to.
    async fn follow(mut self, first: Vec<Bytes>, mut events: broadcast::Receiver<Bytes>) {
        for event in first {
            if !self.send(event).await {
                return;
            }
        }
        loop {
            let next = tokio::select! {
                biased;
                () = self.readiness.drained() => return,
                next = events.recv() => next,
                () = tokio::time::sleep(HEARTBEAT) => Ok(Bytes::from_static(b":\n\n")),
            };
            let event = match next {
                Ok(event) => event,
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    let _ = self.send(resync("this client reads too slowly")).await;
                    return;
                }
                Err(broadcast::error::RecvError::Closed) => return,
            };
            if !self.send(event).await {
                return;
            }
        }
    }

    /// Hands an event over; `false` when the client is gone, or as good as gone.
    async fn send(&mut self, event: Bytes) -> bool {
        tokio::select! {
            biased;
            sent = self.sender.send_data(event) => sent.is_ok(),
            () = self.readiness.drained() => false,
            () = tokio::time::sleep(STALLED_AFTER) => false,
        }
    }
}

/// What every client hears first.
fn hello(state: &HttpState) -> Bytes {
    let kept = state.feed.kept();
    let (samples, _) = kept.samples.as_slices();
    let hello = shapes::Hello {
        service: "a4co",
        version: env!("CARGO_PKG_VERSION"),
        mode: if state.settings.clustered {
            super::ON_NATS
        } else {
            super::EMBEDDED
        },
        gateway: state.settings.gateway,
        sandbox: state.settings.sandbox,
        samples,
    };
    let data = serde_json::to_string(&hello).unwrap_or_default();
    // The id is where the samples end: whoever is cut off before the next event goes on there.
    Bytes::from(format!(
        "retry: {RECONNECT_AFTER_MS}\nevent: hello\nid: {}-{}\ndata: {data}\n\n",
        state.feed.0.boot, kept.last
    ))
}

fn resync(why: &str) -> Bytes {
    Bytes::from(format!("event: resync\ndata: {{\"reason\":\"{why}\"}}\n\n"))
}
