// Numbers and names as text, and looking things up. Knows no page.

export const ALIVE = 2147483647;

export const clamp = (v, lo, hi) => Math.max(lo, Math.min(hi, v));

export const percent = (v, digits = 0) => `${(100 * v).toFixed(digits)}\u00a0%`;

export const plural = (n, one, many) => `${n} ${n === 1 ? one : many}`;

/** A count on an axis: 940, 1.2k, 245k. */
export const brief = (n) => (n < 1000 ? String(n) : `${(n / 1000).toFixed(n < 10000 ? 1 : 0)}k`);

export function bytes(n) {
  if (!(n >= 0)) return "–";
  const units = ["B", "KiB", "MiB", "GiB"];
  let i = 0;
  while (n >= 1024 && i < 3) {
    n /= 1024;
    i++;
  }
  return `${n >= 100 || i === 0 ? n.toFixed(0) : n.toFixed(1)} ${units[i]}`;
}

/** First index of an ascending `key(0..n-1)` that is not below `value`. */
export function search(n, key, value) {
  let lo = 0,
    hi = n;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if (key(mid) < value) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}
