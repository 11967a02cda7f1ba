// How values are written. Pure functions without the document, so that they can be tested by calling them.

/** A metric's value from JSON, where NaN and the infinities travel as strings. */
export function number(value) {
  return typeof value === "number" ? value : value === null || value === undefined ? Number.NaN : Number(value);
}

/** A number in at most `digits` significant digits: 0.0123, 1.5e-9, 12 300, NaN, ∞. */
export function formatNumber(value, digits = 4) {
  const x = number(value);
  if (Number.isNaN(x)) return "NaN";
  if (x === Infinity) return "∞";
  if (x === -Infinity) return "−∞";
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (Number.isInteger(x) && size < 1e9) return formatCount(x);
  if (size < 1e-3 || size >= 1e6) return minus(x.toExponential(digits - 1).replace(/\.?0+e/, "e").replace("e+", "e"));
  const rounded = Number(x.toPrecision(digits));
  return Number.isInteger(rounded) ? formatCount(rounded) : minus(String(rounded));
}

/** A whole number with thin spaces between thousands. */
export function formatCount(value) {
  return minus(String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f"));
}

/** A share of 1 as a percentage with one decimal; not-finite values as they are. */
export function formatPercent(value) {
  const x = number(value);
  return Number.isFinite(x) ? `${minus((100 * x).toFixed(1))} %` : formatNumber(x);
}

function minus(text) {
  return text.replace("-", "−").replace("e−", "e-");
}

/** Seconds as people say them: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min, 3 d 4 h. */
export function formatDuration(seconds) {
  if (!Number.isFinite(seconds) || seconds < 0) return "–";
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3_600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 1_440) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
  return `${Math.floor(minutes / 1_440)} d ${Math.floor((minutes % 1_440) / 60)} h`;
}

/** How long ago: just now, 12 s ago, 3 min ago, 2 h ago, 5 d ago. */
export function formatAge(seconds) {
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

/** An RFC 3339 time in the reader's zone: 2026-03-01 14:05:09. */
export function formatTime(text) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return "–";
  const two = (n) => String(n).padStart(2, "0");
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

export function formatBytes(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = bytes;
  let unit = 0;
  while (size >= 1_024 && unit < units.length - 1) {
    size /= 1_024;
    unit += 1;
  }
  return `${unit === 0 ? size : size.toFixed(size < 10 ? 1 : 0)} ${units[unit]}`;
}

/** A spec value in a few characters: strings bare, lists by their length. */
export function formatSetting(value) {
  if (typeof value === "number") return formatNumber(value);
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return value.length <= 4 ? `[${value.map(formatSetting).join(", ")}]` : `[${value.length} values]`;
  return JSON.stringify(value);
}

/** Metrics that count epochs, not optimizer steps. */
const PER_EPOCH = new Set(["train_loss", "val_loss", "val_accuracy", "colour_error", "checkerboard", "epoch_seconds"]);

/** What the x axis of a metric counts. */
export function stepUnit(metric) {
  if (metric.startsWith("held_bytes_")) return "k";
  return PER_EPOCH.has(metric) ? "epoch" : "step";
}

/** Whether a metric is a share of 1. */
export function isShare(metric) {
  return metric.endsWith("accuracy");
}
