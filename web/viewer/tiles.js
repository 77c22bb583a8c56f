// The counters, one strip over the scrubber. Each has one definition, said behind the question mark:
// the library's `sparsity_at`, and the bytes of keys and values.

import { node, panel, write } from "./dom.js";
import { bytes, clamp, percent } from "./values.js";

const DEFINITIONS = {
  dropped:
    "Share of the tokens read before this one that can no longer be attended to, mean over layers; then the range from the layer that keeps most to the one that keeps least.",
  "memory of keys and values (KV)":
    "Live: what can still be attended to at this step. Dense: keys and values of all tokens read. Allocated: what the cache keeps for them, its own keys and spare rows included, known at the last step read. Process: the resident memory of the whole program, of a run that is live.",
  perplexity:
    "Of your text up to this step (not of what the model wrote): the exponential of its mean surprise a token. Beside it, where the run was read with nothing dropped too, how many times that.",
  speed:
    "Writing: tokens generated a second. Reading: tokens of your text by the seconds spent reading it. First token: from the begin of reading to the first new token, the model already loaded. Of a saved run: as it was recorded, on the machine that the last line names.",
};
/** Tokens of the text before a perplexity says anything. */
const ENOUGH = 8;

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
  view.rowsSay = node("dd");
  view.tile = { dropped: tile(true), memory: tile(true), perplexity: tile(), speed: tile() };
  const what = node("summary", "", "?"),
    list = node("dl");
  what.setAttribute("aria-label", "What these counters mean");
  for (const [name, says] of Object.entries(DEFINITIONS))
    list.append(node("dt", "", name), node("dd", "", says));
  list.append(node("dt", "", "rows of the vocabulary"), view.rowsSay);
  const boxes = Object.values(view.tile).map((t) => t.box);
  return node("div", "tiles", ...boxes, panel("defs", what, list));
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
  drawPerplexity(view);
  drawSpeed(view);
}

/** What rows of unseen tokens weigh, what leaving them out saves, and what it costs. */
export function tellRows({ run: { rows }, rowsSay }) {
  if (!rows) return write(rowsSay, "Not known of this run's model.");
  const { of, seen, whole, tied, left_out, input_saves, both_save } = rows,
    count = `${seen.toLocaleString("en")} of ${of.toLocaleString("en")} rows`,
    costs =
      "The softmax is then over the rows kept: log-probabilities are higher, and no other token can be written.";
  if (left_out)
    return write(
      rowsSay,
      `This run had ${count}: ${bytes(both_save)} of ${bytes(whole)} of embedding and head were left out. ${costs}`,
    );
  const input = tied
    ? "Embedding and head are one matrix, so leaving input rows out alone saves nothing: each is needed again to score its token."
    : `Leaving input rows out alone would save ${bytes(input_saves)}.`;
  write(
    rowsSay,
    `This run uses ${count} of ${bytes(whole)} of embedding and head. ${input} With generation restricted to tokens of the text too (Settings), ${bytes(both_save)} would be. ${costs}`,
  );
}

const rate = (v) => (v > 0 ? `${v >= 100 ? v.toFixed(0) : v.toFixed(1)} tok/s` : "–");
const wait = (s) => (s < 1 ? `${(1000 * s).toFixed(0)} ms` : `${s.toFixed(2)} s`);

function drawSpeed({ run, tile: { speed } }) {
  const { now, mean, first, read } = run.speed,
    reading = read > 0 ? `reading ${rate(read)}` : "",
    toFirst = first > 0 ? `first token ${wait(first)}` : "";
  if (run.running && run.Q < run.prompt)
    put(speed, rate(read), read > 0 ? "reading now" : "not known yet", "not writing yet");
  else if (run.running)
    put(
      speed,
      rate(now),
      now > 0 ? "writing now" : "not writing yet",
      [mean > 0 ? `mean ${rate(mean)}` : "", reading, toFirst].filter(Boolean).join(" · "),
    );
  else
    put(
      speed,
      rate(mean),
      mean > 0 ? "writing" : "no speed recorded",
      [reading, toFirst].filter(Boolean).join(" · "),
    );
}

/** exp of the mean surprise of tokens 1..step, of those that the reader gave. */
function perplexity(logprob, end) {
  let sum = 0,
    n = 0;
  for (let j = 1; j < end; j++)
    if (!Number.isNaN(logprob[j])) {
      sum -= logprob[j];
      n++;
    }
  return n >= ENOUGH ? Math.exp(sum / n) : Number.NaN;
}

function drawPerplexity({ run, state: { step }, tile }) {
  const end = Math.min(step + 1, run.prompt),
    here = perplexity(run.logprob, end),
    all = run.full ? perplexity(run.full, end) : Number.NaN,
    ratio = here / all;
  put(
    tile.perplexity,
    here > 0 ? here.toFixed(here < 100 ? 1 : 0) : "–",
    here > 0 ? "perplexity" : "perplexity: too few tokens yet",
    ratio > 0 ? `${ratio.toFixed(2)} times that with nothing dropped` : "of your text so far",
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
  const { kv_bytes_per_entry: entry } = run.memory,
    live = whole.total[step] * entry,
    dense = run.L * (step + 1) * entry,
    known = step === run.Q - 1 && run.allocated > 0;
  put(
    memory,
    bytes(live),
    `KV live of ${bytes(dense)} dense`,
    [
      known ? `${bytes(run.allocated)} allocated` : "",
      run.rows?.left_out ? `${bytes(run.rows.both_save)} of rows saved` : "",
      run.speed.process ? `process ${bytes(run.speed.process)}` : "",
    ]
      .filter(Boolean)
      .join(" · "),
  );
  fill(memory, live / dense, known ? run.allocated / dense : 0);
}
