// Train the page's tagger on a treebank in CoNLL-U and say how good it is.
//
//   node assets/space/training/tagger.mjs TRAIN.conllu DEV.conllu [OUT.bin]
//
// Settings were chosen on the last tenth of TRAIN; DEV is read once, for the printed accuracy.

import { readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { BITS, best, features, look, TAGS, tagSentence } from "../tagger.js";
import { split, tag } from "../words.js";

const PASSES = 8,
  LEAST = 1.5;

/** Sentences { words, tags, text }. */
function read(path) {
  const out = [];
  for (const block of readFileSync(path, "utf-8").split("\n\n")) {
    const rows = block
      .split("\n")
      .map((line) => line.split("\t"))
      .filter((r) => /^\d+$/.test(r[0]));
    const text = /^# text = (.*)$/m.exec(block)?.[1];
    if (rows.length)
      out.push({ words: rows.map((r) => r[1]), tags: rows.map((r) => TAGS.indexOf(r[3])), text });
  }
  return out;
}

/** Numbers in [0, 1) from a seed (mulberry32). */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Averaged weights, float64 [2^BITS, tags]. */
function train(sentences) {
  const size = 2 ** BITS * TAGS.length,
    weights = new Float64Array(size),
    sums = new Float64Array(size),
    next = random(7);
  const looked = sentences.map(({ words }) => words.map(look));
  let clock = 1;
  for (let pass = 0; pass < PASSES; pass++) {
    const order = sentences.map((_, i) => i);
    for (let i = order.length - 1; i > 0; i--) {
      const j = Math.floor(next() * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    let wrong = 0;
    for (const s of order) {
      let a = -1,
        b = -1;
      for (let i = 0; i < looked[s].length; i++, clock++) {
        const rows = features(looked[s], i, a, b),
          guess = best(weights, rows),
          gold = sentences[s].tags[i];
        if (gold >= 0 && guess !== gold) {
          wrong++;
          for (const row of rows)
            for (const [t, by] of [
              [gold, 1],
              [guess, -1],
            ]) {
              weights[row * TAGS.length + t] += by;
              sums[row * TAGS.length + t] += by * clock;
            }
        }
        [a, b] = [guess, a];
      }
    }
    console.error(`pass ${pass + 1}: ${wrong} wrong`);
  }
  return weights.map((w, i) => w - sums[i] / clock);
}

/** As int8: the largest magnitudes are cut, the smallest dropped. */
function quantise(weights) {
  const order = Float64Array.from(weights, Math.abs).sort(),
    scale = 127 / order[Math.floor(order.length * 0.9995)];
  return Int8Array.from(weights, (w) => {
    const q = Math.round(w * scale);
    return Math.abs(q) < LEAST ? 0 : Math.max(-127, Math.min(127, q));
  });
}

/** Share of gold words with the right tag; of gold words found by `split`, and found and right. */
function test(weights, sentences) {
  let n = 0,
    right = 0,
    found = 0,
    both = 0;
  for (const { words, tags, text } of sentences) {
    tagSentence(weights, words).forEach((t, i) => {
      if (tags[i] >= 0) {
        n++;
        right += t === tags[i];
      }
    });
    const spans = split(text),
      own = tag(weights, text, spans),
      at = new Map(spans.map((s, i) => [String(s), own[i]]));
    let from = 0;
    words.forEach((word, i) => {
      const a = text.indexOf(word, from);
      if (a < 0 || tags[i] < 0) return;
      from = a + word.length;
      const t = at.get(`${a},${from}`);
      found += t !== undefined;
      both += t === tags[i];
    });
  }
  return { words: n, right: right / n, found: found / n, found_and_right: both / n };
}

const [trainPath, devPath, out] = process.argv.slice(2);
const sentences = read(trainPath),
  held = devPath === "held" ? Math.floor(sentences.length * 0.9) : sentences.length;
const weights = quantise(train(sentences.slice(0, held))),
  packed = gzipSync(weights, { level: 9 });
console.log(
  JSON.stringify({
    ...test(weights, devPath === "held" ? sentences.slice(held) : read(devPath)),
    bytes: packed.length,
  }),
);
if (out) writeFileSync(out, packed);
