// The lanes of parts of speech under the heatmap.

import { tint } from "./pixels.js";

/** Five lanes, one per group: position says what colour says. */
export function paintPos(view) {
  const { run, px, colour, shown, geo } = view,
    { Wd, from, to, starts, gap } = px,
    lane = Math.round((geo.posH / 5) * geo.ratio),
    out = view.buffers.pos.size(Wd, 5 * lane);
  for (let j = from; j < to; j++) {
    const g = run.group[j],
      a = starts[j - from],
      b = Math.max(a + 1, starts[j - from + 1] - gap);
    if (g > 4) continue;
    const c = shown[j] ? colour.groups[g] : tint(colour.groups[g], 0.15);
    for (let y = g * lane; y < (g + 1) * lane - 1; y++)
      for (let x = a; x < b; x++) out[y * Wd + x] = c;
  }
  view.buffers.pos.show();
}
