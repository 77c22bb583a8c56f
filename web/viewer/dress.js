// How a unit of the running text looks at a step: its share held, and what marks it bears.
//
// A state is one number, so that a page is touched only where something changed. Bits 0-5 are the
// share held in 48ths (a layer of 2, 3, 4, 6, 8, 12, 16, 24 or 48 is exact), then the names of MARKS.

import { dropped } from "./run.js";

const PARTS = 48;
const MARKS = ["fut", "out", "hit", "now", "sel", "by", "gen", "dim", "vic"];
const [FUTURE, OUT, HIT, NOW, CHOSEN, BY, WRITTEN, DIM, VICTIM] = MARKS.map((_, i) => 64 << i);

/** The layers that the text speaks of: all of them, or the chosen one. */
export function layersOf({ run, state }) {
  return state.text === "share" ? Array.from({ length: run.L }, (_, l) => l) : [state.layer];
}

/** [T] what marks each token bears at the step of the view; written into `marks`. */
export function markTokens({ run, state }, layers, marks) {
  const { T, Q, death } = run,
    s = state.step,
    chosen = state.token;
  marks.fill(0);
  if (chosen >= 0) marks[chosen] |= CHOSEN;
  if (!Q) return;
  marks[s] |= NOW;
  for (const l of layers) {
    for (const j of dropped(run, l, s)) marks[j] |= HIT;
    if (chosen < 0) continue;
    if (death[l * T + chosen] <= s) marks[death[l * T + chosen]] |= BY;
    if (chosen < Q && chosen <= s) for (const j of dropped(run, l, chosen)) marks[j] |= VICTIM;
  }
}

/** The share of a unit's entries in `layers` that are held at step s, of those read by then. */
export function heldShare({ T, death }, unit, layers, s) {
  let n = 0,
    all = 0;
  for (const { first, last } of unit.parts) {
    for (let j = first; j <= last && j <= s; j++) {
      for (const l of layers) n += death[l * T + j] > s;
      all += layers.length;
    }
  }
  return n / Math.max(1, all);
}

/** The state of a unit; with several parts, marks are theirs (`partState`). */
export function unitState(view, unit, layers, marks) {
  const { run, state, shown } = view,
    first = unit.parts[0].first;
  let code = first >= run.prompt ? WRITTEN : 0;
  if (first > state.step) code |= FUTURE;
  else {
    const part = heldShare(run, unit, layers, state.step);
    // Only what is wholly held or wholly gone says so.
    const level =
      part > 0 && part < 1
        ? Math.min(PARTS - 1, Math.max(1, Math.round(PARTS * part)))
        : PARTS * part;
    code |= level | (part === 0 ? OUT : 0) | (shown[first] ? 0 : DIM);
  }
  return unit.parts.length > 1 ? code : code | marked(unit.parts[0], marks);
}

/** The state of one part of a unit of several: its marks, and "not read yet" where the rest is. */
export function partState(part, unit, s, marks) {
  return marked(part, marks) | (part.first > s && unit.parts[0].first <= s ? FUTURE : 0);
}

function marked({ first, last }, marks) {
  let code = 0;
  for (let j = first; j <= last; j++) code |= marks[j];
  return code;
}

/** Give an element { el, code } a state, where it has another.

The share is a class too: elements of one class share one computed style (levels.css). */
export function dress(thing, code, base) {
  if (thing.code === code) return;
  thing.code = code;
  let name = base && !(code & FUTURE) ? `${base} k${code & 63}` : base;
  for (let i = 0, rest = code >> 6; rest; i++, rest >>= 1)
    if (rest & 1) name += name ? ` ${MARKS[i]}` : MARKS[i];
  thing.el.className = name;
}
