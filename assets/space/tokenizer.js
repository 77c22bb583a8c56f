// Byte-level BPE, token for token what the `tokenizers` library gives for the model's tokenizer.json.
//
// Every token is a string of bytes, and joined they are the text in UTF-8; so a token's span follows
// from its bytes alone. Spans count Unicode code points. Knows no model.

import { characters, utf8 } from "./utf8.js";

// GPT-2's splitting of text into words, with Rust's white space, which is not quite JavaScript's.
const WORDS =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;
const DIGIT = /(\p{N})/u;
const REPLACEMENT = [0xef, 0xbf, 0xbd];

// A pair of ids, or a merge's rank and place in a word, as one exact number.
const PAIR = 2 ** 22;
const PLACE = 2 ** 28;

export class Tokenizer {
  /** `tokens` by id in GPT-2's spelling, `merges` pairs of ids, best first, `special` name -> id,
  `digits` whether every digit is a word of its own. */
  constructor({ tokens, merges, special, digits }) {
    const byteOf = alphabet(),
      ids = new Map(tokens.map((token, id) => [token, id]));
    this.bytes = tokens.map((token) =>
      token === null ? REPLACEMENT : Array.from(token, (c) => byteOf.get(c)),
    );
    for (const [name, id] of Object.entries(special)) this.bytes[id] = Array.from(utf8(name));
    this.single = [];
    for (const [char, byte] of byteOf) this.single[byte] = ids.get(char);
    this.merges = new Map(
      merges.map(([a, b], rank) => [a * PAIR + b, { rank, id: ids.get(tokens[a] + tokens[b]) }]),
    );
    this.special = special;
    this.digits = digits;
    const names = Object.keys(special).sort((a, b) => b.length - a.length);
    this.named = names.length
      ? new RegExp(`(${names.map((n) => n.replace(/[^\w]/g, "\\$&")).join("|")})`)
      : null;
    this.words = new Map();
  }

  /** Ids of `text` (well-formed Unicode) and their spans [2 T] in code points. */
  encode(text) {
    const ids = [];
    for (const piece of this.named ? text.split(this.named) : [text]) {
      if (Object.hasOwn(this.special, piece)) ids.push(this.special[piece]);
      // Splitting by a group leaves what it matched at the odd places: a digit is a word of its own.
      else
        (this.digits ? piece.split(DIGIT) : [piece]).forEach((run, i) => {
          for (const word of i % 2 ? [run] : run.match(WORDS) || []) this.#word(word, ids);
        });
    }
    return {
      ids: Int32Array.from(ids),
      spans: spansOf(
        text,
        ids.map((id) => this.bytes[id].length),
      ),
    };
  }

  #word(word, out) {
    let found = this.words.get(word);
    if (!found) {
      found = this.#merge(Array.from(utf8(word), (byte) => this.single[byte]));
      if (word.length < 32 && this.words.size < 20000) this.words.set(word, found);
    }
    for (const id of found) out.push(id);
  }

  /** The best merge first, of equals the leftmost, until none is left. */
  #merge(ids) {
    const next = ids.map((_, i) => i + 1),
      before = ids.map((_, i) => i - 1),
      queue = new Queue();
    const offer = (i) => {
      const merge = next[i] < ids.length && this.merges.get(ids[i] * PAIR + ids[next[i]]);
      if (merge) queue.push(merge.rank * PLACE + i);
    };
    for (let i = 0; i + 1 < ids.length; i++) offer(i);
    for (let key; (key = queue.pop()) !== undefined; ) {
      const rank = Math.floor(key / PLACE),
        i = key - rank * PLACE,
        j = next[i];
      // A merge since then may have taken either half.
      const merge = ids[i] >= 0 && j < ids.length && this.merges.get(ids[i] * PAIR + ids[j]);
      if (!merge || merge.rank !== rank) continue;
      ids[i] = merge.id;
      ids[j] = -1;
      next[i] = next[j];
      if (next[i] < ids.length) before[next[i]] = i;
      offer(i);
      if (before[i] >= 0) offer(before[i]);
    }
    return ids.filter((id) => id >= 0);
  }
}

/** A prompt and what follows it. While a character's bytes are incomplete it shows as one U+FFFD. */
export class TextStream {
  constructor(tokenizer, text, { ids, spans }) {
    this.tokenizer = tokenizer;
    this.settled = text;
    this.length = Array.from(text).length;
    this.ids = Array.from(ids);
    this.spans = Array.from(spans);
    this.pending = [];
  }

  push(id) {
    const bytes = [...this.pending, ...(this.tokenizer.bytes[id] || REPLACEMENT)];
    const { chars, ends, incomplete } = characters(bytes);
    // The token's first byte lies in the first character that ends behind the pending bytes.
    const first = ends.findIndex((end) => end > this.pending.length);
    this.ids.push(id);
    this.spans.push(this.length + first, this.length + chars.length);
    const done = chars.length - (incomplete ? 1 : 0);
    this.settled += chars.slice(0, done).join("");
    this.length += done;
    this.pending = bytes.slice(done ? ends[done - 1] : 0);
  }

  get text() {
    return this.settled + (this.pending.length ? "\ufffd" : "");
  }
}

/** The characters that each token touches, from the tokens' byte lengths. */
function spansOf(text, lengths) {
  const spans = new Int32Array(2 * lengths.length);
  let at = 0,
    started = 0;
  const bytes = utf8(text),
    starts = new Int32Array(bytes.length + 1);
  // starts[i]: characters that begin before byte i.
  for (let i = 0; i < bytes.length; i++)
    starts[i + 1] = started += (bytes[i] & 0xc0) !== 0x80 ? 1 : 0;
  lengths.forEach((length, j) => {
    spans[2 * j] = starts[at + 1] - 1;
    at += length;
    spans[2 * j + 1] = starts[at];
  });
  return spans;
}

/** GPT-2's printable stand-in of each byte (openai/gpt-2, encoder.py: bytes_to_unicode). */
function alphabet() {
  const plain = (b) => (b >= 0x21 && b < 0x7f) || (b >= 0xa1 && b < 0xad) || b >= 0xae,
    map = new Map();
  for (let b = 0, n = 0; b < 256; b++) map.set(String.fromCodePoint(plain(b) ? b : 256 + n++), b);
  return map;
}

/** The smallest number first. */
class Queue {
  #heap = [];

  push(key) {
    const heap = this.#heap;
    let i = heap.push(key) - 1;
    for (let up; i && heap[(up = (i - 1) >> 1)] > key; i = up) heap[i] = heap[up];
    heap[i] = key;
  }

  pop() {
    const heap = this.#heap,
      top = heap[0],
      key = heap.pop();
    if (!heap.length) return top;
    let i = 0;
    for (let down; (down = 2 * i + 1) < heap.length; i = down) {
      if (heap[down + 1] < heap[down]) down++;
      if (heap[down] >= key) break;
      heap[i] = heap[down];
    }
    heap[i] = key;
    return top;
  }
}
