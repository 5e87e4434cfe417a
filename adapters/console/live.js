// The live feed: one connection for all pages, opened again whenever it breaks.
const listeners = new Set();
export const feed = { samples: [], health: undefined, hello: undefined, up: false };

export function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

const tell = (kind, data) => { for (const listener of [...listeners]) listener(kind, data); };

let source, lastId, wait = 500;

function take(kind, act) {
  source.addEventListener(kind, (event) => {
    if (event.lastEventId) lastId = event.lastEventId;
    const data = JSON.parse(event.data);
    act(data);
    tell(kind, data);
  });
}

export function connect() {
  source = new EventSource("/api/v1/events" + (lastId ? "?lastEventId=" + encodeURIComponent(lastId) : ""));
  source.addEventListener("open", () => { wait = 500; feed.up = true; tell("link", true); });
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
  source.addEventListener("error", () => {
    // The browser gives up when the service refuses, as it does while it starts.
    source.close();
    if (feed.up) { feed.up = false; tell("link", false); }
    setTimeout(connect, wait);
    wait = Math.min(wait * 2, 5_000);
  });
}
