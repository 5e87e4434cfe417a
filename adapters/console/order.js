// One order: its saga as a timeline, its parts, and what an operator may do.
import { get, post } from "./api.js";
import { confirm } from "./dialog.js";
import { fill, h, toast } from "./dom.js";
import { count, money, ms, time, words } from "./format.js";
import { listen } from "./live.js";
import { badge, calm, card, facts, field, link, problem, table } from "./parts.js";

const ENDED = ["COMPLETED", "FAILED", "COMPENSATED"];
const BACK = ["COMPENSATION_REQUESTED", "STOCK_UNDONE", "PAYMENT_UNDONE", "CANCELLED"];
const BAD = ["OUT_OF_STOCK", "PARKED"];
const some = (promise) => promise.catch((error) => { if (error.status === 404) return undefined; throw error; });

function timeline(order, payment, held) {
  const began = Date.parse(order.createdAt);
  const entries = order.history.map((entry) => ({ step: entry.step, at: entry.at, title: words(entry.step), text: entry.detail, where: `order journal, ${count(entry.sequence)}`,
    kind: BACK.includes(entry.step) ? "back" : BAD.includes(entry.step) ? "bad" : entry.step === "CONFIRMED" ? "good" : "forth" }));
  // What a part did comes before the order's word about it, in the same millisecond too.
  const before = (step, entry) => entries.splice(entries.findIndex((it) => it.step === step) >>> 0, 0, entry);
  for (const refund of payment?.refunds ?? []) before("PAYMENT_UNDONE", { at: refund.requestedAt, kind: "back", title: `Refund ${refund.status.toLowerCase()}`, text: `${money(refund.amount, payment.currency)}${refund.gatewayReference ? `, gateway reference ${refund.gatewayReference}` : ""}${refund.failureReason ? `, ${refund.failureReason}` : ""}`, where: "payment" });
  if (held?.releasedAt) before("STOCK_UNDONE", { at: held.releasedAt, kind: "back", title: `Reservation ${held.status.toLowerCase()}`, text: held.releaseReason ?? "", where: `inventory journal, ${count(held.version)}` });
  entries.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  const owed = [];
  if (payment?.attempts) owed.push({ kind: "wait", at: payment.nextRetryAt, title: `Gateway call, ${payment.attempts} ${payment.attempts === 1 ? "try" : "tries"} so far`, text: `${payment.lastError ?? "no definite answer"}; next try at ${time(payment.nextRetryAt, true)}`, where: "payment" });
  if (![...ENDED, "COMPENSATING"].includes(order.sagaState)) owed.push({ kind: "wait", at: order.deadlineAt, title: "Time-out of the saga", text: "if it has not ended by then, it is undone", where: "" });
  return h("ol", { class: "timeline" }, [...entries, ...owed].map((entry) => h("li", { class: entry.kind },
    h("div", {}, h("b", {}, entry.title), h("span", { class: "muted" }, entry.text)),
    h("div", { class: "when" }, h("time", { datetime: entry.at }, time(entry.at, true)), h("small", {}, [entry.kind !== "wait" && `+${ms(Date.parse(entry.at) - began)}`, entry.where].filter(Boolean).join(" · "))))));
}

export function order(main, [id]) {
  const head = h("div", { class: "head" }), body = h("div", {}), live = h("p", { class: "hidden", role: "status" });
  let spoken;
  const path = `/orders/${id}`;
  const load = async () => {
    let order, payment, held;
    try {
      order = await get(path);
      // Asked for only where the order says that there may be one.
      const has = (step) => order.history.some((it) => it.step === step);
      [payment, held] = await Promise.all([has("PAYMENT_REQUESTED") ? some(get(`/payments/order/${id}`)) : undefined, has("INVENTORY_RESERVED") ? some(get(`/inventory/reservations/order/${id}`)) : undefined]);
    } catch (error) {
      fill(head, h("h1", {}, "Order"));
      fill(body, problem(error), link("/orders", "All orders"));
      return;
    }
    const left = payment && Number(payment.amount) - Number(payment.refundedAmount);
    const digits = payment?.amount.split(".")[1]?.length ?? 0;
    const cancel = () => {
      const reason = h("input", { type: "text", value: "cancelled by an operator", maxlength: "500", required: true });
      confirm({ title: "Cancel this order?", text: "What was reserved is released, and what was charged is given back.", label: "Cancel the order", danger: true,
        fields: field("Reason", reason), act: () => post(`${path}/cancel`, { reason: reason.value }) })
        .then((done) => { if (done) { toast("The order is being cancelled."); load(); } });
    };
    const retry = () => confirm({ title: "Try again now?", text: "The step that keeps failing is tried at once, and then again as before.", label: "Try again", act: () => post(`${path}/retry`) })
      .then((done) => { if (done) { toast("Another try was asked for."); load(); } });
    const unpaid = payment?.gatewayState === "capture_failed" && payment.parked;
    const writeOff = () => confirm({ title: "Write this payment off?", text: "The order stays confirmed, and its money is not asked for again here: you had it in another way, or give it up.", label: "Write off", danger: true, act: () => post(`/payments/${payment.paymentId}/write-off`) })
      .then((done) => { if (done) { toast("The payment is written off."); load(); } });
    const refund = () => {
      const amount = h("input", { type: "text", inputmode: "decimal", value: left.toFixed(digits), required: true });
      confirm({ title: "Refund this payment?", text: `Up to ${money(left.toFixed(digits), payment.currency)} can be given back. The order stays as it is.`, label: "Refund", danger: true,
        fields: field(`Amount in ${payment.currency}`, amount, "the whole, or a part of it"),
        act: () => {
          if (!/^\d+(\.\d+)?$/.test(amount.value.trim())) throw new Error("Give an amount such as 12.50.");
          return post(`/payments/${payment.paymentId}/refund`, { amount: Number(amount.value) });
        } })
        .then((done) => { if (done) { toast("The refund was asked for."); load(); } });
    };
    const running = !ENDED.includes(order.sagaState);
    fill(head, h("div", {}, h("p", { class: "muted crumbs" }, link("/orders", "Orders"), " / ", h("code", {}, id)), h("h1", {}, money(order.totalAmount, order.currency), " ", badge(order.status, order.parked))),
      h("div", { class: "buttons" },
        running && order.sagaState !== "COMPENSATING" && h("button", { type: "button", class: "danger", onclick: cancel }, "Cancel…"),
        (order.parked || payment?.parked) && h("button", { type: "button", class: "primary", onclick: retry }, "Try again…"),
        unpaid && h("button", { type: "button", class: "danger", onclick: writeOff }, "Write off…"),
        order.status === "CONFIRMED" && payment?.gatewayState !== "capture_failed" && left > 0 && h("button", { type: "button", onclick: refund }, "Refund…")));
    fill(body,
      unpaid && h("p", { class: "note" }, h("b", {}, "Confirmed and not paid: "), payment.failureReason),
      (order.failureReason ?? order.cancellationReason) && h("p", { class: "note" }, h("b", {}, order.failureReason ? "Failed: " : running ? "Being undone: " : "Cancelled: "), order.failureReason ?? order.cancellationReason),
      h("div", { class: "order" },
        card("Saga", facts([["State", words(order.sagaState)], ["Took", running ? undefined : ms(Date.parse(order.updatedAt) - Date.parse(order.createdAt))]]), timeline(order, payment, held)),
        h("div", {},
          card("Order", facts([["Customer", link(`/orders?customerId=${encodeURIComponent(order.customerId)}`, order.customerId)], ["Created", time(order.createdAt)], ["Position", order.version && `order journal, ${count(order.version)}`], ["Payment method", order.paymentMethodId], ...Object.entries(order.metadata ?? {}).map(([name, value]) => [name, String(value)])]),
            table("Lines", ["Product", "#Quantity", "#Price", "#Total"], order.items.map((line) => h("tr", {}, h("td", {}, link(`/stock/${encodeURIComponent(line.productId)}`, line.productId)), h("td", { class: "num" }, count(line.quantity)), h("td", { class: "num" }, line.price), h("td", { class: "num" }, line.lineTotal))), "None.")),
          card("Payment", payment ? facts([["Status", badge(payment.status, payment.parked)], ["Amount", money(payment.amount, payment.currency)], ["Refunded", money(payment.refundedAmount, payment.currency)], ["Gateway", payment.gateway], ["Gateway reference", payment.gatewayReference && h("code", {}, payment.gatewayReference)], ["Tries", payment.attempts], ["Next try", payment.nextRetryAt && time(payment.nextRetryAt, true)], ["Last error", payment.lastError], ["Failure", payment.failureReason], ["Gives up at", payment.status === "PROCESSING" ? time(payment.deadlineAt) : undefined], ["Position", `payment journal, ${count(payment.version)}`]]) : h("p", { class: "muted" }, "Nothing was asked of the gateway.")),
          card("Reservation", held ? facts([["Status", badge(held.status)], ["Held until", held.status === "ACTIVE" ? time(held.expiresAt) : undefined], ["Released", held.releasedAt && time(held.releasedAt)], ["Reason", held.releaseReason], ["Position", `inventory journal, ${count(held.version)}`]]) : h("p", { class: "muted" }, "Nothing was reserved.")))));
    if (spoken !== undefined && spoken !== order.status) live.textContent = `The order is now ${words(order.status)}.`;
    spoken = order.status;
  };
  const refresh = calm(load, 300);
  fill(main, head, live, body);
  load();
  const off = listen((kind, data) => {
    if (kind === "resync" || kind === "hello") refresh();
    if (kind === "orders" && (data.omitted > 0 || data.orders.some((it) => it.orderId === id))) refresh();
  });
  return () => { off(); refresh.stop(); };
}
