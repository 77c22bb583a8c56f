// How far a drop rate may be trusted within one text: dcp/stats/estimate.py, in the page.
//
// One full stop drops nine tokens, and layers move together, so what is resampled is not words but
// blocks of 64 steps, each with all that happened in it, in every layer.

import { uniform } from "./sampling.js";

export const BLOCK = 64,
  RESAMPLES = 1000;

/** [low, high] of the drop rate at `horizon` for each group of lives, null where blocks are too few.

`weights`: how often each block counts in each resample, [resamples][blocks]; by default 1000 draws. */
export function intervals(lives, horizon, weights = null) {
  const blocks = blocksOf(lives);
  if (blocks < 2) return lives.map(() => null);
  const drawn = weights ?? draws(blocks);
  return lives.map(({ all }) => between(byBlock(all, blocks, horizon), horizon, drawn));
}

/** How many blocks the lives reach into. */
function blocksOf(lives) {
  let last = 0;
  for (const { all } of lives)
    for (const { born, duration } of all) last = Math.max(last, born + duration);
  return Math.floor(last / BLOCK) + 1;
}

/** 1000 resamples of `blocks` blocks with replacement, the same each time. */
function draws(blocks) {
  return Array.from({ length: RESAMPLES }, (_, sample) => {
    const weights = new Float64Array(blocks);
    for (let i = 0; i < blocks; i++) weights[Math.floor(uniform(0n, i, sample) * blocks)]++;
    return weights;
  });
}

/** For each block { drops, risks } by age, 0 to `horizon`. */
function byBlock(all, blocks, horizon) {
  const found = Array.from({ length: blocks }, () => ({
    drops: new Float64Array(horizon + 1),
    risks: new Float64Array(horizon + 1),
  }));
  for (const { born, duration, event } of all)
    for (let age = 1; age <= Math.min(duration, horizon); age++) {
      const { drops, risks } = found[Math.floor((born + age) / BLOCK)];
      risks[age]++;
      if (event && age === duration) drops[age]++;
    }
  return found;
}

function between(blocks, horizon, weights) {
  const there = blocks.flatMap(({ risks }, c) => (risks.some((n) => n > 0) ? [c] : []));
  if (there.length < 2) return null;
  const ages = Array.from({ length: horizon }, (_, i) => i + 1).filter((age) =>
    there.some((c) => blocks[c].risks[age] > 0),
  );
  const rates = [];
  for (const weight of weights) {
    let kept = 1,
      gap = false;
    for (const age of ages) {
      let drops = 0,
        risks = 0;
      for (const c of there) {
        drops += weight[c] * blocks[c].drops[age];
        risks += weight[c] * blocks[c].risks[age];
      }
      if (risks > 0) kept *= 1 - drops / risks;
      else gap = true;
    }
    // Nothing was watched so long in this resample.
    if (!(gap && kept > 0)) rates.push(1 - kept);
  }
  if (rates.length <= weights.length / 2) return null;
  rates.sort((a, b) => a - b);
  return [quantile(rates, 0.025), quantile(rates, 0.975)];
}

/** Between the two nearest of sorted values, as numpy's percentile. */
function quantile(values, share) {
  const at = share * (values.length - 1),
    low = Math.floor(at),
    high = Math.min(low + 1, values.length - 1);
  return values[low] + (at - low) * (values[high] - values[low]);
}
