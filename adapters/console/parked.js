// Sagas that wait for an operator.
import { get } from "./api.js";
import { fill, h } from "./dom.js";
import { listen } from "./live.js";
import { calm, card, problem, table } from "./parts.js";
import { row } from "./orders.js";

export function parked(main) {
  const list = h("div", {});
  const load = async () => {
    try {
      const page = await get("/orders?parked=true&limit=100");
      fill(list, table("Parked sagas", ["Order", "Customer", "Status", "Saga", "#Total", "#Created"], page.data.map(row), page.nextCursor ? "None among the newest orders under way." : "No saga needs an operator."));
    } catch (error) { fill(list, problem(error)); }
  };
  const refresh = calm(load, 2_000);
  fill(main, h("h1", {}, "Parked sagas"),
    h("p", { class: "muted" }, "An undo that keeps failing at the gateway is parked: it is still tried, slowly. Open an order to see the last error, and to try again now."), list,
    card("Dead letters", h("p", { class: "muted" }, "Messages that outside consumers gave up on exist only with NATS. This process runs without it: there are none.")));
  load();
  const off = listen((kind) => { if (kind === "orders" || kind === "resync" || kind === "hello") refresh(); });
  return () => { off(); refresh.stop(); };
}
