// Words of a text, as English treebanks cut them, and the tokens that carry each.

import { tagSentence } from "./tagger.js";

// Addresses, abbreviations, numbers, words (with an inner apostrophe), runs of dots or dashes, one sign.
const PIECE =
  /(?:https?:\/\/|www\.)\S+|[\w.+-]+@[\w-]+\.[\w.]+|(?:Mr|Mrs|Ms|Dr|St|Jr|Sr|Prof|Gen|Col|Capt|Lt|Rev|Inc|Ltd|Co|Corp|vs|etc|No)\.(?=\s|$)|(?:\p{L}\.){2,}|\d+(?:[.,:]\d+)*(?:st|nd|rd|th)?\b|\d+|\p{L}[\p{L}\p{M}]*(?:['’]\p{L}+)*|['’](?:s|re|ve|ll|d|m|t)\b|\.{2,}|-{2,}|[!?]{2,}|\p{Emoji_Presentation}+|\S/gu;
const CONTRACTION = /^(.+?)(n['’]t|['’](?:s|re|ve|ll|d|m))$/i;

/** [start, end] of each word of `text`, in UTF-16 units. */
export function split(text) {
  const out = [];
  for (const { 0: piece, index } of text.matchAll(PIECE)) {
    const cut = /^cannot$/i.test(piece) ? 3 : CONTRACTION.exec(piece)?.[1].length;
    if (cut) out.push([index, index + cut], [index + cut, index + piece.length]);
    else out.push([index, index + piece.length]);
  }
  return out;
}

/** Tag numbers of the words at `spans`, sentence by sentence. */
export function tag(weights, text, spans) {
  const out = [];
  for (let from = 0, i = 0; i < spans.length; i++) {
    const word = text.slice(...spans[i]),
      next = spans[i + 1];
    if (
      next &&
      !/^(?:[.!?…]+|[.!?]["'”’)]+)$/.test(word) &&
      !/\n\s*\n/.test(text.slice(spans[i][1], next[0]))
    )
      continue;
    for (const t of tagSentence(
      weights,
      spans.slice(from, i + 1).map(([a, b]) => text.slice(a, b)),
    ))
      out.push(t);
    from = i + 1;
  }
  return out;
}

// A mark or a zero-width joiner promises more of the same character.
const OPEN = /[\p{L}\p{N}'’_\ufffd\p{M}\p{Cf}-]$/u;

/** The words of a trace for its payload: spans [4 n] (start, end in code points, first and last token) and tag numbers [n].

A word that a further token could still continue is left out: it has no part of speech yet. */
export function wordsOf(weights, { text, offsets, prompt }) {
  const found = split(text),
    tags = tag(weights, text, found),
    T = offsets.length / 2,
    spans = [],
    pos = [];
  const open = T > prompt && offsets[2 * T - 2] !== offsets[2 * T - 1] && OPEN.test(text);
  let points = 0,
    unit = 0,
    first = 0;
  const point = (to) => {
    for (; unit < to; points++) unit += text.codePointAt(unit) > 0xffff ? 2 : 1;
    return points;
  };
  found.forEach(([a, b], i) => {
    const start = point(a),
      end = point(b);
    while (first < T && offsets[2 * first + 1] <= start) first++;
    let last = first;
    while (last + 1 < T && offsets[2 * last + 2] < end) last++;
    if (first >= T || offsets[2 * first] >= end || (open && b === text.length)) return;
    spans.push(start, end, first, last);
    pos.push(tags[i]);
  });
  return { spans: Int32Array.from(spans), pos: Uint8Array.from(pos) };
}
