// The live feed: one connection for all pages, opened again whenever it breaks.
const listeners = new Set();
export const feed = { samples: [], health: undefined, hello: undefined, up: false };

export function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

const tell = (kind, data) => { for (const listener of [...listeners]) listener(kind, data); };

// The feed says something each second; silence for this long is a broken connection that nobody closed.
const SILENCE_MS = 5_000;

let source, lastId, wait = 500, watch, retry;

function heard() {
  clearTimeout(watch);
  watch = setTimeout(again, SILENCE_MS);
}

// What was known is not known any more: nothing old is shown as if it were now.
function end() {
  clearTimeout(watch);
  clearTimeout(retry);
  source?.close();
  source = undefined;
  feed.health = undefined;
  if (feed.up) { feed.up = false; tell("link", false); }
}

function again() {
  end();
  retry = setTimeout(connect, wait);
  wait = Math.min(wait * 2, 5_000);
}

// A browser opens six connections to one server, for all its pages together. Those that
// nobody looks at, and those kept for the way back, leave them to the others.
const look = (seen) => { if (!seen) end(); else if (!source) { end(); connect(); } };
document.addEventListener("visibilitychange", () => look(!document.hidden));
addEventListener("pagehide", () => look(false));
addEventListener("pageshow", (event) => { if (event.persisted) look(true); });

function take(kind, act) {
  source.addEventListener(kind, (event) => {
    heard();
    if (event.lastEventId) lastId = event.lastEventId;
    const data = JSON.parse(event.data);
    act(data);
    tell(kind, data);
  });
}

export function connect() {
  source = new EventSource("/api/v1/events" + (lastId ? "?lastEventId=" + encodeURIComponent(lastId) : ""));
  source.addEventListener("open", () => { wait = 500; feed.up = true; heard(); tell("link", true); });
  take("hello", (hello) => { feed.hello = hello; feed.samples = hello.samples; });
  take("overview", (second) => {
    const last = feed.samples.at(-1);
    if (last && second.uptimeMs <= last.uptimeMs) return;
    feed.samples.push(second);
    if (feed.samples.length > 300) feed.samples.shift();
    feed.health = second.health;
  });
  take("orders", () => {});
  take("resync", () => {});
  // The browser gives up when the service refuses, as it does while it starts.
  source.addEventListener("error", again);
}
