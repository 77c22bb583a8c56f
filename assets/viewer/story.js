// What is said in words: the counters above the text, the story of a token, the tip at the pointer.

const DEFINITIONS = {
  dropped: "Share of the tokens read so far that can no longer be attended to, averaged over layers; the range is from the most retentive layer to the most forgetful.",
  memory: "Live: rows of keys, values and gate keys visible at this step. Held: memory kept for them at the latest step. Dense: what a model that forgets nothing needs for the same tokens.",
  speed: "Generated tokens per second: over the last second or so, and the mean over the run.",
  first: "From beginning to read your text to the first new token, with the model already loaded; and the resident memory of the whole server process.",
};

function makeTile(key) {
  const value = node("b"), note = node("span"), meter = node("div", "meter"), under = node("i", "under"), over = node("i");
  const what = button("?", "what", null), def = node("span", "def", DEFINITIONS[key]);
  what.setAttribute("aria-label", `What this counter means: ${DEFINITIONS[key]}`);
  const box = node("div", "tile", value, note);
  if (key === "dropped" || key === "memory") { meter.append(under, over); box.append(meter); }
  box.append(what, def);
  return { box, value, note, over, under };
}

function drawTiles({ run, state, whole, tile }) {
  const s = state.step, L = run.L, dense = L * (s + 1);
  if (!run.Q) return;
  let low = 1, high = 0;
  for (let l = 0; l < L; l++) { const d = 1 - whole.held[l * run.Q + s] / (s + 1); low = Math.min(low, d); high = Math.max(high, d); }
  const gone = 1 - whole.total[s] / dense, m = run.memory, put = (t, value, note, over, under) => {
    write(t.value, value);
    write(t.note, note);
    if (over !== undefined) t.over.style.width = `${(100 * over).toFixed(1)}%`;
    if (under !== undefined) t.under.style.width = `${(100 * Math.min(1, under)).toFixed(1)}%`;
  };
  put(tile.dropped, percent(gone), `dropped after ${s + 1} tokens\nlayers from ${(100 * low).toFixed(0)} to ${percent(high)}`, gone);
  const live = whole.total[s] * m.row_bytes, all = dense * m.kv_bytes_per_entry, held = s === run.Q - 1 ? m.kv_bytes_held : NaN;
  put(tile.memory, bytes(live), `KV live, of ${bytes(all)} dense\n${m.kv_bytes_held >= 0 ? `${bytes(m.kv_bytes_held)} held at the latest step` : ""}`, clamp(live / all, 0, 1), held >= 0 ? held / all : 0);
  const sp = run.speed, rate = (v) => (v > 0 ? `${v >= 100 ? v.toFixed(0) : v.toFixed(1)}` : "–");
  put(tile.speed, `${rate(run.running ? sp.now : sp.mean)} tok/s`, `${run.running ? "now" : "mean of the run"}\n${run.running ? `${rate(sp.mean)} mean` : "while generating"}`);
  put(tile.first, sp.first > 0 ? `${sp.first < 1 ? `${(1000 * sp.first).toFixed(0)} ms` : `${sp.first.toFixed(2)} s`}` : "–", `to the first new token\n${sp.process ? `${bytes(sp.process)} whole process` : "reading included"}`);
}

const piece = (run, j) => run.names[j] || legible(run.text.slice(run.spans[2 * j], run.spans[2 * j + 1]));
const speech = (run, j) => (run.wordOf[j] < 0 ? "not tagged" : run.posLabels[run.wordPos[run.wordOf[j]]]);

function quote(run, j) {
  const b = node("b"), i = node("bdi");
  i.textContent = piece(run, j);
  b.append("“", i, "”");
  return b;
}

/** A quoted token that a click makes the chosen one. */
function link(view, j) {
  const b = button("", "tok", () => view.pick(j, true));
  b.append(quote(view.run, j));
  b.setAttribute("aria-label", `${piece(view.run, j)}: show this token's story`);
  return b;
}

const list = (view, tokens, most) => tokens.slice(0, most).flatMap((j, i) => [i ? ", " : "", link(view, j)]).concat(tokens.length > most ? [` and ${tokens.length - most} more`] : []);

function drawStory(view) {
  const { run, state } = view, key = `${run.id}|${run.T}|${state.step}|${state.layer}|${state.token}|${run.wordPos.length}`;
  if (key === view.told || !run.Q) return;
  view.told = key;
  view.story.replaceChildren(...(state.token >= 0 ? tokenStory(view, state.token) : stepStory(view)));
  // Only a new story begins at its top: asking for it at every step would lay out the page each time.
  if (view.toldToken !== state.token) view.story.scrollTop = 0;
  view.toldToken = state.token;
}

function tokenStory(view, j) {
  const { run, state } = view, { L, T, Q } = run, s = state.step, l = state.layer, out = [quote(run, j), ` · ${speech(run, j)} · `];
  if (j > s) return [...out, j < Q ? `will be read at step ${j}.` : "the last sampled token: it has not been read, so nothing can drop it yet."];
  out.push(j < run.prompt ? `you wrote it, read at step ${j}. ` : `the model wrote it, read at step ${j}. `);
  const gone = [];
  for (let i = 0; i < L; i++) if (run.death[i * T + j] <= s) gone.push(i);
  gone.sort((a, b) => (b === l) - (a === l) || a - b);
  gone.slice(0, 3).forEach((i, n) => { const d = run.death[i * T + j]; out.push(n ? "; " : "Dropped in ", i === l ? node("b", "", `layer ${i}`) : `layer ${i}`, ` at step ${d}, when `, link(view, d), " was read"); });
  if (gone.length > 3) out.push(`; and in ${gone.length - 3} more`);
  if (gone.length) out.push(". ");
  out.push(`At step ${s} held in ${L - gone.length} of ${L} layers. `);
  return [...out, ...reverse(view, j)];
}

/** The other way round: what was dropped when token j was read. */
function reverse(view, j) {
  const { run, state } = view, { L } = run, l = state.layer, here = [...dropped(run, l, j)];
  let all = 0, layers = 0;
  for (let i = 0; i < L; i++) { const n = dropped(run, i, j).length; all += n; layers += n > 0 && i !== l; }
  if (!all) return [node("span", "quiet", "Reading it dropped nothing.")];
  const others = all - here.length, rest = others ? `${here.length ? ", and " : ""}${plural(others, "entry", "entries")} in ${plural(layers, "other layer", "other layers")}` : "";
  return ["Reading it dropped ", ...list(view, here, 6), here.length ? " in " : "", here.length ? node("b", "", `layer ${l}`) : "", `${rest}.`];
}

function stepStory(view) {
  const { run, state } = view, { L } = run, s = state.step, l = state.layer, here = [...dropped(run, l, s)];
  let all = 0;
  for (let i = 0; i < L; i++) all += dropped(run, i, s).length;
  return [
    `At step ${s} `, link(view, s), " was read and ", node("b", "", `layer ${l}`), here.length ? " dropped " : " dropped nothing", ...list(view, here, 8), ". ",
    node("span", "quiet", `${all ? `All ${L} layers together dropped ${plural(all, "entry", "entries")} here.` : "No layer dropped anything here."} Choose a word or a cell for its story.`),
  ];
}

function drawTip(view) {
  const { run, state, tip, hover, geo } = view;
  if (!hover || hover.panel === "memory" || view.dragging || hover.token >= run.T) { if (!tip.hidden) tip.hidden = true; view.tipped = ""; return; }
  const j = hover.token, l = hover.layer, s = state.step, key = `${run.id}|${run.T}|${j}|${l}|${s}`;
  if (key !== view.tipped) { view.tipped = key; tip.replaceChildren(...tell(view, j, l, s)); }
  tip.hidden = false;
  const width = tip.offsetWidth, height = tip.offsetHeight, right = hover.x + 16 + width < geo.W;
  tip.style.left = `${clamp(right ? hover.x + 16 : hover.x - width - 16, 0, Math.max(0, geo.W - width))}px`;
  tip.style.top = `${hover.panel === "text" ? hover.y + 18 : clamp(hover.y - height / 2, 0, geo.H - height)}px`;
}

/** Everything known about one token in one layer, up to what the run as a whole says. */
function tell(view, j, l, s) {
  const { run } = view, { T, Q, death } = run, d = death[l * T + j], w = run.wordOf[j], m = run.margin[l * T + j], out = [];
  const word = w < 0 ? "" : legible(run.text.slice(run.words[4 * w], run.words[4 * w + 1])), head = node("div", "", quote(run, j));
  if (word && word !== piece(run, j)) { const b = node("bdi", "", word); head.append(" in “", b, "”"); }
  head.append(` · ${speech(run, j)}`);
  out.push(head, node("div", "quiet", `token ${j} · layer ${l} · ${j < run.prompt ? "you wrote it" : "the model wrote it"}`));
  if (j >= Q) out.push(node("div", "", "sampled last: not read yet"));
  else if (d === ALIVE) out.push(node("div", "", `read at step ${j}, held to the end`));
  else out.push(node("div", "", `read at step ${j}; dropped at step ${d}${d > s ? " (still to come)" : ""}, when `, quote(run, d), ` was read, at age ${d - j}`));
  if (m === m) {
    const r = view.rank(l), gone = d !== ALIVE, pool = gone ? r.dropped : r.kept, lower = search(pool.length, (i) => pool[i], m), value = m.toFixed(Math.abs(m) < 0.1 ? 4 : 2).replace("-", "−");
    const others = Math.max(1, pool.length - 1);
    let note = gone ? `a clearer drop than ${percent((pool.length - 1 - lower) / others)} of this layer’s drops` : `closer to a drop than ${percent((pool.length - 1 - lower) / others)} of what this layer holds`;
    if (pool.length < 2) note = "no other in this layer to compare with";
    if (run.nearTie && Math.abs(m) < run.nearTie) note = "a near tie, inside the float budget";
    out.push(node("div", "quiet", `${gone ? "gate logit at the drop" : "smallest gate logit so far"} ${value}: ${note}`));
  } else if (j < Q) out.push(node("div", "quiet", "no gate has judged it yet"));
  const p = run.logprob[j];
  if (p === p && j > 0) out.push(node("div", "quiet", `the model gave it ${p > Math.log(0.01) ? percent(Math.exp(p)) : `${(100 * Math.exp(p)).toPrecision(1)} %`} before reading it`));
  return out;
}
