// One dropped token kept alive, and random drops like it beside it: dcp/runs/plans.py, in the page.
//
// A plan changes one token alone: every other death stays as the trace recorded it.

import { ALIVE } from "./cache.js";
import { uniform } from "./sampling.js";

export const CONTROLS = 20,
  HORIZON = 32;
const SHARED = [1, 0.75, 0.5],
  RATIOS = [1.1, 1.25, 1.5, 2, 3, 4];

/** { token, layers, steps }: alive to the end in `layer`, or (null) in all layers that dropped it. */
export function putBack(trace, token, layer = null) {
  const T = trace.token_ids.length,
    layers = [],
    steps = [];
  for (let l = 0; l < trace.layers; l++) {
    const step = trace.death[l * T + token];
    if (step === ALIVE || (layer !== null && l !== layer)) continue;
    layers.push(l);
    steps.push(step);
  }
  return { token, layers, steps };
}

/** The first query that sees something else; its answer is the next token. */
export const firstOf = (plan) => Math.min(...plan.steps);

/** How many tokens come after the first changed query. */
const later = (trace, plan) => trace.token_ids.length - 1 - firstOf(plan);

/** Deaths [L, T] as recorded, but for the plan's token. */
export function orders(trace, plan) {
  const T = trace.token_ids.length,
    death = trace.death.slice();
  for (const l of plan.layers) death[l * T + plan.token] = ALIVE;
  return death;
}

/** Seeded random drops matched to `plan` on layers and age: { plans, horizon }, each of `horizon` later tokens.

Where there are too few, the ages may differ by more, up to a factor of 4; then fewer layers need be
shared, down to half. Token 0, which soaks up attention, is never among them. */
export function matched(trace, plan, seed = 0n) {
  const horizon = Math.min(HORIZON, later(trace, plan));
  if (horizon < 1) return { plans: [], horizon: 0 };
  const every = candidates(trace, plan, horizon);
  let near = every;
  search: for (const shared of SHARED) {
    for (const ratio of RATIOS) {
      near = every.filter(
        (p) => p.layers.length >= shared * plan.layers.length && apart(plan, p) <= Math.log(ratio),
      );
      if (near.length >= CONTROLS) break search;
    }
  }
  const order = near.map((p, i) => ({ p, key: uniform(seed, i, 1) })).sort((a, b) => a.key - b.key);
  return { plans: order.slice(0, CONTROLS).map(({ p }) => p), horizon };
}

function candidates(trace, plan, span) {
  const T = trace.token_ids.length,
    found = [];
  for (let j = 1; j < T; j++) {
    if (j === plan.token) continue;
    const layers = plan.layers.filter((l) => trace.death[l * T + j] !== ALIVE);
    const other = { token: j, layers, steps: layers.map((l) => trace.death[l * T + j]) };
    if (layers.length && later(trace, other) >= span) found.push(other);
  }
  return found;
}

/** Mean |log ratio| of the ages over the layers that both change. */
function apart(plan, other) {
  const far = other.layers.map((l, i) =>
    Math.abs(
      Math.log((other.steps[i] - other.token) / (plan.steps[plan.layers.indexOf(l)] - plan.token)),
    ),
  );
  // A hair, so that a ratio of exactly the limit is within it.
  return far.reduce((a, b) => a + b, 0) / far.length - 1e-9;
}

/** Log-probs with the plan minus as recorded, of the `horizon` tokens after its first changed query. */
export function change(trace, plan, scores, horizon) {
  const start = firstOf(plan) + 1;
  return Array.from({ length: horizon }, (_, i) => scores[start + i] - trace.logprob[start + i]);
}
