// Cluster: which processes there are. In embedded mode, this one.
import { fill, h } from "./dom.js";
import { feed, listen } from "./live.js";
import { badge, card, facts } from "./parts.js";

export async function cluster(main) {
  const body = h("div", {});
  fill(main, h("h1", {}, "Cluster"), body);
  const draw = () => fill(body, card("This process is everything", h("p", {}, "Order, inventory and payment run in this one process, over one write-ahead log on its own disk. There is no leader to elect, and nothing to lag behind."),
    facts([["Mode", feed.hello?.mode], ["Version", feed.hello?.version], ["Gateway", feed.hello?.gateway], ["Health", badge(feed.health?.status ?? (feed.up ? "–" : "unknown"))]])));
  draw();
  return listen((kind) => { if (kind === "hello" || kind === "overview" || kind === "link") draw(); });
}
