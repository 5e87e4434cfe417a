//! Lists: search, filters, pages, and the stock.

use a4co_tests::browser::{Browser, DESK, keys};
use a4co_tests::{Order, shop as sales};
use serde_json::json;

use crate::{endless_shop, shop};

fn rows(browser: &Browser) -> u64 {
    browser
        .eval("return document.querySelectorAll('tbody tr[data-order]').length")
        .as_u64()
        .expect("a count")
}

#[track_caller]
fn wait_for_rows(browser: &Browser, count: u64) {
    a4co_tests::until("rows", || match rows(browser) {
        found if found == count => Ok(()),
        found => Err(format!("{found} instead of {count}")),
    });
}

#[test]
fn orders_are_found_by_customer_id_status_and_page() {
    let server = shop();
    let client = server.client();
    for number in 0..60 {
        let customer = if number < 3 { "ada" } else { "others" };
        let order = Order::of(&[("espresso-cup", 1)]).with("customerId", json!(customer));
        let order = if number % 20 == 0 {
            order.paid_by("pm_card_declined")
        } else {
            order
        };
        let _ = client.order(&order);
    }
    let browser = Browser::open(server.address(), DESK);
    browser.press("Orders");
    wait_for_rows(&browser, 50);
    browser.picture("orders");
    browser.press("Older");
    wait_for_rows(&browser, 10);
    browser.see("Page 2");
    assert_eq!(browser.eval("return [...document.querySelectorAll('button')].find((it) => it.innerText === 'Older').disabled"), true);
    browser.press("Newer");
    wait_for_rows(&browser, 50);

    browser.choose("[name=status]", "CANCELLED");
    wait_for_rows(&browser, 3);
    assert_eq!(browser.path(), "/orders?status=CANCELLED");
    browser.fill("[name=find]", "ada");
    browser.keys(keys::ENTER);
    wait_for_rows(&browser, 1);
    // The address says it all: it can be passed on, and the way back leads back.
    browser.go("/orders?customerId=ada");
    wait_for_rows(&browser, 3);
    browser.press("Clear");
    wait_for_rows(&browser, 50);
    browser.eval("history.back()");
    wait_for_rows(&browser, 3);
    browser.choose("[name=sagaState]", "STARTED");
    browser.see("No order fits.");
    browser.go("/orders?createdTo=2001-01-01");
    browser.see("No order fits.");

    let order = client.order(&Order::of(&[("grinder", 1)]));
    browser.fill("[name=find]", sales::id(&order));
    browser.press("Search");
    browser.see("149.00 EUR");
    assert_eq!(browser.path(), format!("/orders/{}", sales::id(&order)));
    browser.close();
}

#[test]
fn stock_is_found_received_and_written_off() {
    let server = endless_shop();
    let client = server.client();
    let browser = Browser::open(server.address(), DESK);
    browser.press("Stock");
    browser.see("Burr grinder");
    browser.see("Filter, size 4");
    browser.fill("input[type=search]", "grind");
    browser.wait(
        "one row",
        "return document.querySelectorAll('tbody tr').length === 1",
    );
    browser.press("grinder");
    let held = client.place(&Order::of(&[("grinder", 2)]).paid_by("pm_card_slow"));
    browser.wait(
        "the order that holds it",
        &format!(
            "return !!document.querySelector(\"[data-order='{}']\")",
            sales::id(&held)
        ),
    );
    client.expect_stock("grinder", 3, 2, 0);

    browser.fill("[name=delta]", "10");
    browser.fill("[name=reason]", "delivery 4711");
    browser.press("Adjust…");
    browser.see("Receive 10?");
    client.expect_stock("grinder", 3, 2, 0);
    browser.press("Receive");
    browser.see("The stock was adjusted.");
    client.expect_stock("grinder", 13, 2, 0);
    browser.fill("[name=delta]", "-12");
    browser.fill("[name=reason]", "breakage");
    browser.press("Adjust…");
    browser.see("Write off 12?");
    browser.press("Write off");
    browser.wait(
        "a refusal in words",
        "return !!document.querySelector('dialog .problem')?.innerText",
    );
    client.expect_stock("grinder", 13, 2, 0);
    browser.press("Keep as it is");
    let mut browser = browser;
    browser.forgive();
    browser.close();
}
