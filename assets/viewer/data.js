// What the payload of dcp/viewer/payload.py says, as typed arrays and the indexes every panel reads.
//
// Knows no page. A run has T tokens, Q of them queries, L layers; death[l * T + j] is the step at which
// layer l dropped token j, or ALIVE.

function array(base64, Type) {
  const raw = atob(base64 || "");
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new Type(bytes.buffer);
}

function unpack(p) {
  const T = p.tokens, L = p.layers, Q = p.queries;
  const run = {
    id: p.id, T, L, Q, prompt: p.prompt, text: p.text, running: !!p.running, memory: p.memory || {},
    speed: p.speed || {}, label: p.label || "", nearTie: p.near_tie, names: p.names || {}, groupNames: p.group_names, domain: Math.max(T, p.planned || 0),
    spans: array(p.spans, Int32Array), death: array(p.death, Int32Array), margin: array(p.margin, Float32Array),
    logprob: array(p.logprob, Float32Array), posLabels: p.pos_labels, posGroup: p.pos_group,
    words: array(p.words, Int32Array), wordPos: array(p.word_pos, Uint8Array),
  };
  run.wordOf = new Int32Array(T).fill(-1);
  for (let w = 0; w < run.wordPos.length; w++) {
    for (let j = run.words[4 * w + 2]; j <= run.words[4 * w + 3]; j++) if (run.wordOf[j] < 0) run.wordOf[j] = w;
  }
  // Group 5 means "not tagged": whitespace, or a word the tagger has not seen yet.
  run.group = new Uint8Array(T);
  for (let j = 0; j < T; j++) run.group[j] = run.wordOf[j] < 0 ? 5 : run.posGroup[run.wordPos[run.wordOf[j]]];
  // Drops by (layer, step): order[first[l*(Q+1)+t] .. first[l*(Q+1)+t+1]] are the tokens dropped then.
  run.first = new Int32Array(L * (Q + 1) + 1);
  run.order = new Int32Array(L * T);
  for (let l = 0, at = 0; l < L; l++) {
    const count = new Int32Array(Q + 1);
    for (let j = 0; j < T; j++) count[Math.min(Q, run.death[l * T + j])]++;
    for (let t = 0; t <= Q; t++) { run.first[l * (Q + 1) + t] = at; const n = count[t]; count[t] = at; at += n; }
    for (let j = 0; j < T; j++) run.order[count[Math.min(Q, run.death[l * T + j])]++] = j;
  }
  return run;
}

/** The tokens that layer l dropped at step t. */
function dropped(run, l, t) {
  const at = l * (run.Q + 1) + t;
  return run.order.subarray(run.first[at], run.first[at + 1]);
}

/** The layer that holds the most usual number of entries at the end: the first one to look at. */
function middling({ L, T, Q, death }) {
  const held = Array.from({ length: L }, (_, l) => { let n = 0; for (let j = 0; j < Q; j++) n += death[l * T + j] >= Q; return n; });
  const order = held.map((_, l) => l).sort((a, b) => held[a] - held[b] || a - b);
  return order[L >> 1] || 0;
}

/** The text as units of a grain, "token", "word" or "sentence": a unit fades and is struck as one.

A unit is { gap, start, end, parts, key }: its text is [start, end), the blank before it [gap, start);
a part is a run of text with its tokens first..last. */
function cut(run, grain) {
  const words = cutWords(run), named = (gap, start, end, parts) => ({ gap, start, end, parts, key: `${gap},${start},${end},${parts.map((q) => q.first + "-" + q.last)}` });
  if (grain === "token") return words.flatMap(({ gap, parts }) => parts.map((q, i) => named(i ? parts[i - 1].end : gap, q.start, q.end, [q])));
  if (grain === "word") return words.map(({ gap, start, end, parts }) => named(gap, start, end, parts));
  const out = [];
  for (let from = 0, u = 0; u < words.length; u++) {
    const { end } = words[u], next = words[u + 1], gap = next ? run.text.slice(end, next.start) : "\n";
    const stop = /[.!?…。！？]["'”’)\]]*$/u.test(run.text.slice(Math.max(words[from].start, end - 4), end));
    const seam = next && words[u].parts[0].first < run.prompt && next.parts[0].first >= run.prompt;
    if (!/\n/.test(gap) && !(stop && /\s/.test(gap)) && !seam) continue;
    const inside = words.slice(from, u + 1);
    out.push(named(inside[0].gap, inside[0].start, end, inside.flatMap((w) => w.parts)));
    from = u + 1;
  }
  return out;
}

/** Tagged words where there are any, runs of non-space elsewhere. */
function cutWords(run) {
  const { text, spans, T, words, wordPos } = run, units = [];
  let at = 0, token = 0, gap = 0;
  const unit = (start, end) => {
    while (token < T - 1 && spans[2 * token + 1] <= start) token++;
    const parts = [];
    for (let j = token; j < T && spans[2 * j] < end;) {
      let k = j;
      while (k + 1 < T && spans[2 * k + 2] === spans[2 * j] && spans[2 * k + 3] === spans[2 * j + 1]) k++;
      const a = Math.max(start, spans[2 * j]), b = Math.min(end, spans[2 * j + 1]);
      if (b > a) parts.push({ start: a, end: b, first: j, last: k });
      j = k + 1;
    }
    if (!parts.length) return;
    units.push({ gap, start, end, parts });
    gap = end;
  };
  const loose = (start, end) => {
    for (const m of text.slice(start, end).matchAll(/\S+/gu)) unit(start + m.index, start + m.index + m[0].length);
  };
  for (let w = 0; w < wordPos.length; w++) {
    if (words[4 * w] < at) continue;
    loose(at, words[4 * w]);
    unit(words[4 * w], words[4 * w + 1]);
    at = words[4 * w + 1];
  }
  loose(at, text.length);
  return units;
}

/** Entries held per layer and step, counting only tokens that the filter lets through. */
function count(run, mask) {
  const { L, T, Q, death } = run, held = new Int32Array(L * Q), total = new Int32Array(Q), read = new Int32Array(Q);
  for (let l = 0; l < L; l++) {
    const diff = new Int32Array(Q + 1);
    for (let j = 0; j < T && j < Q; j++) {
      if (!mask[j]) continue;
      diff[j]++; diff[Math.min(Q, death[l * T + j])]--;
    }
    for (let t = 0, n = 0; t < Q; t++) { n += diff[t]; held[l * Q + t] = n; total[t] += n; }
  }
  for (let t = 0, n = 0; t < Q; t++) { n += mask[t]; read[t] = n; }
  return { held, total, read };
}

/** How near each token of one layer is to being dropped: gate logits compare within a layer only.

dropped, kept: the sorted gate logits of both; close[j]: 0 (far) to 255 (what is dropped later). */
function rank(run, l) {
  const { T, death } = run, margin = run.margin.subarray(l * T, (l + 1) * T), close = new Uint8Array(T);
  const judged = Int32Array.from({ length: T }, (_, j) => j).filter((j) => margin[j] === margin[j]).sort((a, b) => margin[a] - margin[b]);
  const gone = judged.filter((j) => death[l * T + j] !== ALIVE), alive = judged.filter((j) => death[l * T + j] === ALIVE);
  for (const j of gone) close[j] = 255;
  alive.forEach((j, i) => { close[j] = Math.round(220 * (1 - i / Math.max(1, alive.length - 1))); });
  return { dropped: Float32Array.from(gone, (j) => margin[j]), kept: Float32Array.from(alive, (j) => margin[j]), close };
}
