// What a run adds up to: entries held, and how near each token is to its drop. Knows no page.

import { ALIVE } from "./values.js";

/** What a run adds up to, counting only tokens that `mask` lets through.

held [L, Q] and total [Q]: entries held at each step; read [Q]: tokens read by then; drops [Q]: entries
dropped at each step by all layers, `most` their maximum, `peaks` the steps that stand out. */
export function count(run, mask) {
  const { L, T, Q, death } = run,
    held = new Int32Array(L * Q),
    total = new Int32Array(Q),
    read = new Int32Array(Q),
    drops = new Int32Array(Q);
  for (let l = 0; l < L; l++) {
    const diff = new Int32Array(Q + 1);
    for (let j = 0; j < T && j < Q; j++) {
      if (!mask[j]) continue;
      diff[j]++;
      const d = death[l * T + j];
      diff[Math.min(Q, d)]--;
      if (d < Q) drops[d]++;
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
  return {
    held,
    total,
    read,
    drops,
    most: drops.reduce((a, b) => Math.max(a, b), 0),
    peaks: peaksOf(drops),
  };
}

/** The steps that drop far more than the mean, most first; at most 60. */
function peaksOf(drops) {
  const sum = drops.reduce((a, b) => a + b, 0),
    mean = sum / Math.max(1, drops.length),
    least = Math.max(2, 2.5 * mean, 0.25 * drops.reduce((a, b) => Math.max(a, b), 0));
  return Array.from(drops, (_, t) => t)
    .filter((t) => drops[t] >= least)
    .sort((a, b) => drops[b] - drops[a] || a - b)
    .slice(0, 60);
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
