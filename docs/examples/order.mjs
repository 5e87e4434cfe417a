// Places an order and waits for its end; sends again where an answer was lost. Node 20, nothing else.
import { randomUUID } from "node:crypto";

const BASE = (process.env.A4CO_URL ?? "http://127.0.0.1:3004") + "/api/v1";
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// Sends until there is an answer. The key makes every attempt the same request.
async function send(method, path, body, key, attempts = 5) {
  for (let attempt = 0; attempt < attempts; attempt++) {
    let answer;
    try {
      answer = await fetch(BASE + path, {
        method,
        headers: { "Content-Type": "application/json", "Idempotency-Key": key, Prefer: "wait=10" },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(15_000),
      });
    } catch {
      await sleep(200 * 2 ** attempt);
      continue;
    }
    const said = await answer.json();
    if (answer.ok) return said;
    if (answer.status !== 503) throw new Error(`${said.code}: ${said.detail}`);
    await sleep(1000 * Number(answer.headers.get("Retry-After")));
  }
  throw new Error("no answer; the order may exist, so send it again under the same key");
}

const order = await send("POST", "/orders", {
  customerId: "ada",
  items: [{ productId: "espresso-cup", quantity: 2 }],
}, randomUUID());
console.log(order.orderId, order.status, order.sagaState);
