/** The form of the payload that this view reads: VERSION of dcp/viewer/payload.py. */
export const VERSION = 1;

/** Why a payload cannot be shown, in a sentence; "" where it can. */
export function refusal({ version }) {
  if (version === VERSION) return "";
  const found = Number.isInteger(version) ? `version ${version}` : "no version";
  return version > VERSION
    ? `This run comes from a newer dcp (its data is ${found}, this view reads version ${VERSION}): update dcp, or open the run where it was made.`
    : `This run comes from an older dcp (its data has ${found}, this view reads version ${VERSION}): make the page again with “dcp view”, or reload the app.`;
}

function array(base64, Type) {
  const raw = atob(base64 || "");
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new Type(bytes.buffer);
}

/** The dial's settings; the run's own one is the run itself. */
const withOwn = (p) =>
  p.dial.settings.map((setting, i) =>
    i === p.dial.at
      ? {
          ...setting,
          death: p.death,
          margin: p.margin,
          logprob: p.logprob,
          allocated: p.memory.kv_bytes_held,
        }
      : setting,
  );

export function unpack(p) {
  const T = p.tokens,
    L = p.layers,
    Q = p.queries;
  const run = {
    id: p.id,
    T,
    L,
    Q,
    prompt: p.prompt,
    text: p.text,
    running: !!p.running,
    play: !!p.play,
    dimmed: !!p.dimmed,
    memory: p.memory || {},
    speed: p.speed || {},
    allocated: p.memory?.kv_bytes_held,
    line: p.line || "",
    dial: p.dial?.settings ? { ...p.dial, settings: withOwn(p) } : null,
    turned: p.dial?.at,
    written: p.written || {},
    link: p.link || null,
    model: p.model || "",
    // The policy that decided in place of the gates.
    rule: p.rule || "",
    // A rule decides after each step, alone or beside the gates.
    ruled: !!p.ruled,
    rows: p.rows || null,
    label: p.label || "",
    machine: p.machine || "",
    nearTie: p.near_tie,
    names: p.names || {},
    groupNames: p.group_names,
    domain: Math.max(T, p.planned || 0),
    spans: array(p.spans, Int32Array),
    death: array(p.death, Int32Array),
    margin: array(p.margin, Float32Array),
    logprob: array(p.logprob, Float32Array),
    posLabels: p.pos_labels,
    posGroup: p.pos_group,
    words: array(p.words, Int32Array),
    wordPos: array(p.word_pos, Uint8Array),
  };
  // The deaths of the run itself, whatever the dial shows.
  run.ran = run.death;
  // What the same tokens cost with nothing dropped, where somebody has read them so.
  const off = run.dial?.settings.find(({ shift, death }) => shift === null && death);
  run.full = off ? array(off.logprob, Float32Array) : null;
  run.wordOf = new Int32Array(T).fill(-1);
  for (let w = 0; w < run.wordPos.length; w++) {
    for (let j = run.words[4 * w + 2]; j <= run.words[4 * w + 3]; j++)
      if (run.wordOf[j] < 0) run.wordOf[j] = w;
  }
  // Group 5 means "not tagged": whitespace, or a word the tagger has not seen yet.
  run.group = new Uint8Array(T);
  for (let j = 0; j < T; j++)
    run.group[j] = run.wordOf[j] < 0 ? 5 : run.posGroup[run.wordPos[run.wordOf[j]]];
  sortDrops(run);
  return run;
}

/** Drops by (layer, step), for `dropped`. */
function sortDrops(run) {
  const { L, T, Q } = run;
  // order[first[l*(Q+1)+t] .. first[l*(Q+1)+t+1]] are the tokens dropped then.
  run.first = new Int32Array(L * (Q + 1) + 1);
  run.order = new Int32Array(L * T);
  for (let l = 0, at = 0; l < L; l++) {
    const count = new Int32Array(Q + 1);
    for (let j = 0; j < T; j++) count[Math.min(Q, run.death[l * T + j])]++;
    for (let t = 0; t <= Q; t++) {
      run.first[l * (Q + 1) + t] = at;
      const n = count[t];
      count[t] = at;
      at += n;
    }
    for (let j = 0; j < T; j++) run.order[count[Math.min(Q, run.death[l * T + j])]++] = j;
  }
}

/** The same tokens under other deaths: a setting of the dial. */
export function reread(run, { death, margin, logprob, allocated }) {
  run.death = array(death, Int32Array);
  run.margin = array(margin, Float32Array);
  run.logprob = array(logprob, Float32Array);
  run.allocated = allocated;
  sortDrops(run);
}

/** The tokens that layer l dropped at step t. */
export function dropped(run, l, t) {
  const at = l * (run.Q + 1) + t;
  return run.order.subarray(run.first[at], run.first[at + 1]);
}

/** Whether a rule dropped token j from layer l: it leaves no gate logit, a gate that closes does. */
export const byRule = (run, l, j) => run.ruled && Number.isNaN(run.margin[l * run.T + j]);

/** The tokens that layer l let go because of step t: by a gate then, or by a rule right after it. */
export const decided = (run, l, t) => [
  ...dropped(run, l, t).filter((j) => !byRule(run, l, j)),
  ...(t + 1 < run.Q ? dropped(run, l, t + 1).filter((j) => byRule(run, l, j)) : []),
];

/** The layer that holds the most usual number of entries at the end: the first one to look at. */
export function middling({ L, T, Q, death }) {
  const held = Array.from({ length: L }, (_, l) => {
    let n = 0;
    for (let j = 0; j < Q; j++) n += death[l * T + j] >= Q;
    return n;
  });
  const order = held.map((_, l) => l).sort((a, b) => held[a] - held[b] || a - b);
  return order[L >> 1] || 0;
}
