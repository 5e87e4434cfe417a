// Sagas that wait for an operator.
import { get } from "./api.js";
import { fill, h } from "./dom.js";
import { count, money, short, time } from "./format.js";
import { listen } from "./live.js";
import { badge, calm, card, link, problem, table } from "./parts.js";
import { row } from "./orders.js";

const STATES = { capture_failed: "Confirmed and not paid", capturing: "Capture", cancelling: "Cancel" };

const payment_row = (payment) => h("tr", { "data-payment": payment.orderId },
  h("td", {}, link(`/orders/${payment.orderId}`, h("code", {}, short(payment.orderId)))),
  h("td", { class: "status" }, badge(payment.status, true)),
  h("td", {}, STATES[payment.gatewayState] ?? "Refund"),
  h("td", { class: "muted" }, payment.failureReason ?? payment.lastError ?? ""),
  h("td", { class: "num" }, money(payment.amount, payment.currency)),
  h("td", { class: "num muted" }, payment.nextRetryAt ? time(payment.nextRetryAt) : "–"));

export function parked(main) {
  const list = h("div", {}), payments = h("div", {});
  const load = async () => {
    try {
      const page = await get("/orders?parked=true&limit=100");
      const waiting = await get("/payments/parked");
      fill(payments, table("Parked payments", ["Order", "Payment", "What fails", "Why", "#Amount", "#Next try"], waiting.data.map(payment_row), "No payment needs an operator."),
        waiting.count > waiting.data.length ? h("p", { class: "muted" }, `${count(waiting.count - waiting.data.length)} more are parked.`) : []);
      fill(list, table("Parked sagas", ["Order", "Customer", "Status", "Saga", "#Total", "#Created"], page.data.map(row), page.nextCursor ? "None among the newest orders under way." : "No saga needs an operator."));
    } catch (error) { fill(list, problem(error)); }
  };
  const letters = h("div", {});
  const count_letters = async () => {
    try {
      const { deadLetters } = await get("/cluster");
      fill(letters, deadLetters === undefined
        ? h("p", { class: "muted" }, "Messages that outside consumers gave up on exist only with NATS. This process publishes nothing there: there are none.")
        : [h("p", {}, deadLetters === null ? "They were not counted yet: NATS has not answered." : deadLetters === 0 ? "No consumer of the public events has given up on a message." : `Consumers of the public events gave up on ${count(deadLetters)} ${deadLetters === 1 ? "message" : "messages"}.`),
          h("p", { class: "muted" }, "They are kept for thirty days in the stream ", h("code", {}, "A4CO_DEAD_LETTERS"), " on NATS. ", h("code", {}, "a4co events dead-letters"), " lists them with the reason; ", h("code", {}, "a4co events replay SEQUENCE"), " gives one to its consumers again, once these can take it.")]);
    } catch (error) { fill(letters, problem(error)); }
  };
  const refresh = calm(load, 2_000), recount = calm(count_letters, 5_000);
  fill(main, h("h1", {}, "Parked"),
    h("p", { class: "muted" }, "An undo that keeps failing at the gateway is parked: it is still tried, slowly. Open an order to see the last error, and to try again now."), list,
    card("Parked payments", h("p", { class: "muted" }, "The cancel, capture or refund that keeps failing, of these sagas and of orders that have ended: a capture and a refund by hand come after an order is confirmed."), payments),
    card("Dead letters", letters));
  load();
  count_letters();
  const off = listen((kind) => {
    if (kind === "orders" || kind === "resync" || kind === "hello") refresh();
    if (kind === "overview") recount();
  });
  return () => { off(); refresh.stop(); recount.stop(); };
}
