// Stock: the products, and one of them with its adjustments and who holds it.
import { get, post, query } from "./api.js";
import { confirm } from "./dialog.js";
import { fill, h, toast } from "./dom.js";
import { count, money } from "./format.js";
import { listen } from "./live.js";
import { calm, card, field, link, problem, table } from "./parts.js";
import { row } from "./orders.js";

const SHOWN_MAX = 200;

export function stock(main, _, search) {
  let products = [];
  const list = h("div", {});
  const find = h("input", { type: "search", placeholder: "Id or name", value: search.get("q") ?? "", oninput: () => draw() });
  const low = h("input", { type: "number", min: "0", placeholder: "any", oninput: () => draw() });
  const draw = () => {
    const text = find.value.trim().toLowerCase();
    const fits = products.filter((it) => (!text || it.productId.toLowerCase().includes(text) || it.name?.toLowerCase().includes(text)) && (low.value === "" || it.availableQuantity <= Number(low.value)));
    fill(list, table("Products", ["Product", "Name", "#Price", "#On hand", "#Available", "#Reserved", "#Sold"], fits.slice(0, SHOWN_MAX).map((it) => h("tr", {},
      h("td", {}, link(`/stock/${encodeURIComponent(it.productId)}`, it.productId)), h("td", {}, it.name ?? ""), h("td", { class: "num" }, it.price ? money(it.price, it.currency) : "–"),
      h("td", { class: "num" }, count(it.onHandQuantity)), h("td", { class: it.availableQuantity === 0 ? "num alarm" : "num" }, count(it.availableQuantity)), h("td", { class: "num" }, count(it.reservedQuantity)), h("td", { class: "num" }, count(it.soldQuantity)))), "No product fits."),
      fits.length > SHOWN_MAX && h("p", { class: "muted" }, `${count(SHOWN_MAX)} of ${count(fits.length)} are shown; search for the rest.`));
  };
  const load = async () => {
    try { products = (await get("/inventory/products")).data; draw(); } catch (error) { fill(list, problem(error)); }
  };
  const refresh = calm(load, 3_000);
  fill(main, h("h1", {}, "Stock"), h("div", { class: "filters", role: "search" }, field("Search", find), field("Available at most", low)), list);
  load();
  const off = listen((kind) => { if (kind === "orders" || kind === "resync") refresh(); });
  return () => { off(); refresh.stop(); };
}

export function product(main, [id]) {
  const head = h("div", {}), holders = h("div", {});
  const path = `/inventory/products/${encodeURIComponent(id)}`;
  const delta = h("input", { type: "number", step: "1", required: true, name: "delta" });
  const reason = h("input", { type: "text", required: true, maxlength: "500", name: "reason", placeholder: "delivery, breakage, count" });
  const adjust = (event) => {
    event.preventDefault();
    const units = Number(delta.value);
    if (!units) return;
    confirm({ title: units > 0 ? `Receive ${count(units)}?` : `Write off ${count(-units)}?`, text: `Stock of ${id}: ${reason.value}`, label: units > 0 ? "Receive" : "Write off", danger: units < 0,
      act: () => post(`${path}/adjustments`, { delta: units, reason: reason.value }) })
      .then((done) => { if (done) { toast("The stock was adjusted."); event.target.reset(); load(); } });
  };
  const form = h("form", { class: "filters", onsubmit: adjust }, field("Units, below zero to write off", delta), field("Reason", reason), h("button", { type: "submit", class: "primary" }, "Adjust…"));
  const load = async () => {
    try {
      const [it, held] = await Promise.all([get(path), get("/orders" + query({ status: "INVENTORY_RESERVED", productId: id, limit: 50 }))]);
      const tile = (name, value) => h("div", { class: "tile" }, h("span", {}, name), h("strong", {}, count(value)));
      fill(head, h("p", { class: "muted crumbs" }, link("/stock", "Stock"), " / ", h("code", {}, id)), h("h1", {}, it.name ?? id, it.price && h("span", { class: "muted" }, ` ${money(it.price, it.currency)}`)),
        h("div", { class: "tiles" }, tile("On hand", it.onHandQuantity), tile("Available", it.availableQuantity), tile("Reserved", it.reservedQuantity), tile("Sold", it.soldQuantity)));
      fill(holders, table("Orders under way with it", ["Order", "Customer", "Status", "Saga", "#Total", "#Created"], held.data.map(row), held.nextCursor ? "None among the newest orders under way." : "None."));
    } catch (error) { fill(head, problem(error), link("/stock", "All products")); }
  };
  const refresh = calm(load, 2_000);
  fill(main, head, card("Receive or write off", form), card("Orders under way", holders), link(`/orders?productId=${encodeURIComponent(id)}`, "All orders with this product"));
  load();
  const off = listen((kind) => { if (kind === "orders" || kind === "resync") refresh(); });
  return () => { off(); refresh.stop(); };
}
