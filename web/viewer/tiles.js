// The counters, one strip over the scrubber. Each has one definition, said behind the question mark:
// the library's `sparsity_at`, and the bytes of keys and values.

import { node, write } from "./dom.js";
import { bytes, clamp, percent } from "./values.js";

const DEFINITIONS = {
  dropped:
    "Share of the tokens read before this one that can no longer be attended to, mean over layers; then the range from the layer that keeps most to the one that keeps least.",
  "KV live, dense, allocated":
    "Live: keys and values that can still be attended to at this step. Dense: those of a model that forgets nothing. Allocated: what the cache holds for them, its own keys and spare rows included, known at the last step read.",
  "tok/s":
    "Writing: tokens generated a second, as the run goes and in the mean. Reading: tokens of your text by the time to the first new token, with the model already loaded.",
  "first token":
    "From beginning to read your text to the first new token; and the resident memory of the whole process where the run is live.",
};

export function tiles(view) {
  const tile = (meter) => {
    const value = node("b"),
      unit = node("span"),
      note = node("span", "more"),
      under = node("i", "under"),
      over = node("i"),
      bar = meter ? node("div", "meter", under, over) : node("div", "meter plain");
    return { box: node("div", "tile", value, unit, bar, note), value, unit, note, over, under };
  };
  view.tile = { dropped: tile(true), memory: tile(true), speed: tile(), first: tile() };
  const what = node("summary", "", "?"),
    list = node("dl");
  what.setAttribute("aria-label", "What these counters mean");
  for (const [name, says] of Object.entries(DEFINITIONS))
    list.append(node("dt", "", name), node("dd", "", says));
  const boxes = Object.values(view.tile).map((t) => t.box);
  return node("div", "tiles", ...boxes, node("details", "defs", what, list));
}

function put(tile, value, unit, note) {
  write(tile.value, value);
  write(tile.unit, unit);
  write(tile.note, note);
}

/** Scaled, not resized: a frame of the film lays nothing out anew. */
function fill(tile, over, under = 0) {
  tile.over.style.transform = `scaleX(${clamp(over, 0, 1).toFixed(3)})`;
  tile.under.style.transform = `scaleX(${clamp(under, 0, 1).toFixed(3)})`;
}

export function drawTiles(view) {
  const { run } = view;
  if (!run.Q) return;
  drawDropped(view);
  drawMemory(view);
  const { now, mean, first, process } = run.speed,
    rate = (v) => (v > 0 ? (v >= 100 ? v.toFixed(0) : v.toFixed(1)) : "–"),
    reading = first > 0 && run.prompt ? `reading ${rate(run.prompt / first)} tok/s` : "",
    wrote = run.running && mean > 0 ? `mean ${rate(mean)}` : "";
  const rated = run.running ? now : mean;
  put(
    view.tile.speed,
    rated > 0 || run.running ? `${rate(rated)} tok/s` : "–",
    rated > 0
      ? run.running
        ? "writing now"
        : "writing"
      : run.running
        ? "not writing yet"
        : "no speed recorded",
    [wrote, reading, run.running || !mean ? "" : run.machine && `on ${run.machine}`]
      .filter(Boolean)
      .join(" · "),
  );
  const wait = first < 1 ? `${(1000 * first).toFixed(0)} ms` : `${(first || 0).toFixed(2)} s`;
  put(
    view.tile.first,
    first > 0 ? wait : "–",
    "to the first token",
    process ? `${bytes(process)} whole process` : first > 0 && !run.running ? "as recorded" : "",
  );
}

/** `sparsity_at` the step: the current token has not been judged, so it is not counted. */
function drawDropped({ run: { L, Q }, state: { step }, whole, tile: { dropped } }) {
  const gone = (held, layers) => (step ? 1 - (held - layers) / (layers * step) : 0);
  let low = 1,
    high = 0;
  for (let l = 0; l < L; l++) {
    const share = gone(whole.held[l * Q + step], 1);
    low = Math.min(low, share);
    high = Math.max(high, share);
  }
  const share = gone(whole.total[step], L);
  put(
    dropped,
    percent(share, 1),
    `dropped of ${step} read`,
    `layers from ${(100 * low).toFixed(0)} to ${percent(high)}`,
  );
  fill(dropped, share);
}

function drawMemory({ run, state: { step }, whole, tile: { memory } }) {
  const { kv_bytes_per_entry: entry, kv_bytes_held: allocated } = run.memory,
    live = whole.total[step] * entry,
    dense = run.L * (step + 1) * entry,
    known = step === run.Q - 1 && allocated > 0;
  put(
    memory,
    bytes(live),
    `KV live of ${bytes(dense)} dense`,
    known ? `${bytes(allocated)} allocated` : "",
  );
  fill(memory, live / dense, known ? allocated / dense : 0);
}
