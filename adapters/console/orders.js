// Orders: search, filters, pages by cursor, and what changes while one looks.
import { get, query } from "./api.js";
import { fill, h } from "./dom.js";
import { money, short, time, words } from "./format.js";
import { listen } from "./live.js";
import { badge, calm, field, link, problem, table } from "./parts.js";
import { go } from "./app.js";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const STATUSES = ["PENDING", "INVENTORY_RESERVED", "CONFIRMED", "FAILED", "CANCELLED"];
const SAGAS = ["STARTED", "PAYMENT_PROCESSING", "PAYMENT_SUCCEEDED", "COMPLETED", "FAILED", "COMPENSATING", "COMPENSATED"];

export function row(order) {
  return h("tr", { "data-order": order.orderId },
    h("td", {}, link(`/orders/${order.orderId}`, h("code", {}, short(order.orderId)))),
    h("td", {}, order.customerId),
    h("td", { class: "status" }, badge(order.status, order.parked)),
    h("td", { class: "saga muted" }, words(order.sagaState)),
    h("td", { class: "num" }, money(order.totalAmount, order.currency)),
    h("td", { class: "num muted" }, time(order.createdAt)));
}

export function orders(main, _, search) {
  const asked = Object.fromEntries(search);
  const cursors = [undefined];
  const list = h("div", {}), foot = h("div", { class: "pager" });
  const options = (names, any, chosen) => [h("option", { value: "" }, any), names.map((name) => h("option", { value: name, selected: name === chosen }, words(name)))];
  const find = h("input", { type: "search", name: "find", placeholder: "Order id or customer", autocomplete: "off", spellcheck: "false", value: asked.customerId ?? "" });
  const status = h("select", { name: "status" }, options(STATUSES, "Any status", asked.status));
  const saga = h("select", { name: "sagaState" }, options(SAGAS, "Any saga state", asked.sagaState));
  const from = h("input", { type: "date", name: "createdFrom", value: asked.createdFrom ?? "" });
  const to = h("input", { type: "date", name: "createdTo", value: asked.createdTo ?? "" });
  const apply = (event) => {
    event?.preventDefault();
    const text = find.value.trim();
    if (UUID.test(text)) return go(`/orders/${text.toLowerCase()}`);
    go("/orders" + query({ customerId: text, status: status.value, sagaState: saga.value, createdFrom: from.value, createdTo: to.value, productId: asked.productId }));
  };
  for (const input of [status, saga, from, to]) input.addEventListener("change", () => apply());
  const form = h("form", { class: "filters", role: "search", onsubmit: apply },
    field("Search", find), field("Status", status), field("Saga", saga), field("From", from), field("To", to),
    h("button", { type: "submit", class: "primary" }, "Search"), link("/orders", "Clear"));

  const load = async () => {
    try {
      // The whole of the last day is meant.
      const until = asked.createdTo ? `${asked.createdTo}T23:59:59.999Z` : undefined;
      const page = await get("/orders" + query({ ...asked, createdTo: until, limit: 50, cursor: cursors.at(-1) }));
      const focused = document.activeElement?.closest?.("tr")?.dataset.order;
      fill(list, table("Orders, newest first", ["Order", "Customer", "Status", "Saga", "#Total", "#Created"], page.data.map(row), page.nextCursor ? "None on this part of the list; go on with Older." : "No order fits."));
      if (focused) list.querySelector(`[data-order="${focused}"] a`)?.focus();
      fill(foot,
        h("button", { type: "button", disabled: cursors.length === 1, onclick: () => { cursors.pop(); load(); } }, "Newer"),
        h("span", { class: "muted" }, `Page ${cursors.length}${cursors.length === 1 ? ", live" : ""}`),
        h("button", { type: "button", disabled: !page.nextCursor, onclick: () => { cursors.push(page.nextCursor); load(); } }, "Older"));
    } catch (error) {
      fill(list, problem(error));
    }
  };
  const refresh = calm(() => cursors.length === 1 && load(), 1_500);
  fill(main, h("h1", {}, "Orders"), form, asked.productId && h("p", {}, "With product ", h("code", {}, asked.productId)), list, foot);
  load();
  const off = listen((kind, data) => {
    if (kind === "resync" || kind === "hello") refresh();
    if (kind !== "orders") return;
    for (const change of data.orders) {
      const line = list.querySelector(`[data-order="${change.orderId}"]`);
      if (!line) continue;
      fill(line.querySelector(".status"), badge(change.status, change.parked));
      line.querySelector(".saga").textContent = words(change.sagaState);
    }
    refresh();
  });
  return () => { off(); refresh.stop(); };
}
