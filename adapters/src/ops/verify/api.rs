//! The store of a running instance, as its HTTP API shows it: the process holds the files,
//! so it is asked instead. Every order's state is compared, and the stock of every product
//! where nothing was appended meanwhile.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use a4co_core::ids::{OrderId, ProductId};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::findings::Findings;
use super::parts::Part;
use super::replay::Replay;
use super::report::Checked;

const CHECK: &str = "store_equals_replay";

/// A record is shown right after it was appended; this is long after.
const SHOWN_AFTER: Duration = Duration::from_millis(500);

const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderPage {
    data: Vec<ShownOrder>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShownOrder {
    order_id: OrderId,
    saga_state: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProductPage {
    data: Vec<ShownProduct>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShownProduct {
    product_id: ProductId,
    on_hand_quantity: u64,
    reserved_quantity: u64,
    sold_quantity: u64,
}

/// Compares what the instance says with the replay; what was touched since is left out.
pub(super) fn compare(
    url: &str,
    replay: &mut Replay,
    touched_since: impl FnOnce() -> HashSet<OrderId>,
    findings: &mut Findings,
    at: impl FnMut(u64),
) -> Checked {
    thread::sleep(SHOWN_AFTER);
    let base = format!("{}/api/v1", url.trim_end_matches('/'));
    let agent = ureq::Agent::config_builder()
        .tls_config(crate::tls::of_ureq())
        .timeout_global(Some(TIMEOUT))
        .build()
        .new_agent();
    let asked = orders(&agent, &base, replay, at)
        .and_then(|found| Ok((found, products(&agent, &base, replay)?)));
    let ((items, differing), stock) = match asked {
        Ok(found) => found,
        Err(why) => {
            return Checked::NotChecked {
                why: format!("the instance did not answer at {url} ({why}); check --url"),
            };
        }
    };
    let touched = touched_since();
    let missing = replay.marks.iter().filter_map(|(order_id, marks)| {
        let is_missing = marks.sum(Part::Order).is_some() && !marks.is_seen(Part::Order);
        is_missing.then(|| {
            let detail = "the journal has it, the instance does not show it".to_owned();
            (*order_id, detail)
        })
    });
    for (order_id, detail) in differing.into_iter().chain(missing) {
        if !touched.contains(&order_id) {
            findings.difference(CHECK, format!("order {order_id}"), detail);
        }
    }
    if touched.is_empty() {
        for (product_id, detail) in stock {
            findings.difference(CHECK, format!("product {product_id}"), detail);
        }
    }
    Checked::Compared {
        items,
        without_history: 0,
    }
}

type Differing<K> = Vec<(K, String)>;

fn orders(
    agent: &ureq::Agent,
    base: &str,
    replay: &mut Replay,
    mut at: impl FnMut(u64),
) -> Result<(u64, Differing<OrderId>), String> {
    let mut differing = Vec::new();
    let mut items = 0;
    let mut query = "limit=100".to_owned();
    loop {
        let page: OrderPage = get(agent, &format!("{base}/orders?{query}"))?;
        for shown in page.data {
            items += 1;
            at(items);
            let marks = replay.marks.get_mut(&shown.order_id);
            let ours = match marks {
                Some(marks) => {
                    marks.see(Part::Order);
                    marks.saga()
                }
                None => None,
            };
            match ours {
                Some(saga) if saga.name() == shown.saga_state => {}
                Some(saga) => {
                    let theirs = shown.saga_state;
                    let detail = format!("the instance shows {theirs}, the journal has {saga}");
                    differing.push((shown.order_id, detail));
                }
                None if replay.is_whole => {
                    let detail = "the instance shows it, the journal does not have it".to_owned();
                    differing.push((shown.order_id, detail));
                }
                None => {}
            }
        }
        match page.next_cursor {
            // Cursors are made of characters that need no escape in a query.
            Some(cursor) => query = format!("limit=100&cursor={cursor}"),
            None => return Ok((items, differing)),
        }
    }
}

fn products(
    agent: &ureq::Agent,
    base: &str,
    replay: &Replay,
) -> Result<Differing<ProductId>, String> {
    let page: ProductPage = get(agent, &format!("{base}/inventory/products"))?;
    let mut unseen: HashSet<_> = (replay.host.inventory().state().products.keys())
        .cloned()
        .collect();
    let mut differing = Vec::new();
    for shown in page.data {
        unseen.remove(&shown.product_id);
        let products = &replay.host.inventory().state().products;
        let ours = products.get(&shown.product_id);
        let ours = ours.map(|ours| (ours.on_hand, ours.reserved, ours.sold));
        let theirs = (
            shown.on_hand_quantity,
            shown.reserved_quantity,
            shown.sold_quantity,
        );
        if ours != Some(theirs) {
            let detail = format!(
                "(on hand, reserved, sold): the instance shows {theirs:?}, the journal has {ours:?}"
            );
            differing.push((shown.product_id, detail));
        }
    }
    if page.next_cursor.is_some() {
        // A list that was cut off.
        unseen.clear();
    }
    let missing = unseen.into_iter().map(|product_id| {
        let detail = "the journal has it, the instance does not show it".to_owned();
        (product_id, detail)
    });
    differing.extend(missing);
    Ok(differing)
}

fn get<T: DeserializeOwned>(agent: &ureq::Agent, url: &str) -> Result<T, String> {
    let mut response = agent.get(url).call().map_err(|error| error.to_string())?;
    let body = response
        .body_mut()
        .read_to_string()
        .map_err(|error| error.to_string())?;
    serde_json::from_str(&body).map_err(|error| format!("{url}: {error}"))
}
