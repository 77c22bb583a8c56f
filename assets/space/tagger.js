// Parts of speech in the page: a linear tagger over hashed features, read from left to right.
//
// Weights are one table of small integers, [2^BITS features, 17 tags]; a feature's row is the hash of
// its text, so no dictionary is needed. Trained by training/tagger.mjs with these very functions
// (averaged perceptron: Collins, EMNLP 2002). English. It reads words the model had not seen yet.

/** In the order of the payload's `pos_names`. */
export const TAGS = [
  "NOUN",
  "PROPN",
  "ADJ",
  "VERB",
  "AUX",
  "ADV",
  "ADP",
  "DET",
  "PRON",
  "CCONJ",
  "SCONJ",
  "PART",
  "PUNCT",
  "NUM",
  "SYM",
  "INTJ",
  "X",
];
export const BITS = 16;

const MASK = (1 << BITS) - 1,
  EDGE = { raw: "", low: "", shape: "", tail: "" };

/** FNV-1a over UTF-16 units. */
function hash(text) {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return (h ^ (h >>> 15)) & MASK;
}

/** What is read of a word wherever it stands. */
export function look(raw) {
  const low = raw.toLowerCase().replace(/\d/g, "0");
  const shape = raw
    .replace(/\p{Lu}+/gu, "A")
    .replace(/\p{Ll}+/gu, "a")
    .replace(/\d+/g, "0")
    .slice(0, 5);
  const own = [`w${low}`, `r${raw}`, `f${shape}`, `n${Math.min(raw.length, 6)}`];
  for (const n of [1, 2, 3, 4]) if (low.length >= n) own.push(`s${low.slice(-n)}`);
  for (const n of [1, 2, 3]) if (low.length > n) own.push(`p${low.slice(0, n)}`);
  return { raw, low, shape, tail: low.slice(-3), own: own.map(hash) };
}

/** Rows of the features of word i; a and b: the tags of the words before it, -1 where there is none. */
export function features(words, i, a, b) {
  const at = (j) => words[j] ?? EDGE,
    w = words[i],
    [l2, l, r, r2] = [at(i - 2), at(i - 1), at(i + 1), at(i + 2)];
  return [
    ...w.own,
    hash("bias"),
    hash(`a${a}`),
    hash(`ab${a},${b}`),
    hash(`aw${a},${w.low}`),
    hash(`as${a},${w.tail}`),
    hash(`l${l.low}`),
    hash(`k${l2.low}`),
    hash(`r${r.low}`),
    hash(`q${r2.low}`),
    hash(`lt${l.tail}`),
    hash(`rt${r.tail}`),
    hash(`rs${r.shape}`),
    hash(`lw${l.low},${w.low}`),
    hash(`wr${w.low},${r.low}`),
    hash(`ar${a},${r.tail}`),
    hash(`e${i === 0},${w.shape}`),
  ];
}

/** The best tag by the rows' weights. */
export function best(weights, rows, score = new Float64Array(TAGS.length)) {
  score.fill(0);
  for (const row of rows)
    for (let t = 0, at = row * TAGS.length; t < TAGS.length; t++) score[t] += weights[at + t];
  let top = 0;
  for (let t = 1; t < TAGS.length; t++) if (score[t] > score[top]) top = t;
  return top;
}

/** Tag numbers of the words (strings) of one sentence. */
export function tagSentence(weights, raws) {
  const words = raws.map(look),
    out = [];
  for (let i = 0; i < words.length; i++)
    out.push(best(weights, features(words, i, out[i - 1] ?? -1, out[i - 2] ?? -1)));
  return out;
}
