// Cluster: which processes there are, and who leads what. In embedded mode, this one.
import { get } from "./api.js";
import { fill, h } from "./dom.js";
import { feed, listen } from "./live.js";
import { badge, calm, card, facts, problem, table } from "./parts.js";

export async function cluster(main) {
  const body = h("div", {});
  fill(main, h("h1", {}, "Cluster"), body);
  let state;
  const draw = () => {
    if (!state) return;
    const self = facts([["Mode", state.mode === "nats" ? "Journals on NATS" : "Embedded"], ["Version", feed.hello?.version], ["Gateway", feed.hello?.gateway], ["Health", badge(feed.health?.status ?? (feed.up ? "–" : "unknown"))]]);
    if (state.mode !== "nats") {
      fill(body, card("This process is everything", h("p", {}, "Order, inventory and payment run in this one process, over one write-ahead log on its own disk. There is no leader to elect, and nothing to lag behind."), self));
      return;
    }
    const halted = state.members.flatMap((it) => it.journals.filter((journal) => journal.halted).map((journal) => problem(new Error(`${it.listen}, ${journal.participant}: ${journal.halted}`))));
    fill(body, card("This process", self), halted, ["order", "inventory", "payment"].map((name) => journal(name, state)));
  };
  const load = async () => {
    try { state = await get("/cluster"); draw(); } catch (error) { fill(body, problem(error)); }
  };
  const refresh = calm(load, 2_000);
  await load();
  const off = listen((kind) => { if (kind === "hello" || kind === "overview" || kind === "link") { draw(); if (state?.mode === "nats") refresh(); } });
  return () => { off(); refresh.stop(); };
}

function journal(name, state) {
  const rows = state.members.map((it) => ({ it, journal: it.journals.find((one) => one.participant === name) })).filter((row) => row.journal);
  const end = Math.max(0, ...rows.map((row) => row.journal.shown));
  const leaders = rows.filter((row) => row.journal.leads).length;
  const title = `${name[0].toUpperCase()}${name.slice(1)} journal`;
  return card(title, leaders === 0 && h("p", { class: "problem" }, "Nobody leads: commands to it are refused until somebody does."),
    table(title, ["Process", "Role", "#Epoch", "#Shown", "#Behind"], rows.map(({ it, journal }) => h("tr", {},
      h("td", {}, it.listen, it.host === state.host && h("span", { class: "muted" }, " (this one)")),
      h("td", {}, journal.halted ? h("span", { class: "badge bad" }, "Stopped") : journal.leads ? h("span", { class: "badge good" }, "Leads") : journal.mayLead ? "Standby" : "Reads"),
      h("td", { class: "num" }, journal.epoch), h("td", { class: "num" }, journal.shown), h("td", { class: "num" }, end - journal.shown))), "No process answers."));
}
