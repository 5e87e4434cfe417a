// Overview: what the engine does, second by second.
import { fill, h } from "./dom.js";
import { count, ms, percent, words } from "./format.js";
import { feed, listen } from "./live.js";
import { badge, card, link } from "./parts.js";
import { plot } from "./plot.js";

const SAGAS = ["STARTED", "INVENTORY_RESERVED", "PAYMENT_PROCESSING", "PAYMENT_SUCCEEDED", "COMPENSATING"];
const STATUSES = ["PENDING", "INVENTORY_RESERVED", "CONFIRMED", "FAILED", "CANCELLED"];

function bars(names, counts, href) {
  const most = Math.max(1, ...names.map((name) => counts[name] ?? 0));
  return h("ul", { class: "bars" }, names.map((name) => {
    const value = counts[name] ?? 0;
    const bar = h("i", {});
    bar.style.width = `${(value / most) * 100}%`;
    return h("li", {}, link(href(name), words(name)), h("span", { class: "bar" }, bar), h("b", {}, count(value)));
  }));
}

export function overview(main) {
  const tiles = h("div", { class: "tiles" });
  const rates = plot("Orders a second", [
    { name: "accepted", colour: 1, of: (it) => Math.round(it.started * 1000 / Math.max(1, it.tookMs)) },
    { name: "ended", colour: 2, of: (it) => Math.round(it.ended * 1000 / Math.max(1, it.tookMs)) },
  ], (value) => count(Math.round(value * 10) / 10));
  const latency = plot("Time to a saga's end", ["p50", "p95", "p99"].map((name, at) => ({ name, colour: at + 1, of: (it) => it.latencyMs?.[name] })), (value) => ms(Math.round(value * 10) / 10));
  const lists = h("div", { class: "two" });
  const draw = () => {
    const now = feed.samples.at(-1);
    if (!now) return;
    const rate = Math.round(now.started * 1000 / Math.max(1, now.tookMs));
    const health = feed.health?.status ?? (feed.up ? "–" : "unknown");
    const tile = (name, value, note, bad) => h("div", { class: bad ? "tile bad" : "tile" }, h("span", {}, name), h("strong", {}, value), h("small", {}, note));
    fill(tiles,
      tile("Orders a second", count(rate), "accepted in the last second"),
      tile("Success rate", percent(now.successPermille), "of sagas ended in the last minute"),
      tile("Compensation rate", percent(now.compensationPermille), "of orders of the last minute"),
      tile("Active sagas", count(now.active), "under way now"),
      tile("Parked sagas", link("/parked", count(now.parked)), now.parkedPayments ? `and ${count(now.parkedPayments)} ${now.parkedPayments === 1 ? "payment" : "payments"} of ended orders` : now.parked ? "wait for an operator" : "nobody has to act", now.parked + now.parkedPayments > 0),
      tile("Health", badge(health), !feed.health ? (feed.up ? "not known yet" : "no connection; the rest is from before") : Object.entries(feed.health?.checks ?? {}).filter(([, it]) => it !== "ok").map(([name, it]) => `${name}: ${it}`).join(", ") || "recovery, journal and store are well"));
    rates.update(feed.samples);
    latency.update(feed.samples);
    fill(lists,
      card("Orders by status", bars(STATUSES, now.orders, (name) => `/orders?status=${name}`), h("p", { class: "muted" }, "Under way, and ended since this process started.")),
      card("Sagas under way", bars(SAGAS, now.sagas, (name) => `/orders?sagaState=${name}`), h("p", { class: "muted" }, "Those that have ended are not counted here.")));
  };
  fill(main, h("h1", {}, "Overview"), tiles, h("div", { class: "two" }, rates, latency), lists);
  draw();
  return listen((kind) => { if (kind === "overview" || kind === "hello" || kind === "link") draw(); });
}
