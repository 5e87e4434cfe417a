// The API: one call, one answer, and errors in the words of the service.
export class Failure extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

export async function call(method, path, body, headers = {}) {
  const options = { method, headers: { ...headers } };
  if (body !== undefined) {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch("/api/v1" + path, options);
  } catch {
    throw new Failure(0, "unreachable", "The service cannot be reached. Is it running?");
  }
  const text = await answer.text();
  // Amounts stay the digits that they are: 29.90 is not 29.9.
  const json = text && parse(text);
  if (!answer.ok) {
    const fields = (json?.errors ?? []).map((it) => `${it.pointer ?? it.parameter ?? ""} ${it.detail}`.trim());
    const detail = fields.length > 1 ? fields.join("; ") : json?.detail ?? `The service answered ${answer.status}.`;
    throw new Failure(answer.status, json?.code ?? "error", detail);
  }
  return json;
}

const MONEY = /"(totalAmount|price|lineTotal|amount|refundedAmount)":(-?[0-9.]+)/g;

function parse(text) {
  try {
    return JSON.parse(text.replace(MONEY, '"$1":"$2"'));
  } catch {
    return undefined;
  }
}

export const get = (path) => call("GET", path);
export const post = (path, body = {}) => call("POST", path, body, { "idempotency-key": crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` });

export function query(values) {
  const entries = Object.entries(values).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  return entries.length ? "?" + new URLSearchParams(entries) : "";
}
