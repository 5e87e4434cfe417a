# Places an order and waits for its end; sends again where an answer was lost. Python 3, nothing else.
import json, os, time, urllib.error, urllib.request, uuid

BASE = os.environ.get("A4CO_URL", "http://127.0.0.1:3004") + "/api/v1"

def send(method, path, body, key, attempts=5):
    """Sends until there is an answer. The key makes every attempt the same request."""
    for attempt in range(attempts):
        request = urllib.request.Request(BASE + path, json.dumps(body).encode(), method=method, headers={
            "Content-Type": "application/json", "Idempotency-Key": key, "Prefer": "wait=10"})
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            problem = json.load(refused)
            if refused.code != 503:
                raise SystemExit(f"{problem['code']}: {problem['detail']}")
            time.sleep(float(refused.headers["Retry-After"]))
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.2 * 2 ** attempt)
    raise SystemExit("no answer; the order may exist, so send it again under the same key")

order = send("POST", "/orders", {
    "customerId": "ada",
    "items": [{"productId": "espresso-cup", "quantity": 2}],
}, key=str(uuid.uuid4()))
print(order["orderId"], order["status"], order["sagaState"])
