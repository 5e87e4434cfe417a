'use strict';
// The page of one run: `D` is what the simulator wrote. Rows have one height, so that only
// those in sight exist.
const D = JSON.parse(document.getElementById('data').textContent);
const $ = id => document.getElementById(id);
// One lane a machine in a cluster, whose store is its own; else engine and store have one each.
const M = D.machines, MACHINES = Array.from({length: M}, (_, n) => 'machine ' + n);
const LANES = ['clients', ...(M ? [...MACHINES, 'journals'] : ['engine', 'journal', 'store']), 'gateway', 'faults'];
const CLIENTS = 0, JOURNAL = M ? M + 1 : 2, GATEWAY = M ? M + 2 : 4, FAULTS = GATEWAY + 1;
const H = 24, GAP = M ? 62 : 46, LEFT = 90, X = lane => 24 + lane * GAP;
/** The lane of the engine that a line is about; none where no machine is named. */
const engine = l => M ? (l.machine === null ? null : 1 + l.machine) : 1;
const store = l => M ? engine(l) : 3;
const home = l => ({client: CLIENTS, operator: CLIENTS, net: engine(l), engine: engine(l), journal: JOURNAL, service: JOURNAL, store: store(l), gateway: GATEWAY, disk: JOURNAL}[l.node] ?? FAULTS);
const short = id => id.slice(0, 8);
const ENDED = /COMPLETED|COMPENSATED|FAILED/;
/** A line's text as a row has room for it: an id by its first digits, and not that of the one order shown. */
const brief = l => {
  let text = l.text.replace(/(?:OrderId\()?\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\)?/g, '$1');
  if (order) text = text.replaceAll(`(${short(order)})`, '').replaceAll(` of order ${short(order)}`, '').replaceAll(`Create(${short(order)})`, 'Create').replaceAll(short(order), 'it');
  return text;
};
/** Where the one order shown stands after this line, of what has changed in it. */
const state = l => order ? l.changes.filter(c => c.order === order && c.isNew).map(c => (c.kind === 'order' ? '' : c.kind + ' ') + c.state) : [];
const el = (tag, cls, text) => {
  const it = document.createElement(tag);
  if (cls) it.className = cls;
  if (text !== undefined) it.textContent = text;
  return it;
};
/** From lane to lane, and whether it is lost on the way. */
function arrow(l) {
  const k = l.node + ' ' + l.what, own = engine(l);
  const lost = l.what === 'loses' || l.what === 'refused';
  const go = (from, to, isLost = false) => {
    // Where one end is not known, it is a dot at the other.
    if (from === null || to === null) return [from ?? to ?? FAULTS, from ?? to ?? FAULTS, isLost];
    return [from, to, isLost];
  };
  if (l.node === 'net') {
    if (/^the gateway's answer/.test(l.text) || l.what === 'answers' || l.what === 'webhook') return go(GATEWAY, own, lost);
    if (/^call/.test(l.text)) return go(own, GATEWAY, lost);
    if (/^the reply/.test(l.text)) return go(own, CLIENTS, lost);
    return go(CLIENTS, own, lost);
  }
  if (k === 'client asks' || k === 'operator asks') return go(CLIENTS, own);
  if (k === 'client told' || k === 'engine replies' || k === 'engine refuses' || k === 'client reads') return go(own, CLIENTS);
  if (k === 'engine calls') return go(own, GATEWAY);
  if (k === 'journal durable' || l.node === 'service') return go(own, JOURNAL);
  if (k === 'store fetches') return go(store(l), own);
  if (l.node === 'store') return go(M ? own : JOURNAL, store(l));
  if (k === 'gateway reports') return go(GATEWAY, own, !/heard: true/.test(l.text));
  if (k === 'fault dies' || k === 'clock timer') return go(FAULTS, own);
  return go(home(l), home(l));
}
// What has changed, and bands, from the first line to the last.
let band = {};
const dead = new Set();
const stands = new Map();
for (const l of D.lines) {
  for (const c of l.changes) { const id = c.kind + c.id; c.isNew = stands.get(id) !== c.state; stands.set(id, c.state); }
  const k = l.node + ' ' + l.what;
  if (k === 'fault dies') dead.add(l.machine ?? 0);
  if (k === 'engine starts') dead.delete(l.machine ?? 0);
  l.dead = [...dead];
  if (/Outage/.test(l.text) && l.node === 'fault') band.outage = l.at_us + outageUs(l.text);
  if (band.outage && l.at_us > band.outage) delete band.outage;
  if (/DiskFull|FullDisk/.test(l.text) && l.node === 'fault') band.full = true;
  if (k === 'disk has room') delete band.full;
  if (k === 'fault end') band = {healed: true};
  l.band = dead.size && dead.size === (M || 1) ? 'down' : band.full ? 'full' : band.outage ? 'outage' : band.healed ? 'healed' : '';
}
function outageUs(text) { const m = /(?:lasts|last|for|ms)[a-z_]*: (\d+)/.exec(text); return m ? m[1] * 1000 : 0; }
const failure = D.failure;
const named = failure ? D.orders.find(o => failure.detail.includes(o.id)) || D.orders.find(o => failure.detail.includes(short(o.id))) : null;
let failRow = -1;
if (failure) {
  failRow = D.lines.length - 1;
  D.lines.forEach((l, n) => { if (l.at_us <= failure.at_us) failRow = n; });
  if (D.lines[failRow]) D.lines[failRow].bad = true;
}
let order = named ? named.id : null, journal = null, shown = [], cursor = -1;
function filter() {
  const words = $('search').value.toLowerCase();
  const keep = cursor >= 0 && shown[cursor];
  shown = D.lines.filter(l => {
    if (journal !== null && !l.events.some(e => e.journal === journal && (!order || !e.order || e.order === order))) return false;
    // What concerns no single order (crashes, faults) concerns all of them.
    if (order && !l.bad && l.about.length ? !l.about.includes(order) : order && !l.bad && !['fault', 'checker', 'disk'].includes(l.node) && !['opens', 'starts'].includes(l.what)) return false;
    return !words || (l.node + ' ' + l.what + ' ' + l.text).toLowerCase().includes(words);
  });
  $('count').textContent = shown.length + ' of ' + D.lines.length + ' lines';
  $('space').style.height = shown.length * H + 'px';
  cursor = keep ? shown.indexOf(keep) : -1;
  document.querySelectorAll('.order').forEach(it => it.classList.toggle('on', (it.dataset.id || null) === order));
  draw();
}
const NS = 'http' + '://www.w3.org/2000/svg';
function picture(l) {
  const svg = document.createElementNS(NS, 'svg');
  svg.setAttribute('width', X(FAULTS) + 28); svg.setAttribute('height', H);
  const add = (tag, of) => { const it = document.createElementNS(NS, tag); for (const k in of) it.setAttribute(k, of[k]); svg.append(it); };
  // A machine without a process has a broken lane.
  LANES.forEach((_, n) => add('line', {x1: X(n), x2: X(n), y1: 0, y2: H, stroke: 'var(--lane)', ...(M && l.dead.includes(n - 1) && {'stroke-dasharray': '2 6', stroke: 'var(--bad)'})}));
  const [from, to, lost] = arrow(l), colour = l.bad || lost ? 'var(--bad)' : 'var(--arrow)';
  if (from === to) { add('circle', {cx: X(from), cy: 12, r: 4, fill: colour}); return svg; }
  const s = Math.sign(to - from), end = lost ? (X(from) + X(to)) / 2 : X(to);
  add('line', {x1: X(from), x2: end, y1: 12, y2: 12, stroke: colour, 'stroke-width': 1.6, ...(lost && {'stroke-dasharray': '4 3'})});
  if (lost) add('path', {d: `M${end - 4} 8l8 8m0-8l-8 8`, stroke: colour, 'stroke-width': 2});
  else add('path', {d: `M${end} 12l${-7 * s} -4v8z`, fill: colour});
  return svg;
}
function draw() {
  const top = $('scroll').scrollTop, first = Math.max(0, Math.floor(top / H) - 5);
  const last = Math.min(shown.length, Math.ceil((top + $('scroll').clientHeight) / H) + 5), rows = [];
  for (let n = first; n < last; n++) {
    const l = shown[n], row = el('div', 'row ' + l.band + (n === cursor ? ' on' : '') + (l.bad ? ' bad' : ''));
    row.style.top = n * H + 'px';
    const events = journal === null ? [] : l.events.filter(e => e.journal === journal);
    const text = journal === null ? (l.what === 'durable' ? '' : `${l.node} ${l.what}  `) + brief(l) : events.map(e => `#${e.sequence} ${e.name}`).join('  ');
    row.append(el('span', 't', (l.at_us / 1e6).toFixed(6)), picture(l), ...state(l).map(it => el('span', 's', it)), el('span', 'x', text));
    row.title = l.text; row.onclick = () => pick(n); rows.push(row);
  }
  $('space').replaceChildren(...rows);
}
function pick(n) {
  if (!shown.length) return;
  cursor = Math.max(0, Math.min(shown.length - 1, n));
  const box = $('scroll'), y = cursor * H;
  if (y < box.scrollTop || y > box.scrollTop + box.clientHeight - H) box.scrollTop = y - box.clientHeight / 2;
  draw();
  const l = shown[cursor], out = [el('h2', '', `${(l.at_us / 1e6).toFixed(6)} s: ${l.node} ${l.what}`), el('pre', '', l.text)];
  if (l.bad) out.push(el('h2', '', 'Here the check failed'), el('pre', '', failure.detail));
  if (l.events.length) out.push(el('h2', '', 'Journal events'));
  for (const e of l.events) out.push(el('div', '', `${D.journals[e.journal]} #${e.sequence} ${e.name}, record time ${new Date(e.at_ms).toISOString()}`), el('pre', '', JSON.stringify(e.full, null, 1)));
  if (l.changes.length) out.push(el('h2', '', 'States after this step'));
  for (const c of l.changes) { const d = el('details'); d.append(el('summary', '', `${c.kind} ${c.id}: ${c.state}`), el('pre', '', JSON.stringify(c.full, null, 1))); out.push(d); }
  $('detail').replaceChildren(...out);
}
const PLAIN = {
  safety: 'Something happened that must never happen. The marked line is where it was noticed; the cause is at or before it.',
  liveness: 'Something that had to happen did not, although all faults had ended. Look for the last line of the order: what was it waiting for, and which message or timer was lost?',
  crash: 'The code under test panicked. The marked line is the last before it.',
};
$('head').className = failure ? 'failed' : 'passed';
$('title').textContent = failure ? `${failure.kind.toUpperCase()}: ${failure.check} at ${(failure.at_us / 1e6).toFixed(6)} s` : 'Passed: no check failed';
$('means').textContent = failure && failure.meaning ? failure.meaning[0].toUpperCase() + failure.meaning.slice(1) + '.' : '';
$('why').textContent = failure ? failure.detail : '';
$('plain').textContent = failure ? PLAIN[failure.kind] : D.summary;
$('how').textContent = `${D.how} · digest ${D.digest} · again: `;
$('command').textContent = D.command;
$('knobs').textContent = D.plan;
LANES.forEach((name, n) => { const it = el('span', '', name); it.style.left = LEFT + X(n) + 'px'; $('lanes').append(it); });
const choose = id => { order = id; filter(); jump(); };
const all = el('div', 'order', 'all orders'); all.onclick = () => choose(null); $('orders').append(all);
for (const o of D.orders) {
  const it = el('div', 'order' + (o === named ? ' named' : '')); it.dataset.id = o.id;
  it.append(el('b', '', short(o.id)), ` ${o.number !== null ? 'order ' + o.number : o.is_last ? 'the last, after all faults' : ''}`, el('div', 'dim', o.saga ? `${o.status}, saga ${o.saga}; payment ${o.payment ?? 'none'}; stock ${o.reservation ?? 'none'}; gateway ${o.gateway}` : `not durable; gateway ${o.gateway}`));
  if (o.saga && !ENDED.test(o.saga)) it.append(el('i', '', 'has not ended'));
  it.onclick = () => choose(o.id); $('orders').append(it);
}
function jump() { const n = shown.findIndex(l => l.bad); if (n >= 0) pick(n); else draw(); }
$('search').oninput = filter;
$('view').onchange = () => { journal = $('view').value === '' ? null : +$('view').value; filter(); };
$('jump').onclick = jump; $('jump').hidden = !failure;
$('scroll').onscroll = draw; onresize = draw;
onkeydown = e => {
  if (e.target === $('search')) { if (e.key === 'Escape' || e.key === 'Enter') $('search').blur(); return; }
  if (e.target.tagName === 'SELECT' || e.ctrlKey || e.metaKey || e.altKey) return;
  const to = {ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: 20, PageUp: -20, Home: -1e9, End: 1e9}[e.key];
  if (to) { pick(cursor + to); e.preventDefault(); }
  if (e.key === '/') { $('search').focus(); e.preventDefault(); }
};
filter(); jump();
