// What the linked view needs of a trace: the object of dcp/viewer/payload.py, made in the page.

/** Keys of a payload that are the same for every run; the page takes them from the sample's. */
const SAME = ["version", "pos_names", "pos_labels", "pos_group", "group_names", "near_tie"];

function pack(array) {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  let raw = "";
  for (let i = 0; i < bytes.length; i += 8192)
    raw += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(raw);
}

/** [code points + 1]: where each code point of `text` starts in UTF-16 units. */
export function units(text) {
  const starts = [];
  let at = 0;
  for (const char of text) {
    starts.push(at);
    at += char.length;
  }
  starts.push(at);
  return Int32Array.from(starts);
}

/** Names of the tokens that their own slice of the text does not name: parts of a character, special tokens. */
function names(trace, starts) {
  const { offsets, token_ids: ids, text } = trace,
    found = {},
    slice = (a, b) => text.slice(starts[a], starts[b]);
  for (let j = 0; j < ids.length; ) {
    const a = offsets[2 * j],
      b = offsets[2 * j + 1];
    let k = j + 1;
    while (a !== b && k < ids.length && offsets[2 * k] === a && offsets[2 * k + 1] === b) k++;
    if (a === b) found[j] = `⟨${ids[j]}⟩`;
    else if (k - j > 1)
      for (let i = j; i < k; i++) found[i] = `${slice(a, b)}⟨${i - j + 1}/${k - j}⟩`;
    j = k;
  }
  return found;
}

const short = (x) => String(Number(x.toPrecision(6)));

/** id names the run. `made`: { spec, impl, request } of it. `words`: { spans: Int32Array [4 n] start, end (code points), first, last; pos: Uint8Array [n] }. */
export function payload(sample, id, trace, { spec, impl, request, running }, words = null) {
  const starts = units(trace.text),
    { counters: c } = trace;
  const spans = words ? words.spans.map((v, i) => (i % 4 < 2 ? starts[v] : v)) : new Int32Array(0);
  return {
    ...Object.fromEntries(SAME.map((key) => [key, sample[key]])),
    id,
    running,
    play: false,
    dimmed: false,
    planned: Math.max(trace.planned, trace.token_ids.length),
    tokens: trace.token_ids.length,
    layers: trace.layers,
    queries: trace.n_queries,
    prompt: trace.prompt,
    text: trace.text,
    names: names(trace, starts),
    spans: pack(trace.offsets.map((v) => starts[v])),
    death: pack(trace.death),
    margin: pack(trace.margin),
    logprob: pack(trace.logprob),
    words: pack(spans),
    word_pos: pack(words ? words.pos : new Uint8Array(0)),
    memory: {
      row_bytes: 4 * (2 * spec.kv_heads * spec.head_dim + spec.interaction),
      kv_bytes_per_entry: 8 * spec.kv_heads * spec.head_dim,
      kv_bytes_held: c.held,
    },
    speed: {
      now: running ? c.now : null,
      mean: c.mean,
      first: c.first,
      read: trace.promptSeconds > 0 ? trace.prompt / trace.promptSeconds : null,
      process: null,
    },
    label: [
      `${spec.name} (${spec.sha256.slice(0, 8)})`,
      request.gateShift === 0 ? "gates as trained" : `gates shifted by ${short(request.gateShift)}`,
      `seed ${request.seed}`,
      `temperature ${short(request.temperature)}`,
      `${impl} in this browser`,
    ].join(" · "),
    machine: "this device",
    line: "",
    // Nothing here answers the dial and the lists of next tokens; the page has a link of its own.
    dial: {},
    written: {},
    link: null,
    rows: null,
    model: spec.name,
    rule: "",
    ruled: false,
    at: {},
  };
}
