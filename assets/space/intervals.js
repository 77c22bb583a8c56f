// How far a drop rate may be trusted within one text: dcp/stats/intervals.py, in the page.
//
// One full stop drops nine tokens, and layers move together, so what is resampled is not words but
// blocks of 64 steps, each with all that happened in it, in every layer. With few blocks percentiles
// are too narrow: they are taken further out, as far as Student's t asks, and below 10 there are none.

import { uniform } from "./sampling.js";

export const BLOCK = 64,
  RESAMPLES = 1000,
  FEWEST_BLOCKS = 10;
const LEAST_EFFECTIVE = 4,
  Z = 1.959963984540054;

/** [low, high] of the drop rate at `horizon` for each group of lives, null where blocks are too few.

`weights`: how often each block counts in each resample, [resamples][blocks]; by default 1000 draws. */
export function intervals(lives, horizon, weights = null) {
  const blocks = blocksOf(lives);
  if (blocks < FEWEST_BLOCKS) return lives.map(() => null);
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
    for (let age = 0; age <= Math.min(duration, horizon); age++) {
      const { drops, risks } = found[Math.floor((born + age) / BLOCK)];
      risks[age]++;
      if (event && age === duration) drops[age]++;
    }
  return found;
}

function between(blocks, horizon, weights) {
  const sizes = blocks.map(({ risks }) => risks.reduce((a, b) => a + b, 0)),
    there = sizes.flatMap((size, c) => (size > 0 ? [c] : [])),
    effective = sum(sizes) ** 2 / sum(sizes.map((n) => n * n));
  if (there.length < FEWEST_BLOCKS || effective < LEAST_EFFECTIVE) return null;
  const ages = Array.from({ length: horizon + 1 }, (_, i) => i).filter((age) =>
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
  const cut = tail(effective),
    [low, high] = [quantile(rates, cut), quantile(rates, 1 - cut)];
  // No difference between blocks says nothing about how far the next one may lie.
  return high - low > 1e-12 * high ? [low, high] : null;
}

const sum = (values) => values.reduce((a, b) => a + b, 0);

/** The share of resamples to be left out at each end, of effectively `n` blocks. */
function tail(n) {
  return below(-student(n - 1) * Math.sqrt(n / (n - 1)));
}

/** The 97.5 % quantile of Student's t (Abramowitz & Stegun 26.7.5). */
function student(freedom) {
  const terms = [
    (Z ** 3 + Z) / 4,
    (5 * Z ** 5 + 16 * Z ** 3 + 3 * Z) / 96,
    (3 * Z ** 7 + 19 * Z ** 5 + 17 * Z ** 3 - 15 * Z) / 384,
    (79 * Z ** 9 + 776 * Z ** 7 + 1482 * Z ** 5 - 1920 * Z ** 3 - 945 * Z) / 92160,
  ];
  return Z + sum(terms.map((term, i) => term / freedom ** (i + 1)));
}

/** The normal distribution's share below `x`, by its series (Marsaglia 2004). */
function below(x) {
  let term = x,
    total = x;
  for (let i = 3; Math.abs(term) > 1e-17; i += 2) total += term *= (x * x) / i;
  return 0.5 + (total * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI);
}

/** Between the two nearest of sorted values, as numpy's percentile. */
function quantile(values, share) {
  const at = share * (values.length - 1),
    low = Math.floor(at),
    high = Math.min(low + 1, values.length - 1);
  return values[low] + (at - low) * (values[high] - values[low]);
}
