// The console: its pages, and how one gets from one to the other.
import { fill, h } from "./dom.js";
import { connect, feed, listen } from "./live.js";
import { cluster } from "./cluster.js";
import { order } from "./order.js";
import { orders } from "./orders.js";
import { overview } from "./overview.js";
import { parked } from "./parked.js";
import { place } from "./place.js";
import { product, stock } from "./stock.js";

const PAGES = [
  [/^\/$/, "Overview", overview, "/"],
  [/^\/orders$/, "Orders", orders, "/orders"],
  [/^\/orders\/([^/]+)$/, "Order", order],
  [/^\/stock$/, "Stock", stock, "/stock"],
  [/^\/stock\/([^/]+)$/, "Product", product],
  [/^\/parked$/, "Parked", parked, "/parked"],
  [/^\/test-order$/, "Test order", place, "/test-order"],
  [/^\/cluster$/, "Cluster", cluster, "/cluster"],
];

let leave, shown = 0;

async function show(first = false) {
  const main = document.getElementById("main");
  const page = PAGES.find(([path]) => path.test(location.pathname)) ?? PAGES[0];
  const parts = location.pathname.match(page[0])?.slice(1).map(decodeURIComponent) ?? [];
  leave?.();
  leave = undefined;
  document.title = `${page[1]} · A4CO`;
  for (const it of document.querySelectorAll("#pages a")) {
    const path = it.getAttribute("href");
    const here = path === "/" ? location.pathname === "/" : location.pathname.startsWith(path);
    if (here) it.setAttribute("aria-current", "page"); else it.removeAttribute("aria-current");
  }
  const turn = ++shown;
  const off = await page[2](main, parts, new URLSearchParams(location.search));
  if (turn === shown) leave = off; else off?.();
  if (!first) { main.focus({ preventScroll: true }); scrollTo(0, 0); }
}

export function go(path) {
  history.pushState(null, "", path);
  show();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='/']");
  if (!link || event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(link.getAttribute("href"));
});
addEventListener("popstate", () => show());

const theme = document.getElementById("theme");
const isDark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const name = () => { theme.textContent = isDark() ? "Light" : "Dark"; theme.setAttribute("aria-label", `Switch to the ${isDark() ? "light" : "dark"} theme`); };
theme.addEventListener("click", () => {
  const next = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("a4co-theme", next);
  name();
});
name();

fill(document.getElementById("pages"), PAGES.filter(([, , , path]) => path).map(([, title, , path]) => h("a", { href: path }, title)));
const state = document.getElementById("link");
listen((kind) => {
  if (kind !== "link") return;
  state.textContent = feed.up ? "live" : "reconnecting";
  state.className = feed.up ? "up" : "down";
});
connect();
show(true);
