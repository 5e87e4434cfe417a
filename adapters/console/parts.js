// What several pages show: badges, states, tables.
import { h } from "./dom.js";
import { tone, words } from "./format.js";

export const badge = (name, parked = false) => [
  h("span", { class: `badge ${tone(name)}` }, words(name)),
  parked && h("span", { class: "badge bad" }, "Parked"),
];

export const link = (href, ...text) => h("a", { href }, ...text);

export const field = (label, input, hint) =>
  h("label", { class: "field" }, h("span", {}, label), input, hint && h("small", {}, hint));

export const card = (title, ...content) =>
  h("section", { class: "card", "aria-label": title }, h("h2", {}, title), ...content);

export function table(caption, heads, rows, empty) {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {},
      h("caption", { class: "hidden" }, caption),
      h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col", class: head.startsWith("#") ? "num" : null }, head.replace("#", ""))))),
      h("tbody", {}, rows.length ? rows : h("tr", {}, h("td", { colspan: heads.length, class: "muted empty" }, empty)))));
}

export const facts = (pairs) =>
  h("dl", {}, pairs.filter(([, value]) => value !== undefined && value !== null && value !== "").map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));

// Text and errors are read out; a page that only redraws is not.
export const problem = (error) => h("p", { class: "problem", role: "alert" }, error.message);

// Calls at most once in this time, and once more for what came meanwhile.
export function calm(act, every) {
  let due = 0, timer;
  const call = () => {
    if (timer) return;
    timer = setTimeout(async () => {
      timer = undefined;
      due = Date.now() + every;
      await act();
    }, Math.max(0, due - Date.now()));
  };
  call.stop = () => clearTimeout(timer);
  return call;
}
