//! The clients: when each sends, and how it follows its order to the end.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::StatusCode;

use super::args::BenchArgs;
use super::books::Books;
use super::connection::{Answered, AskError, Connection, Server};
use super::orders::Basket;
use super::tally::Tally;

/// How often an order is asked for that had not ended when its wait was over.
const POLL_EVERY: Duration = Duration::from_millis(20);
/// How long after its answer an order may take to end before that is an error.
const ENDS_WITHIN: Duration = Duration::from_secs(60);
/// How long after the measurement orders are still sent that were due in it.
const SENT_WITHIN: Duration = Duration::from_secs(30);
/// Between an error and the next order, so that a server that is down is not hammered.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);
/// An order that leaves this much later than it was due has left late.
const LATE: Duration = Duration::from_millis(5);

/// The times of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    /// The first order.
    pub(super) began: Instant,
    /// The measured time begins.
    pub(super) from: Instant,
    /// The measured time ends.
    pub(super) to: Instant,
}

impl Schedule {
    pub(super) fn starting_now(args: &BenchArgs) -> Self {
        let began = Instant::now();
        let from = began + args.warmup;
        Self {
            began,
            from,
            to: from + args.duration,
        }
    }

    fn measures(&self, at: Instant) -> bool {
        (self.from..self.to).contains(&at)
    }
}

/// What the clients share. They are all on one thread.
pub(super) struct Shared {
    pub(super) server: Server,
    pub(super) books: Rc<Books>,
    pub(super) schedule: Schedule,
    pub(super) args: BenchArgs,
    /// Open loop: orders of the schedule that clients have taken.
    pub(super) taken: Cell<u64>,
}

/// One client, until the time is over.
pub(super) async fn run(shared: Rc<Shared>, number: u32) -> Tally {
    let seed = shared.args.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut client = Client {
        connection: shared.server.connection(),
        random: fastrand::Rng::with_seed(seed ^ u64::from(number)),
        tally: Tally::new(),
        shared,
    };
    while let Some(due) = client.next_due().await {
        client.place(due).await;
    }
    client.tally
}

struct Client {
    connection: Connection,
    random: fastrand::Rng,
    tally: Tally,
    shared: Rc<Shared>,
}

impl Client {
    /// Waits until the next order is due, and says since when it is; `None` at the end.
    async fn next_due(&mut self) -> Option<Instant> {
        let Schedule { began, to, .. } = self.shared.schedule;
        let Some(rate) = self.shared.args.rate else {
            let now = Instant::now();
            return (now < to).then_some(now);
        };
        let number = self.shared.taken.replace(self.shared.taken.get() + 1);
        let nanos = u128::from(number) * 1_000_000_000 / u128::from(rate);
        let due = began + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        if due >= to {
            return None;
        }
        tokio::time::sleep_until(due.into()).await;
        Some(due)
    }

    async fn place(&mut self, due: Instant) {
        let now = Instant::now();
        if self.shared.args.rate.is_some() && now > due + LATE {
            self.tally.sent_late += 1;
        }
        if now > self.shared.schedule.to + SENT_WITHIN {
            // The server is so far behind that the rest of the schedule is given up; what
            // was not sent has waited at least this long.
            self.measure(due, now);
            self.tally.error("not_sent".to_owned(), || {
                "the server was too far behind for this order to be sent at all".to_owned()
            });
            return;
        }
        let basket = Basket::draw(&mut self.random, &self.shared.args);
        let body = basket.body(&mut self.random, &self.shared.args);
        match self.follow(body).await {
            Ok(status) => {
                let ended = Instant::now();
                if self.shared.schedule.measures(ended) {
                    self.tally.ended_in_time += 1;
                }
                self.measure(due, ended);
                if status == "CONFIRMED" {
                    self.shared.books.sold(&basket);
                }
                self.tally.ended(&status);
            }
            Err(failure) => {
                if failure.may_have_sold() {
                    self.shared.books.perhaps_sold(&basket);
                }
                self.tally.error(failure.name(), || failure.detail());
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }

    /// Records a latency that counts: by when the order was due where there is a schedule,
    /// by when it ended otherwise.
    fn measure(&mut self, due: Instant, ended: Instant) {
        let counts_by = if self.shared.args.rate.is_some() {
            due
        } else {
            ended
        };
        if self.shared.schedule.measures(counts_by) {
            self.tally.latency(ended - due);
        }
    }

    /// Places an order and follows it to its end; returns its last status.
    async fn follow(&mut self, body: String) -> Result<String, Failure> {
        let placed = self.connection.post("/api/v1/orders", body, true).await;
        let placed = placed.map_err(Failure::Unanswered)?;
        if placed.status != StatusCode::CREATED {
            return Err(Failure::Refused(placed));
        }
        let order_id = {
            let order = placed.order().map_err(Failure::Unanswered)?;
            if order.is_final() {
                return Ok(order.status.to_owned());
            }
            order.order_id.to_owned()
        };
        let path = format!("/api/v1/orders/{order_id}");
        let deadline = Instant::now() + ENDS_WITHIN;
        loop {
            tokio::time::sleep(POLL_EVERY).await;
            // A poll that fails is repeated: the order is placed, and its end is wanted.
            let polled = self.connection.get(&path).await;
            if let Ok(polled) = &polled
                && let Ok(order) = polled.order()
                && order.is_final()
            {
                return Ok(order.status.to_owned());
            }
            if Instant::now() > deadline {
                let last = match polled {
                    Ok(polled) => polled.text(),
                    Err(error) => error.to_string(),
                };
                return Err(Failure::NotEnded(last));
            }
        }
    }
}

/// Why an order has no end that counts.
enum Failure {
    Unanswered(AskError),
    Refused(Answered),
    NotEnded(String),
}

impl Failure {
    /// The server may have sold the order all the same.
    const fn may_have_sold(&self) -> bool {
        !matches!(
            self,
            Self::Refused(_) | Self::Unanswered(AskError::NotSent { .. })
        )
    }

    fn name(&self) -> String {
        match self {
            Self::Unanswered(error) => error.name().to_owned(),
            Self::Refused(answer) => answer.problem_code(),
            Self::NotEnded(_) => "not_ended".to_owned(),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Unanswered(error) => error.to_string(),
            Self::Refused(answer) => format!("{}: {}", answer.status, answer.text()),
            Self::NotEnded(last) => {
                let seconds = ENDS_WITHIN.as_secs();
                format!("an order had not ended after {seconds} seconds: {last}")
            }
        }
    }
}
