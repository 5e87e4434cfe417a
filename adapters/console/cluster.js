// Cluster: who leads what. Only what the service says is shown.
import { get } from "./api.js";
import { fill, h } from "./dom.js";
import { count } from "./format.js";
import { feed, listen } from "./live.js";
import { badge, card, facts, problem, table } from "./parts.js";

export async function cluster(main) {
  const body = h("div", {});
  fill(main, h("h1", {}, "Cluster"), body);
  const draw = async () => {
    try {
      const state = await get("/cluster");
      fill(body, table("Participants", ["Participant", "Leader", "#Epoch", "#Last", "#Lag"], (state.participants ?? []).map((it) => h("tr", {}, h("td", {}, it.participant), h("td", {}, it.leader ?? "none"), h("td", { class: "num" }, count(it.epoch)), h("td", { class: "num" }, count(it.last)), h("td", { class: "num" }, count(it.lag)))), "The service names no participant."));
    } catch (error) {
      if (error.status !== 404) return fill(body, problem(error));
      fill(body, card("This process is everything", h("p", {}, "Order, inventory and payment run in this one process, over one write-ahead log on its own disk. There is no leader to elect, and nothing to lag behind."),
        facts([["Mode", feed.hello?.mode ?? "embedded"], ["Version", feed.hello?.version], ["Gateway", feed.hello?.gateway], ["Health", feed.health && badge(feed.health.status)]])));
    }
  };
  await draw();
  return listen((kind) => { if (kind === "hello") draw(); });
}
