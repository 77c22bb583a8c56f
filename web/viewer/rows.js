// Where the rows of the heatmap lie. Up to sixteen layers have rows of one height; more have thin
// rows in groups, and the chosen layer's row stands open. The whole is as high whichever is chosen.

const OPEN = 22;
const ALIKE = 16;
const GAP = 5;

/** { top, height } of each layer's row, `groups` [first, last] of them, `total` height, in pixels. */
export function rowsOf(L, chosen, narrow) {
  const alike = L <= ALIKE,
    high = L <= 12 ? OPEN : 18,
    thin = L <= 32 ? (narrow ? 6 : 8) : 5,
    size = groupSize(L),
    rows = { top: [], height: [], groups: [], total: 0, alike };
  for (let l = 0; l < L; l++) {
    if (!alike && l % size === 0) {
      rows.groups.push([l, Math.min(L, l + size) - 1]);
      if (l) rows.total += GAP;
    }
    const height = alike ? high : l === chosen ? OPEN : thin;
    rows.top.push(rows.total);
    rows.height.push(height);
    rows.total += height;
  }
  return rows;
}

/** Groups of 5 to 8 layers, the last as full as can be. */
function groupSize(L) {
  const left = (size) => (size - (L % size)) % size;
  return [6, 5, 8, 7].reduce((best, size) => (left(size) < left(best) ? size : best));
}

/** The layer whose row is at `y` from the top of the first; in a gap the nearest; -1 outside. */
export function rowAt({ top, height, total }, y) {
  if (y < 0 || y >= total) return -1;
  let l = top.length - 1;
  while (l > 0 && y < top[l] - GAP / 2) l--;
  return y < top[l] + height[l] + GAP / 2 ? l : -1;
}
