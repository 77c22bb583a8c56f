// What a run adds up to: entries held, and how near each token is to its drop. Knows no page.

import { ALIVE } from "./values.js";

/** Entries held per layer and step, counting only tokens that the filter lets through. */
export function count(run, mask) {
  const { L, T, Q, death } = run,
    held = new Int32Array(L * Q),
    total = new Int32Array(Q),
    read = new Int32Array(Q);
  for (let l = 0; l < L; l++) {
    const diff = new Int32Array(Q + 1);
    for (let j = 0; j < T && j < Q; j++) {
      if (!mask[j]) continue;
      diff[j]++;
      diff[Math.min(Q, death[l * T + j])]--;
    }
    for (let t = 0, n = 0; t < Q; t++) {
      n += diff[t];
      held[l * Q + t] = n;
      total[t] += n;
    }
  }
  for (let t = 0, n = 0; t < Q; t++) {
    n += mask[t];
    read[t] = n;
  }
  return { held, total, read };
}

/** How near each token of one layer is to being dropped: gate logits compare within a layer only.

dropped, kept: the sorted gate logits of both; close[j]: 0 (far) to 255 (what is dropped later). */
export function rank(run, l) {
  const { T, death } = run,
    margin = run.margin.subarray(l * T, (l + 1) * T),
    close = new Uint8Array(T);
  const judged = Int32Array.from({ length: T }, (_, j) => j)
    .filter((j) => !Number.isNaN(margin[j]))
    .sort((a, b) => margin[a] - margin[b]);
  const gone = judged.filter((j) => death[l * T + j] !== ALIVE),
    alive = judged.filter((j) => death[l * T + j] === ALIVE);
  for (const j of gone) close[j] = 255;
  alive.forEach((j, i) => {
    close[j] = Math.round(220 * (1 - i / Math.max(1, alive.length - 1)));
  });
  return {
    dropped: Float32Array.from(gone, (j) => margin[j]),
    kept: Float32Array.from(alive, (j) => margin[j]),
    close,
  };
}
