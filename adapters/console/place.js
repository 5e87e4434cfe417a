// A test order, in sandbox mode: any lines, and every outcome one click away.
import { call, get } from "./api.js";
import { fill, h, toast } from "./dom.js";
import { field, problem } from "./parts.js";
import { go } from "./app.js";

const OUTCOMES = [
  ["success", "Success", "charged, and confirmed", {}],
  ["declined", "Card declined", "the stock is released", { paymentMethodId: "pm_card_declined" }],
  ["timeout", "Time-out, then success", "the outcome is unknown at first", { paymentMethodId: "pm_card_timeout" }],
  ["timeout-fails", "Time-out, then failure", "unknown at first, then undone", { paymentMethodId: "pm_card_timeout_fails" }],
  ["slow", "Slow card", "the charge takes its time", { paymentMethodId: "pm_card_slow" }],
  ["out-of-stock", "Out of stock", "more than there is", { all: true }],
  ["short-hold", "Short hold", "the reservation lasts one minute", { paymentMethodId: "pm_card_slow", metadata: { reservationTtlMinutes: 1 } }],
  ["parked", "Undo that fails", "cancelled at once; parked after half a minute", { paymentMethodId: "pm_card_undo_fails", cancel: true }],
  ["cancel", "Cancel while it runs", "a slow order, cancelled at once", { paymentMethodId: "pm_card_slow", cancel: true }],
];

export async function place(main) {
  fill(main, h("h1", {}, "Place a test order"));
  if (document.querySelector("meta[name=a4co-sandbox]").content !== "true") {
    main.append(h("p", { class: "note" }, "Only the sandbox gateway takes test orders; this process charges for real."));
    return;
  }
  let products;
  try { products = (await get("/inventory/products")).data; } catch (error) { main.append(problem(error)); return; }
  const names = h("datalist", { id: "products" }, products.slice(0, 500).map((it) => h("option", { value: it.productId }, it.name ?? "")));
  const lines = h("div", {}), said = h("div", {});
  const customer = h("input", { type: "text", value: "test-customer", required: true, maxlength: "128" });
  const add = (id = "") => {
    const line = h("div", { class: "filters" },
      field("Product", h("input", { type: "text", name: "product", list: "products", required: true, value: id })),
      field("Quantity", h("input", { type: "number", name: "quantity", min: "1", max: "1000000", value: "1", required: true })),
      h("button", { type: "button", class: "quiet", onclick: () => { if (lines.children.length > 1) line.remove(); } }, "Remove"));
    lines.append(line);
  };
  add((products.find((it) => it.availableQuantity > 0) ?? products[0])?.productId);
  const send = async ({ all, cancel, ...rest }) => {
    if (!form.reportValidity()) return;
    fill(said);
    const items = [...lines.children].map((line) => ({ productId: line.querySelector("[name=product]").value.trim(), quantity: Number(line.querySelector("[name=quantity]").value) }));
    if (all) items[0].quantity = Math.min(1_000_000, (products.find((it) => it.productId === items[0].productId)?.availableQuantity ?? 0) + 1);
    try {
      const order = await call("POST", "/orders", { customerId: customer.value.trim(), items, ...rest });
      if (cancel) await call("POST", `/orders/${order.orderId}/cancel`, { reason: "cancelled while it ran" });
      toast("The order was placed.");
      go(`/orders/${order.orderId}`);
    } catch (error) { fill(said, problem(error)); }
  };
  const form = h("form", { class: "card", onsubmit: (event) => { event.preventDefault(); send({}); } },
    h("h2", {}, "What is ordered"), field("Customer", customer), names, lines,
    h("button", { type: "button", onclick: () => add() }, "Add a line"),
    h("h2", {}, "How it is to end"), said,
    h("div", { class: "outcomes" }, OUTCOMES.map(([key, name, what, body]) => h("button", { type: "button", "data-outcome": key, onclick: () => send(body) }, h("b", {}, name), h("small", {}, what)))));
  if (!products.length) main.append(h("p", { class: "note" }, "There is no product yet: make one with PUT /api/v1/inventory/products/{id}."));
  main.append(form);
}
