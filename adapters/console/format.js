// Numbers, times and states as people read them.
const whole = new Intl.NumberFormat("en");
export const count = (value) => whole.format(value ?? 0);
export const percent = (permille) => (permille === null || permille === undefined ? "–" : `${(permille / 10).toFixed(permille === 1000 ? 0 : 1)} %`);
export const money = (amount, currency) => (amount === undefined ? "–" : `${amount.replace(/\B(?=(\d{3})+(?!\d))(?<!\.\d*)/g, ",")} ${currency}`);
export const ms = (value) => (value === null || value === undefined ? "–" : value < 1000 ? `${value} ms` : `${(value / 1000).toFixed(value < 10_000 ? 2 : 1)} s`);
export const words = (name) => {
  const text = name.toLowerCase().replaceAll("_", " ");
  return text[0].toUpperCase() + text.slice(1);
};

const pad = (value, digits = 2) => String(value).padStart(digits, "0");
export function time(iso, precise = false) {
  if (!iso) return "–";
  const at = new Date(iso);
  const clock = `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
  if (precise) return `${clock}.${pad(at.getMilliseconds(), 3)}`;
  const day = `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
  return at.toDateString() === new Date().toDateString() ? clock : `${day} ${clock}`;
}
export const short = (id) => id.slice(0, 8) + "…" + id.slice(-6);

const TONES = {
  CONFIRMED: "good", COMPLETED: "good", SUCCEEDED: "good", ok: "good",
  FAILED: "bad", EXPIRED: "bad", PARKED: "bad",
  "–": "grey", CANCELLED: "grey", COMPENSATED: "grey", RELEASED: "grey", REFUNDED: "grey",
  COMPENSATING: "warn", unknown: "warn", PENDING: "info",
};
export const tone = (name) => TONES[name] ?? "info";
