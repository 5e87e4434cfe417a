// Small plots of the last minutes, drawn as SVG; a table of numbers says the same to a reader.
import { fill, h } from "./dom.js";

const H = 150, LEFT = 54, BOTTOM = 18, TOP = 8;

function nice(max) {
  if (max <= 0) return 1;
  const unit = 10 ** Math.floor(Math.log10(max));
  return [1, 2, 2.5, 5, 10].map((it) => it * unit).find((it) => it >= max);
}

export function plot(title, lines, unit) {
  const svg = h("svg", { role: "img", height: H });
  const keys = lines.map(() => h("b", {}, "–"));
  const figure = h("figure", { class: "card plot" },
    h("figcaption", {}, h("h2", {}, title), h("span", { class: "keys" }, lines.map((line, at) => h("span", {}, h("i", { class: `key k${line.colour}` }), line.name + " ", keys[at])))), svg);
  figure.update = (samples) => {
    // As wide as it is shown, so that text is not squeezed.
    const W = svg.clientWidth || 600;
    svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
    const all = samples.flatMap((sample) => lines.map((line) => line.of(sample) ?? 0));
    const top = nice(Math.max(0, ...all));
    const end = samples.at(-1)?.uptimeMs ?? 0;
    const x = (sample) => W - ((end - sample.uptimeMs) / 300_000) * (W - LEFT);
    const y = (value) => TOP + (1 - value / top) * (H - TOP - BOTTOM);
    const grid = [0, 0.5, 1].map((part) => [
      h("line", { x1: LEFT, x2: W, y1: y(part * top), y2: y(part * top), class: "grid" }),
      h("text", { x: LEFT - 6, y: y(part * top) + 4, "text-anchor": "end" }, unit(part * top)),
    ]);
    const paths = lines.map((line) => {
      let path = "", pen = false;
      for (const sample of samples) {
        const value = line.of(sample);
        if (value === null || value === undefined) { pen = false; continue; }
        path += `${pen ? "L" : "M"}${x(sample).toFixed(1)} ${y(value).toFixed(1)}`;
        if (!pen) path += "h0.01";
        pen = true;
      }
      return h("path", { d: path, class: `line k${line.colour}` });
    });
    const ticks = [[300, "5 min ago"], [150, "2.5 min"], [0, "now"]].map(([ago, text]) =>
      h("text", { x: W - (ago / 300) * (W - LEFT), y: H - 3, "text-anchor": ago === 300 ? "start" : ago ? "middle" : "end" }, text));
    const last = samples.at(-1);
    lines.forEach((line, at) => {
      const value = last && line.of(last);
      keys[at].textContent = value === null || value === undefined ? "–" : unit(value);
    });
    const text = lines.map((line, at) => `${line.name} ${keys[at].textContent}`).join(", ");
    fill(svg, h("title", {}, `${title}: ${text}`), grid, ticks, paths);
  };
  return figure;
}
