// Built from web/ by "make web"; sources 9924aba4c1f4299e.

// viewer/hello.js
var RUN = "dcp run";
var TOUR = "dcp tour";
var KEYS = [
  ...["text", "model", "new", "temperature", "seed", "shift"],
  ...["policy", "budget", "settings", "instruction", "vocabulary", "kv_dtype"],
  ...["layer", "step", "token"]
];
var said = false;
function hello(data, tell2) {
  if (!said) {
    said = true;
    tell2({ toured: !!stored(() => localStorage.getItem(TOUR)), link: asked() });
  }
  if (data?.toured) stored(() => localStorage.setItem(TOUR, "1"));
  if (data?.link?.text)
    stored(() => sessionStorage.setItem(RUN, new URLSearchParams(data.link).toString()));
  else if (data && !data.running && !data.dimmed) stored(() => sessionStorage.removeItem(RUN));
}
function stored(act) {
  try {
    return act();
  } catch {
    return null;
  }
}
function asked() {
  const link2 = named(location.hash.slice(1));
  if (link2) return link2;
  const [way] = performance.getEntriesByType("navigation");
  return way?.type === "reload" ? named(stored(() => sessionStorage.getItem(RUN))) : null;
}
function named(query) {
  const found = new URLSearchParams(query || "");
  if (!found.get("text")) return null;
  return Object.fromEntries(KEYS.flatMap((key) => found.has(key) ? [[key, found.get(key)]] : []));
}

// viewer/pixels.js
var parse = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
var pack = ([r, g, b], a = 255) => (a << 24 | b << 16 | g << 8 | r) >>> 0;
var between = (a, b, f) => a.map((v, i) => Math.round(v + (b[i] - v) * f));
var ramp = (a, b) => Uint32Array.from({ length: 256 }, (_, i) => pack(between(a, b, i / 255)));
var tint = (colour, alpha) => (colour & 16777215 | Math.round(alpha * 255) << 24) >>> 0;
var share = (colour, part) => tint(colour, 0.15 + 0.85 * part);
var Pixels = class {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.ctx = this.canvas.getContext("2d");
    this.image = null;
  }
  /** The pixels [h, w] of this size: cleared, unless all of them are to be written anyway. */
  size(w, h, clear = true) {
    w = Math.max(1, w);
    h = Math.max(1, h);
    if (!this.image || this.image.width !== w || this.image.height !== h) {
      this.canvas.width = w;
      this.canvas.height = h;
      this.image = this.ctx.createImageData(w, h);
      this.out = new Uint32Array(this.image.data.buffer);
    } else if (clear) this.out.fill(0);
    return this.out;
  }
  show(rows = this.canvas.height) {
    this.ctx.putImageData(this.image, 0, 0, 0, 0, this.canvas.width, rows);
  }
};

// viewer/dom.js
function node(tag, className, ...children) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  for (const c of children) e.append(c);
  return e;
}
function button(label, className, act) {
  const e = node("button", className, label);
  e.type = "button";
  e.onclick = act;
  return e;
}
function group(role, className, name, ...children) {
  const e = node("div", className, ...children);
  e.setAttribute("role", role);
  e.setAttribute("aria-label", name);
  return e;
}
function oneStop(buttons, move) {
  for (const [i, b] of buttons.entries()) {
    b.tabIndex = i ? -1 : 0;
    b.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      const next = buttons[(i + by + buttons.length) % buttons.length];
      for (const other of buttons) other.tabIndex = other === next ? 0 : -1;
      next.focus();
      move(next);
    });
  }
}
function panel(className, summary, ...children) {
  const e = node("details", className, summary, ...children), away = (event) => {
    if (!e.isConnected || !event.composedPath().includes(e)) e.open = false;
  };
  e.addEventListener("toggle", () => {
    const page = e.ownerDocument;
    if (e.open) page.addEventListener("pointerdown", away, true);
    else page.removeEventListener("pointerdown", away, true);
  });
  e.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !e.contains(event.relatedTarget)) e.open = false;
  });
  e.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !e.open) return;
    e.open = false;
    summary.focus();
    event.stopPropagation();
  });
  return e;
}
function write(e, text) {
  if (e.textContent !== text) e.textContent = text;
}
function attribute(e, name, value) {
  if (e.getAttribute(name) !== value) e.setAttribute(name, value);
}

// viewer/choices.js
var CHOICES = {
  text: [
    "bars show",
    [
      ["share", "all layers"],
      ["layer", "this layer"]
    ]
  ],
  grain: [
    "by",
    [
      ["token", "token"],
      ["word", "word"],
      ["sentence", "sentence"]
    ]
  ],
  density: [
    "set",
    [
      ["tight", "tight"],
      ["normal", "normal"],
      ["airy", "airy"]
    ]
  ],
  colour: [
    "colour",
    [
      ["state", "state"],
      ["age", "age"],
      ["span", "held for"],
      ["close", "closeness"]
    ]
  ],
  life: [
    "lifelines",
    [
      ["lives", "lives"],
      ["age", "age"],
      ["every", "every layer"]
    ]
  ],
  arcs: [
    "arcs",
    [
      ["off", "off"],
      ["on", "on"]
    ]
  ],
  speed: [
    "speed",
    [
      [0.5, "½×"],
      [1, "1×"],
      [2, "2×"],
      [4, "4×"]
    ]
  ]
};
var RELAYS = { grain: true, density: true };
function choice(view, key) {
  const [name, values] = CHOICES[key], title = node("span", "", name), set = group("radiogroup", "seg", name, title);
  title.setAttribute("aria-hidden", "true");
  set.dataset.key = key;
  const buttons = values.map(([value, label]) => {
    const b = button(label, "", () => view.set(key, value));
    b.setAttribute("role", "radio");
    b.value = value;
    set.append(b);
    return b;
  });
  oneStop(buttons, (b) => b.click());
  view.choices[key] = buttons;
  return set;
}
function showChoices({ choices, state }) {
  for (const [key, buttons] of Object.entries(choices))
    for (const b of buttons) {
      const on = b.value === String(state[key]);
      b.setAttribute("aria-checked", String(on));
      b.tabIndex = on ? 0 : -1;
    }
}
function filters(view) {
  const set = group("toolbar", "keys chips", "Filter by part of speech");
  view.chip = [0, 1, 2, 3, 4].map((g) => {
    const b = button("", "chip", () => {
      view.state.groups ^= 1 << g;
      view.refilter();
    }), dot = node("i"), name = node("span");
    dot.style.background = `var(--p${g})`;
    b.append(dot, name);
    set.append(b);
    return { b, name };
  });
  oneStop(
    view.chip.map(({ b }) => b),
    () => {
    }
  );
  return set;
}
var FIRST = {
  step: 0,
  layer: -1,
  token: -1,
  text: "share",
  grain: "word",
  density: "normal",
  colour: "state",
  life: "lives",
  arcs: "off",
  speed: 1,
  groups: 0,
  follow: true,
  placed: null,
  open: -1,
  shift: void 0
};

// viewer/values.js
var ALIVE = 2147483647;
var clamp = (v, lo, hi) => Math.max(lo, Math.min(hi, v));
var percent = (v, digits = 0) => `${(100 * v).toFixed(digits)} %`;
var plural = (n, one, many) => `${n} ${n === 1 ? one : many}`;
var brief = (n) => n < 1e3 ? String(n) : `${(n / 1e3).toFixed(n < 1e4 ? 1 : 0)}k`;
function bytes(n) {
  if (!(n >= 0)) return "–";
  const units = ["B", "KiB", "MiB", "GiB"];
  let i = 0;
  while (n >= 1024 && i < 3) {
    n /= 1024;
    i++;
  }
  return `${n >= 100 || i === 0 ? n.toFixed(0) : n.toFixed(1)} ${units[i]}`;
}
function search(n, key, value) {
  let lo = 0, hi = n;
  while (lo < hi) {
    const mid = lo + hi >> 1;
    if (key(mid) < value) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}

// shared/legible.js
var HIDING = (
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g
);
var RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;
var isolate = (text) => RIGHT_TO_LEFT.test(text) ? `⁨${text}⁩` : text;
function legible(text) {
  const shown = text.replace(/\r?\n/g, "⏎").replace(/\t/g, "⇥").replace(HIDING, "�");
  return shown.trim() || (shown ? "␣" : "·");
}

// viewer/words.js
var piece = (run, j) => legible(run.names[j] || run.text.slice(run.spans[2 * j], run.spans[2 * j + 1]));
var speech = (run, j) => run.wordOf[j] < 0 ? "not tagged" : run.posLabels[run.wordPos[run.wordOf[j]]];
function quote(run, j) {
  const b = node("b"), i = node("bdi");
  i.textContent = piece(run, j);
  b.append("“", i, "”");
  return b;
}
function link(view, j) {
  const b = button("", "tok", () => view.pick(j, true));
  b.append(quote(view.run, j));
  b.setAttribute("aria-label", `${isolate(piece(view.run, j))}: show this token's story`);
  return b;
}
var list = (view, tokens, most) => tokens.slice(0, most).flatMap((j, i) => [i ? ", " : "", link(view, j)]).concat(tokens.length > most ? [` and ${tokens.length - most} more`] : []);

// viewer/findings.js
var FEW = 12;
var STANDS_OUT = 1.5;
var LINE = /\n/;
var STOP = /^\s*[.!?…。！？]+["'”’)\]]*\s*$/u;
var WORD = /[\p{L}\p{N}]/u;
var MARK = /^\s*\p{P}+\s*$/u;
var KINDS = {
  "Full stops": (text) => STOP.test(text),
  "Line breaks": (text) => LINE.test(text),
  "Commas and other marks": (text) => MARK.test(text) && !STOP.test(text),
  "New sentences": (_, opens) => opens
};
var ENDS = ["Full stops", "Line breaks"];
function findings(run, whole) {
  const all = whole.drops.reduce((a, b) => a + b, 0);
  if (run.Q < FEW) return [];
  if (!all)
    return [
      { parts: [["Nothing is dropped"], ": every layer holds the whole text."], step: run.Q - 1 }
    ];
  return [
    trigger(run, askedBy(run, whole.drops), all),
    largest(run, whole.drops),
    layers(run, whole)
  ];
}
var askedBy = (run, drops) => run.rule ? drops.map((_, t) => drops[t + 1] ?? 0) : drops;
function openings(pieces) {
  let ended = false, apart = false;
  return pieces.map((piece2) => {
    const word = WORD.test(piece2), opens = word && ended && (apart || /^\s/.test(piece2));
    if (STOP.test(piece2)) {
      ended = true;
      apart = /\s$|[。！？]/u.test(piece2);
    } else if (word) ended = false;
    else apart ||= /\s/.test(piece2);
    return opens;
  });
}
function trigger(run, drops, all) {
  const text = Array.from(
    { length: run.Q },
    (_, t) => run.text.slice(run.spans[2 * t], run.spans[2 * t + 1])
  ), opens = openings(text), kind = (name2, is) => weigh(
    name2,
    text.flatMap((piece2, t) => is(piece2, opens[t]) ? [t] : []),
    drops,
    all
  ), strong = Object.entries(KINDS).map(([name2, is]) => kind(name2, is)).filter(({ steps: steps2, times: times2 }) => steps2.length >= 2 && times2 >= STANDS_OUT).sort((a, b) => b.sum - a.sum);
  if (!strong.length)
    return {
      parts: [
        ["Drops come evenly"],
        `: reading a mark drops no more than reading a word. The mean is ${(all / run.Q).toFixed(1)} entries a step.`
      ],
      step: drops.indexOf(Math.max(...drops))
    };
  const ends = strong.filter(({ name: name2 }) => ENDS.includes(name2)), both = (piece2) => STOP.test(piece2) || LINE.test(piece2), { name, steps, sum, times } = ends.length === 2 && ENDS.includes(strong[0].name) ? kind("Full stops and line breaks", both) : strong[0], many = times > 50 ? "over 50" : times.toFixed(times < 10 ? 1 : 0), whose = name === "New sentences" ? "first words drop " : "";
  return {
    parts: [
      [`${name} clear the memory`],
      `: ${whose}${many} times what others ${whose ? "do" : "drop"}, ${percent(sum / all)} of all in ${percent(steps.length / run.Q)} of steps.`
    ],
    step: steps.reduce((a, b) => drops[b] > drops[a] ? b : a)
  };
}
function weigh(name, steps, drops, all) {
  const sum = steps.reduce((n, t) => n + drops[t], 0), rest = (all - sum) / Math.max(1, drops.length - steps.length);
  return { name, steps, sum, times: sum / Math.max(1, steps.length) / Math.max(rest, 1e-9) };
}
function largest(run, drops) {
  const step = drops.reduce((best, n, t) => n > drops[best] ? t : best, 0);
  let inLayers = 0;
  for (let l = 0; l < run.L; l++) {
    const at = l * (run.Q + 1) + step;
    inLayers += run.first[at + 1] > run.first[at];
  }
  const when = run.rule ? `after “${piece(run, step - 1)}”` : `when “${piece(run, step)}”`;
  return {
    parts: [
      [`The largest drop: ${plural(drops[step], "entry", "entries")}`],
      ` at once, in ${inLayers} of ${run.L} layers, ${when} was read.`
    ],
    step
  };
}
function layers(run, { held }) {
  const last2 = run.Q - 1, kept = Array.from({ length: run.L }, (_, l) => held[l * run.Q + last2]), most = kept.indexOf(Math.max(...kept)), least = kept.indexOf(Math.min(...kept)), share2 = (l) => percent(kept[l] / run.Q);
  if (run.L < 2)
    return {
      parts: [[`Layer ${most} holds ${share2(most)}`], " of what it has read."],
      step: last2,
      layer: most
    };
  if (kept[most] - kept[least] < run.Q / 10)
    return {
      parts: [
        ["Layers are alike"],
        `: each keeps ${share2(least)} to ${share2(most)} of what it has read.`
      ],
      step: last2
    };
  return {
    parts: [
      [`Layers differ: layer ${least} keeps ${share2(least)}`],
      ` of what it has read, layer ${most} keeps ${share2(most)}.`
    ],
    step: last2,
    layer: least
  };
}

// viewer/findings_box.js
function showFindings(view) {
  const found = findings(view.run, view.whole);
  view.findings.replaceChildren(
    ...found.map(({ parts, step, layer }) => {
      const b = node("button", "finding");
      b.type = "button";
      const sentence = node("span", "sentence");
      for (const part of parts)
        sentence.append(Array.isArray(part) ? node("b", "", part[0]) : part);
      b.title = sentence.textContent;
      b.append(sentence, node("span", "to", `step ${step}`));
      b.onclick = () => {
        view.stop();
        if (layer !== void 0) view.setLayer(layer);
        view.go(step);
      };
      return b;
    })
  );
}

// viewer/legend.js
var RAMPS = {
  age: ["--young", "--old", "held: newest to oldest"],
  span: ["--short", "--long", "held for: few to many steps in all"],
  close: [
    "--safe",
    "--close",
    "held: far from to near a drop (smallest gate logit, ranked in its layer; deepest: dropped later)"
  ]
};
function drawLegend(view) {
  const { state, run } = view;
  showChoices(view);
  view.box.dataset.density = state.density;
  view.chip.forEach(({ b, name }, g) => {
    b.setAttribute("aria-pressed", String(!!(state.groups & 1 << g)));
    if (run) name.textContent = run.groupNames[g];
  });
  view.keys.replaceChildren(...bars(state), ...cells(state, run?.rule));
}
function item(kind, background, label) {
  const i = node("i", kind);
  i.style.background = background;
  return node("span", "", i, label);
}
function bars({ text, layer }) {
  const all = text === "share", part = all ? "linear-gradient(90deg, var(--held) 60%, var(--empty) 0)" : "var(--held)";
  return [
    item("part", part, all ? "bar: layers that hold it" : `bar: layer ${layer} holds it`),
    node(
      "span",
      "",
      node("s", "", "word"),
      all ? " dropped by all layers" : ` dropped by layer ${layer}`
    ),
    node("span", "", node("span", "bare", "word"), " no bar: not read yet")
  ];
}
function cells({ colour }, rule) {
  const ramp2 = RAMPS[colour];
  const held = rule && colour === "close" ? item("", "var(--safe)", "held; no gate says how near to a drop") : ramp2 ? item("ramp", `linear-gradient(90deg, var(${ramp2[0]}), var(${ramp2[1]}))`, ramp2[2]) : item("", "var(--held)", "held");
  return [
    held,
    item("notch", "var(--drop)", "dropped at this step"),
    item("thin", "var(--gone)", "dropped earlier"),
    item("edge", "none", "chosen: at its drop"),
    item("dash", "none", "at its reading")
  ];
}

// viewer/run.js
var VERSION = 1;
function refusal({ version }) {
  if (version === VERSION) return "";
  const found = Number.isInteger(version) ? `version ${version}` : "no version";
  return version > VERSION ? `This run comes from a newer dcp (its data is ${found}, this view reads version ${VERSION}): update dcp, or open the run where it was made.` : `This run comes from an older dcp (its data has ${found}, this view reads version ${VERSION}): make the page again with “dcp view”, or reload the app.`;
}
function array(base64, Type) {
  const raw = atob(base64 || "");
  const bytes2 = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes2[i] = raw.charCodeAt(i);
  return new Type(bytes2.buffer);
}
var withOwn = (p) => p.dial.settings.map(
  (setting, i) => i === p.dial.at ? {
    ...setting,
    death: p.death,
    margin: p.margin,
    logprob: p.logprob,
    allocated: p.memory.kv_bytes_held
  } : setting
);
function unpack(p) {
  const T = p.tokens, L = p.layers, Q = p.queries;
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
    wordPos: array(p.word_pos, Uint8Array)
  };
  run.ran = run.death;
  const off = run.dial?.settings.find(({ shift, death }) => shift === null && death);
  run.full = off ? array(off.logprob, Float32Array) : null;
  run.wordOf = new Int32Array(T).fill(-1);
  for (let w = 0; w < run.wordPos.length; w++) {
    for (let j = run.words[4 * w + 2]; j <= run.words[4 * w + 3]; j++)
      if (run.wordOf[j] < 0) run.wordOf[j] = w;
  }
  run.group = new Uint8Array(T);
  for (let j = 0; j < T; j++)
    run.group[j] = run.wordOf[j] < 0 ? 5 : run.posGroup[run.wordPos[run.wordOf[j]]];
  sortDrops(run);
  return run;
}
function sortDrops(run) {
  const { L, T, Q } = run;
  run.first = new Int32Array(L * (Q + 1) + 1);
  run.order = new Int32Array(L * T);
  for (let l = 0, at = 0; l < L; l++) {
    const count2 = new Int32Array(Q + 1);
    for (let j = 0; j < T; j++) count2[Math.min(Q, run.death[l * T + j])]++;
    for (let t = 0; t <= Q; t++) {
      run.first[l * (Q + 1) + t] = at;
      const n = count2[t];
      count2[t] = at;
      at += n;
    }
    for (let j = 0; j < T; j++) run.order[count2[Math.min(Q, run.death[l * T + j])]++] = j;
  }
}
function reread(run, { death, margin, logprob, allocated }) {
  run.death = array(death, Int32Array);
  run.margin = array(margin, Float32Array);
  run.logprob = array(logprob, Float32Array);
  run.allocated = allocated;
  sortDrops(run);
}
function dropped(run, l, t) {
  const at = l * (run.Q + 1) + t;
  return run.order.subarray(run.first[at], run.first[at + 1]);
}
var byRule = (run, l, j) => run.ruled && Number.isNaN(run.margin[l * run.T + j]);
var decided = (run, l, t) => [
  ...dropped(run, l, t).filter((j) => !byRule(run, l, j)),
  ...t + 1 < run.Q ? dropped(run, l, t + 1).filter((j) => byRule(run, l, j)) : []
];
function middling({ L, T, Q, death }) {
  const held = Array.from({ length: L }, (_, l) => {
    let n = 0;
    for (let j = 0; j < Q; j++) n += death[l * T + j] >= Q;
    return n;
  });
  const order = held.map((_, l) => l).sort((a, b) => held[a] - held[b] || a - b);
  return order[L >> 1] || 0;
}

// viewer/telling.js
var REST = 300;
function whereIs({ layer, step, token }) {
  return JSON.stringify({ layer, step, token: token < 0 ? null : token });
}
function settle(view) {
  clearTimeout(view.resting);
  if (view.playing || view.dragging) return;
  view.resting = setTimeout(() => {
    const { run, state } = view;
    if (view.playing || view.dragging || !run?.Q || run.running) return;
    view.canvas.setAttribute(
      "aria-label",
      `Layer by token heatmap, lifelines of layer ${state.layer} and entries held, at step ${state.step}. ${view.story.textContent}`
    );
    const here = whereIs(state);
    if (here === view.reported) return;
    view.reported = here;
    write(
      view.spoken,
      `Layer ${state.layer} holds ${view.counts.held[state.layer * run.Q + state.step]} of ${view.counts.read[state.step]}. ${view.story.textContent}`
    );
    view.options.report?.(JSON.parse(here));
  }, REST);
}
function summarise(view) {
  const { run } = view;
  let held = 0;
  for (let l = 0; l < run.L; l++)
    for (let j = 0; j < run.Q; j++) held += run.death[l * run.T + j] === ALIVE;
  write(
    view.summary,
    run.Q ? `${run.T} tokens, ${run.prompt} of them written by you, ${run.L} layers. At the last step, ${run.Q - 1}, the layers together hold ${held} of ${run.L * run.Q} entries.` : "Nothing has been read yet."
  );
  write(view.label, run.label);
}

// viewer/dial.js
function buildDial(view) {
  const range = view.range = node("input");
  range.type = "range";
  range.min = range.step = "1";
  range.setAttribute("aria-label", "How much is forgotten");
  view.dialSays = node("span", "says");
  view.dialBack = button("as it ran", "quietly back", () => {
    turn(view, view.run.dial.at);
    sync(view);
  });
  view.dialBack.title = "Back to the setting that the text was written with";
  view.dial = node("div", "dial", node("label", "", "forgetting", range), view.dialSays);
  view.dial.append(view.dialBack);
  view.dial.hidden = true;
  range.addEventListener("input", () => turn(view, Number(range.value)));
  range.addEventListener("change", () => letGo(view));
}
function takeDial(view) {
  const { run, state } = view;
  view.dial.hidden = !run.dial;
  if (!run.dial) return;
  view.range.min = "0";
  view.range.max = String(run.dial.settings.length - 1);
  const left = run.dial.settings.findIndex(({ shift }) => shift === state.shift);
  if (state.shift !== void 0 && left >= 0 && left !== run.dial.at) turn(view, left);
  else sync(view);
}
function turn(view, i) {
  const { run, state } = view, setting = run.dial.settings[i];
  state.shift = setting.shift;
  view.range.value = String(i);
  if (setting.death && run.turned !== i) {
    view.stop();
    run.turned = i;
    reread(run, setting);
    view.ranks = [];
    view.spans = [];
    view.told = "";
    view.recount();
    drawLegend(view);
    summarise(view);
    showFindings(view);
    view.stale = true;
    view.draw();
  }
  sync(view);
}
function letGo(view) {
  const { run, state } = view, setting = run.dial.settings[Number(view.range.value)];
  if (!setting.death && view.options.ask && !run.dial.busy) {
    run.dial.busy = true;
    view.options.ask("dial", { shift: state.shift });
    sync(view);
  }
}
function sync(view) {
  const { run } = view, { settings, at, busy } = run.dial, left = settings.findIndex(({ shift }) => shift === view.state.shift), i = view.state.shift === void 0 || left < 0 ? at : left, setting = settings[i];
  view.range.value = String(i);
  const text = says(view, setting, i === at, busy);
  write(view.dialSays, text);
  view.range.setAttribute("aria-valuetext", text);
  view.dialBack.hidden = i === at;
}
function says({ run, whole }, setting, own, busy) {
  if (setting.death && setting.shift === null) return "nothing is dropped";
  if (setting.death || own) {
    const last2 = run.Q - 1, gone = last2 > 0 ? 1 - (whole.total[last2] - run.L) / (run.L * last2) : 0;
    return `${percent(gone, 1)} of this text dropped`;
  }
  if (busy) return "reading your text again …";
  const about = setting.shift === null ? "nothing dropped" : setting.expected ? `about ${percent(setting.expected)} dropped of ${lengthOf(setting, run)}` : "not measured";
  return `${about}: let go to read it so`;
}
var lengthOf = ({ length }, { Q }) => length === Q ? "a text this long" : `a text of ${length.toLocaleString("en")} tokens`;

// viewer/line.js
function buildLine(view) {
  view.line = node("p", "line");
}
function drawLine(view) {
  const { run, state } = view;
  const says2 = run.running && run.Q ? counted(run, state) : run.line;
  write(view.line, says2);
  if (view.line.title !== says2) view.line.title = says2;
}
function counted({ prompt, domain, T, Q, line }, { step, follow }) {
  if (Q < prompt)
    return `Reading your text: ${(follow ? step + 1 : Q).toLocaleString("en")} of ${prompt.toLocaleString("en")} tokens.`;
  const written = follow ? Math.max(0, Math.min(T, step + 2) - prompt) : T - prompt, planned = domain - prompt;
  return written >= planned && line ? line : `Writing: ${written} of ${planned} tokens.`;
}

// viewer/play_button.js
function showPlay(view) {
  const on = !!view.playing;
  view.playPath.setAttribute("d", on ? "M1 0h3v10H1zM6 0h3v10H6z" : "M1.5 0 9.5 5 1.5 10z");
  write(view.playLabel, on ? "Pause" : "Play");
  view.playButton.setAttribute("aria-label", on ? "Pause" : "Play the run step by step");
}

// viewer/units.js
function cut(run, grain) {
  const words2 = cutWords(run), named2 = (gap, start, end, parts) => ({
    gap,
    start,
    end,
    parts,
    key: `${gap},${start},${end},${parts.map((q) => `${q.first}-${q.last}`)}`
  });
  if (grain === "token")
    return words2.flatMap(
      ({ gap, parts }) => parts.map((q, i) => named2(i ? parts[i - 1].end : gap, q.start, q.end, [q]))
    );
  if (grain === "word")
    return words2.map(({ gap, start, end, parts }) => named2(gap, start, end, parts));
  const out = [];
  for (let from = 0, u = 0; u < words2.length; u++) {
    const { end } = words2[u], next = words2[u + 1], gap = next ? run.text.slice(end, next.start) : "\n";
    const stop2 = /[.!?…。！？]["'”’)\]]*$/u.test(
      run.text.slice(Math.max(words2[from].start, end - 4), end)
    );
    const seam = next && words2[u].parts[0].first < run.prompt && next.parts[0].first >= run.prompt;
    if (!/\n/.test(gap) && !(stop2 && /\s/.test(gap)) && !seam) continue;
    const inside = words2.slice(from, u + 1);
    out.push(
      named2(
        inside[0].gap,
        inside[0].start,
        end,
        inside.flatMap((w) => w.parts)
      )
    );
    from = u + 1;
  }
  return out;
}
function cutWords(run) {
  const { text, spans: spans2, T, words: words2, wordPos } = run, units = [];
  let at = 0, token = 0, gap = 0;
  const unit = (start, end) => {
    while (token < T - 1 && spans2[2 * token + 1] <= start) token++;
    const parts = [];
    for (let j = token; j < T && spans2[2 * j] < end; ) {
      let k = j, last2 = spans2[2 * j + 1];
      while (k + 1 < T && spans2[2 * k + 2] < last2 && spans2[2 * k + 2] < end) {
        k++;
        last2 = Math.max(last2, spans2[2 * k + 1]);
      }
      const a = Math.max(start, spans2[2 * j]), b = Math.min(end, last2);
      if (b > a) parts.push({ start: a, end: b, first: j, last: k });
      j = k + 1;
    }
    if (!parts.length) return;
    units.push({ gap, start, end, parts });
    gap = end;
  };
  const loose = (start, end) => {
    for (const m of text.slice(start, end).matchAll(/\S+/gu))
      unit(start + m.index, start + m.index + m[0].length);
  };
  for (let w = 0; w < wordPos.length; w++) {
    if (words2[4 * w] < at) continue;
    loose(at, words2[4 * w]);
    unit(words2[4 * w], words2[4 * w + 1]);
    at = words2[4 * w + 1];
  }
  loose(at, text.length);
  return units;
}

// viewer/frame.js
var SIZE = [1200, 676];
var EDGE = 48;
var LINE2 = 40;
var LINES = 7;
var TOP = 128;
var FONT = 25;
var places = /* @__PURE__ */ new WeakMap();
function still(view, ctx, step) {
  const { css } = view, [W, H] = SIZE;
  ctx.fillStyle = css.paper;
  ctx.fillRect(0, 0, W, H);
  ctx.textBaseline = "alphabetic";
  ctx.textAlign = "left";
  heading(view, ctx, step);
  words(view, ctx, step);
  cells2(view, ctx, step);
}
function heading({ run, css, sans, whole }, ctx, step) {
  const [W, H] = SIZE, gone = step ? 1 - (whole.total[step] - run.L) / (run.L * step) : 0, entry = run.memory.kv_bytes_per_entry;
  ctx.fillStyle = css.ink;
  ctx.font = `650 30px ${sans}`;
  ctx.fillText("What a language model forgets", EDGE, 66);
  ctx.font = `400 18px ${sans}`;
  ctx.fillStyle = css.soft;
  ctx.fillText(
    [run.model || "a pruned model", run.rule, `token ${step + 1} of ${run.Q}`].filter(Boolean).join(" · "),
    EDGE,
    96
  );
  ctx.textAlign = "right";
  ctx.fillStyle = css.ink;
  ctx.font = `650 30px ${sans}`;
  ctx.fillText(`${percent(gone, 1)} dropped`, W - EDGE, 66);
  ctx.font = `400 18px ${sans}`;
  ctx.fillStyle = css.soft;
  if (entry > 0)
    ctx.fillText(
      `KV live ${bytes(whole.total[step] * entry)} of ${bytes(run.L * (step + 1) * entry)} dense`,
      W - EDGE,
      96
    );
  ctx.textAlign = "left";
  ctx.font = `400 15px ${sans}`;
  ctx.fillText(
    "bar: layers that still hold the word · struck: no layer does · Dynamic Context Pruning, arXiv 2305.15805",
    EDGE,
    H - 20
  );
  ctx.textAlign = "left";
}
function words({ run, css }, ctx, step) {
  if (!places.has(run)) places.set(run, lay(run, cut(run, "word"), ctx));
  const laid = places.get(run), now = laid.find(({ unit }) => last(unit) >= step)?.line ?? 0, lines = laid.length ? laid[laid.length - 1].line + 1 : 0, from = Math.max(0, Math.min(now - LINES + 3, lines - LINES));
  for (const { unit, x, line, width } of laid) {
    if (line < from || line >= from + LINES) continue;
    const y = TOP + (line - from + 1) * LINE2 - 10, first = unit.parts[0].first, read = first <= step, share2 = read ? heldOf(run, unit, step) : 0, current = first <= step && last(unit) >= step;
    ctx.font = fontFor(run, unit);
    if (current) {
      ctx.fillStyle = css.ink;
      ctx.fillRect(x - 3, y - 24, width + 6, 32);
    }
    ctx.globalAlpha = read ? 0.5 + 0.5 * share2 : 0.4;
    ctx.fillStyle = current ? css.paper : css.ink;
    ctx.fillText(run.text.slice(unit.start, unit.end), x, y, width + 2);
    ctx.globalAlpha = 1;
    if (!read) continue;
    ctx.fillStyle = css["held-soft"];
    ctx.globalAlpha = 0.35;
    ctx.fillRect(x, y + 7, width, 4);
    ctx.globalAlpha = 1;
    ctx.fillStyle = css.held;
    ctx.fillRect(x, y + 7, width * share2, 4);
    if (share2 === 0 && !current) {
      ctx.fillStyle = css.soft;
      ctx.fillRect(x, y - 8, width, 2);
    }
  }
}
var fontFor = (run, { parts }) => `${parts[0].first >= run.prompt ? "italic" : "normal"} 400 ${FONT}px "Source Serif", Georgia, serif`;
var last = (unit) => unit.parts[unit.parts.length - 1].last;
function lay(run, units, ctx) {
  const [W] = SIZE, out = [];
  let x = EDGE, line = 0, from = 0;
  for (const unit of units) {
    ctx.font = fontFor(run, unit);
    const gap = run.text.slice(unit.gap, unit.start), width = Math.min(ctx.measureText(run.text.slice(unit.start, unit.end)).width, W - 2 * EDGE);
    if (gap.includes("\n") || x + width > W - EDGE) {
      x = EDGE;
      line += out.length > from ? 1 : 0;
      from = out.length;
    } else if (gap) x += ctx.measureText(" ").width;
    out.push({ unit, x, line, width });
    x += width;
  }
  return out;
}
function heldOf({ T, L, death }, { parts }, step) {
  let n = 0, all = 0;
  for (const { first, last: last2 } of parts)
    for (let j = first; j <= last2 && j <= step; j++)
      for (let l = 0; l < L; l++, all++) n += death[l * T + j] > step;
  return n / Math.max(1, all);
}
function cells2({ run, css, sans }, ctx, step) {
  const [W, H] = SIZE, top = TOP + LINES * LINE2 + 22, high = (H - 46 - top) / run.L, left = EDGE + 64, wide = (W - EDGE - left) / run.T;
  ctx.font = `400 15px ${sans}`;
  ctx.fillStyle = css.soft;
  ctx.fillText("layer 0", EDGE, top + Math.min(high, 15));
  ctx.fillText(`layer ${run.L - 1}`, EDGE, top + run.L * high - 3);
  const cell = (j, y, colour, tall) => {
    ctx.fillStyle = colour;
    ctx.fillRect(
      left + j * wide,
      y + (1 - tall) * high / 2,
      Math.max(0.7, wide - (wide > 4 ? 1 : 0)),
      Math.max(0.7, high * tall - (high > 6 ? 1.5 : 0))
    );
  };
  for (let l = 0; l < run.L; l++) {
    const y = top + l * high;
    for (let j = 0; j <= step; j++)
      if (run.death[l * run.T + j] > step) cell(j, y, css.held, 1);
      else cell(j, y, css.gone, 0.16);
    for (const j of dropped(run, l, step)) cell(j, y, css.drop, 1);
  }
  ctx.fillStyle = css.ink;
  ctx.fillRect(left + (step + 1) * wide, top - 4, 1.5, run.L * high + 6);
}

// viewer/share.js
var SECONDS = 11;
var LAST = 1.6;
var KINDS2 = ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm", "video/mp4"];
function buildShare(view) {
  const summary = node("summary", "", "share"), copy = button("Copy link", "quietly", () => copyLink(view)), film = button("Save film", "quietly", () => saveFilm(view)), card = button("Save picture", "quietly", () => saveCard(view)), said2 = node("p", "quiet");
  said2.setAttribute("role", "status");
  film.hidden = !globalThis.MediaRecorder || !kindOf();
  copy.hidden = true;
  view.sharing = { copy, film, said: said2 };
  view.share = panel("display share", summary, node("div", "", copy, film, card, said2));
  view.share.addEventListener("toggle", () => {
    copy.hidden = !view.run?.link;
    write(said2, copy.hidden ? "The film and the picture are made in this browser." : "");
  });
}
function linkOf({ run, state }) {
  const asked2 = new URLSearchParams(run.link), here = new URL(globalThis.location.href);
  here.search = here.hash = "";
  const place2 = { layer: state.layer, step: state.step, token: state.token };
  for (const [name, value] of Object.entries(place2)) if (value >= 0) asked2.set(name, value);
  here[run.link.text ? "hash" : "search"] = asked2.toString();
  return here.href;
}
async function copyLink(view) {
  const link2 = linkOf(view), { said: said2 } = view.sharing;
  try {
    await navigator.clipboard.writeText(link2);
    write(said2, "Copied. The link holds the text itself; opening it makes the run again.");
  } catch {
    const box = node("input");
    box.readOnly = true;
    box.value = link2;
    box.setAttribute("aria-label", "The link, to copy by hand");
    said2.replaceChildren("This browser lets no page write to its clipboard: ", box);
    box.select();
  }
}
var nameOf = ({ run, whole }, step) => {
  const last2 = run.Q - 1, gone = last2 > 0 ? 1 - (whole.total[last2] - run.L) / (run.L * last2) : 0;
  const words2 = run.text.slice(0, 60).match(/[\p{L}\p{N}]+/gu) || ["run"], shown = words2.slice(0, 4).join("-").toLowerCase();
  return [run.model || "run", `${(100 * gone).toFixed(0)}pc`, shown, step].filter((x) => x !== void 0).join("_");
};
function save(blob, name) {
  const a = node("a");
  a.href = URL.createObjectURL(blob);
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(a.href), 6e4);
}
function sheet() {
  const canvas = node("canvas");
  [canvas.width, canvas.height] = SIZE;
  return canvas;
}
function saveCard(view) {
  const canvas = sheet();
  still(view, canvas.getContext("2d"), view.state.step);
  canvas.toBlob((blob) => save(blob, `${nameOf(view, `step${view.state.step}`)}.png`), "image/png");
}
var kindOf = () => KINDS2.find((kind) => MediaRecorder.isTypeSupported(kind));
function saveFilm(view) {
  const { film, said: said2 } = view.sharing;
  if (view.recording) {
    view.recording = null;
    return;
  }
  const canvas = sheet(), ctx = canvas.getContext("2d"), kind = kindOf(), stream = canvas.captureStream(30), recorder = new MediaRecorder(stream, { mimeType: kind, videoBitsPerSecond: 35e5 }), parts = [], length = view.options.filmSeconds ?? SECONDS, mine = view.recording = {}, { run } = view;
  recorder.ondataavailable = ({ data }) => parts.push(data);
  recorder.onstop = () => {
    const done = view.recording === mine;
    view.recording = null;
    write(film, "Save film");
    write(said2, done ? "Saved." : "Stopped: nothing was saved.");
    for (const track of stream.getTracks()) track.stop();
    const ending = kind.includes("mp4") ? "mp4" : "webm";
    if (done) save(new Blob(parts, { type: kind }), `${nameOf(view)}.${ending}`);
  };
  write(film, "Stop the film");
  still(view, ctx, 0);
  recorder.start(500);
  const began = performance.now(), tick = () => {
    const seconds = (performance.now() - began) / 1e3, part = Math.min(1, seconds / length);
    if (view.recording !== mine || view.run !== run || seconds > length + LAST) {
      if (view.run !== run) view.recording = null;
      recorder.stop();
      return;
    }
    still(view, ctx, Math.round(part * (run.Q - 1)));
    write(said2, `Filming: ${Math.round(100 * seconds / (length + LAST))} %`);
    setTimeout(tick, 50);
  };
  tick();
}

// viewer/dress.js
var PARTS = 48;
var MARKS = ["fut", "out", "hit", "now", "sel", "by", "gen", "dim", "vic"];
var [FUTURE, OUT, HIT, NOW, CHOSEN, BY, WRITTEN, DIM, VICTIM] = MARKS.map((_, i) => 64 << i);
function layersOf({ run, state }) {
  return state.text === "share" ? Array.from({ length: run.L }, (_, l) => l) : [state.layer];
}
function markTokens({ run, state }, layers2, marks) {
  const { T, Q, death } = run, s = state.step, chosen = state.token;
  marks.fill(0);
  if (chosen >= 0) marks[chosen] |= CHOSEN;
  if (!Q) return;
  marks[s] |= NOW;
  for (const l of layers2) {
    for (const j of dropped(run, l, s)) marks[j] |= HIT;
    if (chosen < 0) continue;
    if (death[l * T + chosen] <= s) marks[death[l * T + chosen]] |= BY;
    if (chosen < Q && chosen <= s) for (const j of dropped(run, l, chosen)) marks[j] |= VICTIM;
  }
}
function heldShare({ T, death }, unit, layers2, s) {
  let n = 0, all = 0;
  for (const { first, last: last2 } of unit.parts) {
    for (let j = first; j <= last2 && j <= s; j++) {
      for (const l of layers2) n += death[l * T + j] > s;
      all += layers2.length;
    }
  }
  return n / Math.max(1, all);
}
function unitState(view, unit, layers2, marks) {
  const { run, state, shown } = view, first = unit.parts[0].first;
  let code = first >= run.prompt ? WRITTEN : 0;
  if (first > state.step) code |= FUTURE;
  else {
    const part = heldShare(run, unit, layers2, state.step);
    const level = part > 0 && part < 1 ? Math.min(PARTS - 1, Math.max(1, Math.round(PARTS * part))) : PARTS * part;
    code |= level | (part === 0 ? OUT : 0) | (shown[first] ? 0 : DIM);
  }
  return unit.parts.length > 1 ? code : code | marked(unit.parts[0], marks);
}
function partState(part, unit, s, marks) {
  return marked(part, marks) | (part.first > s && unit.parts[0].first <= s ? FUTURE : 0);
}
function marked({ first, last: last2 }, marks) {
  let code = 0;
  for (let j = first; j <= last2; j++) code |= marks[j];
  return code;
}
function dress(thing, code, base) {
  if (thing.code === code) return;
  thing.code = code;
  let name = base && !(code & FUTURE) ? `${base} k${code & 63}` : base;
  for (let i = 0, rest = code >> 6; rest; i++, rest >>= 1)
    if (rest & 1) name += name ? ` ${MARKS[i]}` : MARKS[i];
  thing.el.className = name;
}

// viewer/every.js
var TITLE = 16;
var GAP = 12;
function everyGrid(L, width) {
  const least = L <= 8 ? 120 : 86, most = Math.max(1, Math.floor((width + GAP) / (least + GAP))), columns2 = Math.ceil(L / Math.ceil(L / Math.min(L, most))), w = Math.floor((width + GAP) / columns2) - GAP, h = Math.round(clamp(w * 0.62, 44, 120)), lines = Math.ceil(L / columns2);
  return { columns: columns2, w, h, height: lines * (h + TITLE + 6) };
}
function panelAt({ geo }, l) {
  const { columns: columns2, w, h } = geo.grid;
  return {
    x: 1 + l % columns2 * (w + GAP),
    y: geo.life + Math.floor(l / columns2) * (h + TITLE + 6) + TITLE,
    w,
    h
  };
}
function everyAt(view, x, y) {
  const { run } = view, v = view.window();
  for (let l = 0; l < run.L; l++) {
    const p = panelAt(view, l);
    if (x < p.x || x > p.x + p.w || y < p.y - TITLE || y > p.y + p.h) continue;
    return { layer: l, token: Math.floor(v[0] + (x - p.x) / p.w * (v[1] - v[0])) };
  }
  return null;
}
function paintEvery(view) {
  const { run, geo } = view, w = Math.round(geo.grid.w * geo.ratio), h = Math.round(geo.grid.h * geo.ratio);
  view.panels ??= [];
  view.panels.length = run.L;
  for (let l = 0; l < run.L; l++) {
    view.panels[l] ??= new Pixels();
    paintPanel(view, l, view.panels[l], w, h);
  }
}
function paintPanel(view, l, pixels, w, h) {
  const { run, colour, shown } = view, { T, Q, death } = run, [v0, v1] = view.window(), out = pixels.size(w, h), held = new Int32Array(w * (h + 1)), born = new Int32Array(w * (h + 1)), at = (t, n) => clamp(Math.floor((t - v0) / (v1 - v0) * n), 0, n);
  for (let j = Math.floor(v0); j < Math.min(Q, v1); j++) {
    if (!shown[j]) continue;
    const a = Math.min(w - 1, at(j, w)), b = Math.max(a + 1, at(j + 1, w)), y0 = at(j, h), y1 = Math.max(y0 + 1, at(Math.min(death[l * T + j], Q), h));
    for (let x = a; x < b; x++) {
      born[y0 * w + x]++;
      held[y0 * w + x]++;
      held[Math.min(h, y1) * w + x]--;
    }
  }
  const last2 = at(Q, h) || h;
  for (let y = 0; y < last2; y++)
    for (let x = 0; x < w; x++) {
      const i = y * w + x;
      if (y) {
        held[i] += held[i - w];
        born[i] += born[i - w];
      }
      if (held[i]) out[i] = share(colour.held, held[i] / born[i]);
    }
  pixels.show();
}
function drawEvery(view, pen) {
  const { run, state, geo, css, ctx, counts } = view, v = view.window(), s = state.step, part = clamp((s + 1 - v[0]) / (v[1] - v[0]), 0, 1);
  pen.font();
  pen.text(
    geo.narrow ? "every layer: step × token" : "every layer: each token’s life (columns), from the step it is read, downwards; a click opens the layer",
    geo.grid ? 1 : geo.x0,
    geo.life - 13
  );
  for (let l = 0; l < run.L; l++) {
    const { x, y, w, h } = panelAt(view, l), { canvas } = view.panels[l], cut2 = Math.round(canvas.height * part), chosen = l === state.layer;
    if (cut2) ctx.drawImage(canvas, 0, 0, canvas.width, cut2, x, y, w, h * cut2 / canvas.height);
    if (cut2 < canvas.height && !run.running) {
      const rest = canvas.height - cut2;
      ctx.globalAlpha = 0.2;
      ctx.drawImage(
        canvas,
        0,
        cut2,
        canvas.width,
        rest,
        x,
        y + h - h * rest / canvas.height,
        w,
        h * rest / canvas.height
      );
      ctx.globalAlpha = 1;
    }
    const line = y + h * part;
    pen.line(x, line, x + w, line, css.drop, 1);
    ctx.strokeStyle = chosen ? css.ink : css.line;
    ctx.lineWidth = chosen ? 1.6 : 1;
    ctx.strokeRect(x - 0.5, y - 0.5, w + 1, h + 1);
    pen.font(chosen ? 650 : 400, 11);
    pen.text(w < 80 ? String(l) : `layer ${l}`, x, y - 8, "left", chosen ? css.ink : css.soft);
    pen.text(
      String(counts.held[l * run.Q + s]),
      x + w,
      y - 8,
      "right",
      chosen ? css.ink : css.soft
    );
    if (state.token >= 0) {
      const at = x + (state.token + 0.5 - v[0]) / (v[1] - v[0]) * w;
      if (at >= x && at <= x + w) pen.line(at, y, at, y + h, css.by, 1);
    }
  }
}

// viewer/rows.js
var OPEN = 22;
var ALIKE = 16;
var GAP2 = 5;
function rowsOf(L, chosen, narrow) {
  const alike2 = L <= ALIKE, high = L <= 12 ? OPEN : 18, thin = L <= 32 ? narrow ? 6 : 8 : 5, size = groupSize(L), rows = { top: [], height: [], groups: [], total: 0, alike: alike2 };
  for (let l = 0; l < L; l++) {
    if (!alike2 && l % size === 0) {
      rows.groups.push([l, Math.min(L, l + size) - 1]);
      if (l) rows.total += GAP2;
    }
    const height = alike2 ? high : l === chosen ? OPEN : thin;
    rows.top.push(rows.total);
    rows.height.push(height);
    rows.total += height;
  }
  return rows;
}
function groupSize(L) {
  const left = (size) => (size - L % size) % size;
  return [6, 5, 8, 7].reduce((best, size) => left(size) < left(best) ? size : best);
}
function rowAt({ top, height, total }, y) {
  if (y < 0 || y >= total) return -1;
  let l = top.length - 1;
  while (l > 0 && y < top[l] - GAP2 / 2) l--;
  return y < top[l] + height[l] + GAP2 / 2 ? l : -1;
}

// viewer/written.js
var MOST = 240;
function buildWritten(view) {
  view.written = node("section", "written");
  view.written.setAttribute("aria-label", "When this word was written");
  view.written.hidden = true;
  view.written.tabIndex = -1;
  view.written.addEventListener("keydown", (e) => {
    if (e.key === "Escape") closeWritten(view);
  });
}
var isWritten = (run, j) => j >= Math.max(1, run.prompt) && j < run.T && j <= run.Q;
function openWritten(view, j) {
  const { run, state } = view;
  state.open = isWritten(run, j) ? j : -1;
  if (state.open >= 0 && canAsk(run, j) && view.options.ask) {
    run.written.busy = j;
    view.options.ask("word", j);
  }
  showWritten(view);
  view.draw();
}
function closeWritten(view) {
  openWritten(view, -1);
  view.text.box.focus({ preventScroll: true });
}
var canAsk = ({ written, running }, j) => written.asks && !running && !written.found?.[j] && written.busy !== j;
function showWritten(view) {
  const { run, state } = view, j = state.open;
  view.written.hidden = !(j >= 0) || !isWritten(run, j);
  if (view.written.hidden) return;
  const close = button("close", "quietly", () => closeWritten(view));
  view.written.replaceChildren(
    node("div", "head", node("strong", "", "When ", quote(run, j), " was written"), close),
    node("div", "halves", heldTexts(view, j), lists(view, j))
  );
}
function heldTexts({ run, state }, j) {
  const box = node("div", "texts"), s = j - 1;
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", "The text as each layer held it");
  for (let l = 0; l < run.L; l++) {
    const held = [];
    for (let i = 0; i <= s; i++) if (run.ran[l * run.T + i] > s) held.push(i);
    const shown = held.slice(-MOST), words2 = node("span", "held");
    let before = shown.length < held.length ? shown[0] - 1 : -1;
    let text = shown.length < held.length ? "… " : "";
    for (const i of shown) {
      if (i > before + 1) text += `${text && !text.endsWith(" ") ? " " : ""}· `;
      text += run.text.slice(run.spans[2 * i], run.spans[2 * i + 1]).replace(/\s+/g, " ");
      before = i;
    }
    if (before < s) text += " ·";
    words2.textContent = text;
    box.append(
      node(
        "p",
        l === state.layer ? "on" : "",
        node("b", "", `layer ${l}`),
        ` ${held.length} of ${j} `,
        words2
      )
    );
  }
  return box;
}
function lists({ run, options }, j) {
  const { written } = run, found = written.found?.[j], box = node("div", "lists");
  if (!found) {
    const why = !written.asks ? options.ask ? "The model that wrote this is not here, so it cannot be asked what it would have said." : "Open this run in the app to see what the model would have said." : written.problem || "Asking the model what it would have said …";
    box.append(node("p", "quiet", why));
    return box;
  }
  const top = Math.max(...found.rows.flatMap(([, a, b]) => [a, b]), 1e-9), table = node("table");
  table.append(
    node(
      "tr",
      "",
      node("th", "", "next"),
      node("th", "", "with what it held"),
      node("th", "", "had it forgotten nothing")
    )
  );
  found.rows.forEach(([text, pruned, full], i) => {
    const name = node("th", i === found.drawn ? "drawn" : "");
    name.scope = "row";
    name.append(node("bdi", "", legible(text)));
    table.append(node("tr", "", name, bar(pruned, top, ""), bar(full, top, "full")));
  });
  box.append(table, node("p", "quiet", verdict(run, found, j)));
  return box;
}
function bar(share2, top, kind) {
  const fill2 = node("i", kind);
  fill2.style.width = `${(100 * share2 / top).toFixed(1)}%`;
  return node("td", "", node("span", "share-bar", fill2), node("span", "n", percent(share2, 1)));
}
function verdict(run, { ranks, kl }, j) {
  const place2 = (n) => n ? `number ${(n + 1).toLocaleString("en")}` : "the likeliest";
  const drawn = ranks ? `“${isolate(piece(run, j))}” was drawn: ${place2(ranks[0])} with what the layers held, ${place2(ranks[1])} without forgetting. ` : "";
  return `${drawn}The two predictions differ by ${kl.toFixed(kl < 0.1 ? 3 : 2)} nats (KL); before temperature.`;
}

// viewer/hands.js
function listen(view) {
  const { canvas, scrub } = view;
  const at = (e) => {
    const r = canvas.getBoundingClientRect();
    return [e.clientX - r.left, e.clientY - r.top];
  };
  const drag = (e) => {
    view.stop();
    view.go(Math.floor(view.token(at(e)[0])));
  };
  for (const el of [canvas, scrub]) el.addEventListener("keydown", (e) => onKey(view, e));
  scrub.addEventListener("pointerdown", (e) => {
    scrub.setPointerCapture(e.pointerId);
    scrub.focus({ preventScroll: true });
    view.dragging = true;
    drag(e);
    e.preventDefault();
  });
  scrub.addEventListener("pointermove", (e) => {
    if (view.dragging) drag(e);
  });
  for (const end of ["pointerup", "pointercancel"])
    scrub.addEventListener(end, () => {
      view.dragging = false;
      view.settle();
    });
  scrub.addEventListener("dblclick", () => view.zoom(1e-9));
  canvas.addEventListener("dblclick", (e) => {
    const [x, y] = at(e);
    if (locate(view, x, y)?.panel === "heat") view.zoom(e.shiftKey ? 0.4 : 2.5, view.token(x));
  });
  pinch(view, at);
  const slide = (e) => {
    const { x0, x1 } = view.geo, [a, b] = view.window();
    view.pan((at(e)[0] - x0) / (x1 - x0) * view.run.domain - (a + b) / 2);
  };
  let sliding = false;
  canvas.addEventListener("pointerdown", (e) => {
    const hit = locate(view, ...at(e));
    if (hit?.panel !== "map") return;
    sliding = true;
    canvas.setPointerCapture(e.pointerId);
    slide(e);
  });
  for (const end of ["pointerup", "pointercancel"])
    canvas.addEventListener(end, () => {
      sliding = false;
    });
  canvas.addEventListener("pointermove", (e) => {
    if (sliding) slide(e);
    else if (e.pointerType !== "touch" || e.buttons) hoverAt(view, ...at(e));
  });
  canvas.addEventListener("pointerleave", () => {
    view.hover = null;
    view.draw();
  });
  canvas.addEventListener("click", (e) => {
    const hit = locate(view, ...at(e));
    if (!hit || hit.panel === "map") return;
    if (hit.panel === "memory" || hit.panel === "axis") {
      view.stop();
      view.go(hit.token);
      return;
    }
    if (hit.panel === "label") {
      view.setLayer(hit.layer);
      return;
    }
    if (hit.layer !== view.state.layer) {
      view.setLayer(hit.layer);
      view.pick(hit.token, true);
    } else view.pick(hit.token);
  });
  for (const el of [canvas, scrub])
    el.addEventListener(
      "wheel",
      (e) => {
        if (e.ctrlKey || e.metaKey) {
          e.preventDefault();
          view.zoom(Math.exp(-e.deltaY / 300), view.token(at(e)[0]));
        } else if (view.view && Math.abs(e.deltaX) > Math.abs(e.deltaY)) {
          e.preventDefault();
          view.pan(e.deltaX / view.geo.cw);
        }
      },
      { passive: false }
    );
  view.box.addEventListener("fullscreenchange", () => {
    write(view.full, view.box.matches(":fullscreen") ? "leave full screen" : "full screen");
  });
  view.text.listen();
}
function pinch(view, at) {
  const { canvas } = view, fingers = /* @__PURE__ */ new Map(), spread2 = () => {
    const [a, b] = [...fingers.values()];
    return [Math.max(20, Math.abs(a - b)), (a + b) / 2];
  };
  canvas.addEventListener("pointerdown", (e) => {
    if (e.pointerType === "touch") fingers.set(e.pointerId, at(e)[0]);
  });
  canvas.addEventListener("pointermove", (e) => {
    if (!fingers.has(e.pointerId)) return;
    const before = fingers.size === 2 ? spread2() : null;
    fingers.set(e.pointerId, at(e)[0]);
    if (!before) return;
    const [wide, middle] = spread2();
    view.zoom(wide / before[0], view.token(middle));
  });
  for (const end of ["pointerup", "pointercancel", "pointerleave"])
    canvas.addEventListener(end, (e) => fingers.delete(e.pointerId));
}
function locate(view, x, y) {
  const { geo: g, run, state } = view;
  if (!g || !run.Q) return null;
  const layer = rowAt(g.rows, y - g.heat);
  if (g.grid && y > g.life - 8 && y < g.life + g.lifeH) {
    const found = everyAt(view, x, y);
    return found && found.token < run.T ? { panel: "life", ...found } : null;
  }
  if (x < g.x0 || x > g.x1) return layer >= 0 ? { panel: "label", layer } : null;
  const token = Math.floor(view.token(x)), known = token < run.T;
  if (view.view && Math.abs(y - g.map - 3) < 8) return { panel: "map", token };
  if (y < g.heat - 18) return { panel: "axis", token };
  if (layer >= 0) return known ? { panel: "heat", layer, token } : null;
  if (y >= g.pos && y < g.pos + g.posH)
    return known ? { panel: "pos", layer: state.layer, token } : null;
  if (g.arcH && Math.abs(y - g.arc - g.arcH) < 9)
    return known ? { panel: "arc", layer: state.layer, token } : null;
  if (y >= g.life && y <= g.life + g.lifeH) {
    if (state.life === "lives") return known ? { panel: "life", layer: state.layer, token } : null;
    const age = Math.round(2 ** ((g.life + g.lifeH - y) / g.lifeH * Math.log2(1 + run.Q)) - 1), born = token - age;
    return born >= 0 && known ? { panel: "life", layer: state.layer, token: born } : null;
  }
  return y >= g.mem && y <= g.mem + g.memH ? { panel: "memory", token } : null;
}
function hoverAt(view, x, y) {
  const hit = locate(view, x, y);
  view.hover = hit && !["axis", "label", "map"].includes(hit.panel) ? { ...hit, x, y } : null;
  view.draw();
}
function onKey(view, event) {
  const { state, run } = view, big = event.shiftKey ? 10 : 1, centre = view.hover ? view.hover.token + 0.5 : void 0;
  const act = {
    ArrowLeft: () => view.go(state.step - big),
    ArrowRight: () => view.go(state.step + big),
    Home: () => view.go(0),
    End: () => view.go(run.Q - 1),
    PageUp: () => view.go(state.step + 32),
    PageDown: () => view.go(state.step - 32),
    ArrowUp: () => view.setLayer(state.layer - 1),
    ArrowDown: () => view.setLayer(state.layer + 1),
    " ": () => view.play(),
    Enter: () => view.pick(state.step),
    Escape: () => {
      view.hover = null;
      openWritten(view, -1);
      view.pick(-1, true);
    },
    "+": () => view.zoom(1.5, centre),
    "=": () => view.zoom(1.5, centre),
    "-": () => view.zoom(1 / 1.5, centre),
    0: () => view.zoom(1e-9)
  }[event.key];
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  if (event.key === "ArrowLeft" || event.key === "ArrowRight") view.stop();
  act();
}

// viewer/text_hands.js
var REST2 = 250;
function moves(panel2) {
  const theirs = panel2.over || panel2.box.matches(":focus");
  panel2.moving = panel2.resting !== 0;
  panel2.box.classList.toggle("moving", panel2.moving && !theirs);
  clearTimeout(panel2.resting);
  cancelAnimationFrame(panel2.calm);
  panel2.resting = setTimeout(() => {
    panel2.calm = requestAnimationFrame(() => {
      panel2.calm = requestAnimationFrame(() => rests(panel2));
    });
  }, REST2);
}
function rests(panel2) {
  panel2.resting = 0;
  panel2.moving = false;
  panel2.box.classList.remove("moving");
  panel2.sweep();
}
function listenText(panel2) {
  const { view, box } = panel2, word = (e) => {
    const t = e.target.closest?.("[data-t]");
    return t ? Number(t.dataset.t) : -1;
  };
  box.addEventListener("click", (e) => {
    const j = word(e);
    if (j < 0) return;
    view.pick(j);
    openWritten(view, view.state.token);
  });
  box.addEventListener("pointermove", (e) => {
    const j = word(e), r = view.stage.getBoundingClientRect();
    const hover = j < 0 ? null : {
      token: j,
      layer: view.state.layer,
      panel: "text",
      x: e.clientX - r.left,
      y: e.clientY - r.top
    };
    if (hover?.token !== view.hover?.token) {
      view.hover = hover;
      view.draw();
    }
  });
  box.addEventListener(
    "scroll",
    () => {
      panel2.scrolled = box.scrollTop;
      view.draw();
    },
    { passive: true }
  );
  box.addEventListener("pointerenter", () => {
    panel2.over = true;
    box.classList.remove("moving");
  });
  box.addEventListener("pointerleave", () => {
    panel2.over = false;
    view.hover = null;
    view.draw();
  });
  box.addEventListener("keydown", (e) => {
    if (e.key === "Escape") onKey(view, e);
  });
}

// viewer/text.js
var SLICE = 600;
var BUNCH = 64;
var TextPanel = class {
  constructor(view) {
    this.view = view;
    this.laid = [];
    this.units = [];
    this.left = this.cursor = this.sweeping = 0;
    this.drawn = -1;
    this.resting = this.calm = 0;
    this.moving = false;
    this.over = false;
    this.box = node("div", "text");
    this.box.setAttribute("role", "region");
    this.box.setAttribute("aria-label", "The running text; struck words are dropped");
    this.box.tabIndex = 0;
  }
  /** Build the text, keeping every unit that did not change. */
  lay(fresh) {
    const { run, state } = this.view, { box } = this;
    if (fresh) {
      box.replaceChildren();
      this.laid = [];
      this.bunch = null;
      this.seam = null;
      this.tail = null;
    }
    this.units = cut(run, state.grain);
    this.marks = new Uint16Array(run.T);
    let same = 0;
    while (same < this.laid.length && same < this.units.length && this.laid[same].key === this.units[same].key)
      same++;
    for (const old of this.laid.splice(same)) {
      old.space.remove();
      old.el.remove();
    }
    this.bunch = this.laid.at(-1)?.el.parentNode;
    if (this.tail) this.tail.remove();
    if (this.seam && !this.laid.some((x) => x.seam)) {
      this.seam.remove();
      this.seam = null;
    }
    const more = document.createDocumentFragment();
    for (let u = same; u < this.units.length; u++) {
      if (!this.bunch || u % BUNCH === 0) more.append(this.bunch = node("span"));
      this.add(this.bunch, this.units[u]);
    }
    const end = this.units.length ? this.units[this.units.length - 1].end : 0;
    this.tail = document.createTextNode(run.text.slice(end));
    more.append(this.tail);
    box.append(more);
    this.places = null;
    box.classList.toggle("long", run.T > 900);
    box.dataset.grain = state.grain;
    const perLine = Math.max(20, box.clientWidth / 7.9);
    const lines = Math.ceil(run.text.length * run.domain / Math.max(1, run.T) / perLine + 0.7);
    if (run.running) box.style.minHeight = `${Math.min(this.most(), 28 + 29.75 * lines)}px`;
    else if (fresh) box.style.minHeight = "";
  }
  most() {
    return Number.parseFloat(getComputedStyle(this.box).maxHeight) || 352;
  }
  add(to, unit) {
    const { run } = this.view, el = node("span", "u"), space = document.createTextNode(run.text.slice(unit.gap, unit.start));
    const made = { key: unit.key, space, el, code: -1, seam: false, parts: null };
    to.append(space);
    if (!this.seam && run.prompt > 0 && run.prompt < run.T && unit.parts[0].first >= run.prompt) {
      this.seam = node("span", "seam", "the model wrote");
      this.seam.setAttribute("aria-hidden", "true");
      to.append(this.seam);
      made.seam = true;
    }
    if (unit.parts.length === 1) {
      el.textContent = run.text.slice(unit.start, unit.end);
      el.dataset.t = unit.parts[0].first;
    } else {
      let at = unit.start;
      made.parts = unit.parts.map((q) => {
        const s = node("span", "", run.text.slice(q.start, q.end));
        s.dataset.t = q.first;
        el.append(run.text.slice(at, q.start), s);
        at = q.end;
        return { el: s, code: -1 };
      });
    }
    to.append(el);
    this.laid.push(made);
  }
  draw() {
    const { run, state } = this.view;
    this.layers = layersOf(this.view);
    markTokens(this.view, this.layers, this.marks);
    if (state.step !== this.drawn) moves(this);
    this.drawn = state.step;
    const [from, to] = this.inSight(state.step);
    for (let u = from; u < to; u++) this.dress(u);
    this.left = this.units.length;
    this.sweep();
    this.box.classList.toggle("live", run.running && state.follow);
  }
  dress(u) {
    const { parts } = this.laid[u], unit = this.units[u];
    if (parts)
      for (let i = 0; i < parts.length; i++)
        dress(parts[i], partState(unit.parts[i], unit, this.view.state.step, this.marks), "");
    dress(this.laid[u], unitState(this.view, unit, this.layers, this.marks), "u");
  }
  /** Dress the next slice of the whole text, going round, until all of it has been since `draw`. */
  sweep() {
    if (this.moving) return;
    const U = this.units.length;
    for (let n = Math.min(SLICE, this.left); n > 0; n--, this.left--) {
      this.cursor = (this.cursor + 1) % U;
      this.dress(this.cursor);
    }
    if (!this.left || this.sweeping) return;
    this.sweeping = requestAnimationFrame(() => {
      this.sweeping = 0;
      this.sweep();
    });
  }
  stop() {
    cancelAnimationFrame(this.sweeping);
    cancelAnimationFrame(this.calm);
    clearTimeout(this.resting);
    this.sweeping = this.left = 0;
  }
  /** Keep the current word in sight inside the box; give the units that are: [from, to). */
  inSight(s) {
    const U = this.units.length, { at, token, height, all } = this.measured();
    if (all <= height + 4) return [0, U];
    const { box } = this;
    if (this.followed !== s && (token[s] < this.scrolled + 8 || token[s] > this.scrolled + height - 48)) {
      this.scrolled = clamp(token[s] - height * 0.55, 0, all - height);
      box.scrollTop = this.scrolled;
    }
    this.followed = s;
    const from = Math.max(0, search(U, (u) => at[u], this.scrolled - 60) - 1);
    return [
      from,
      Math.max(
        from,
        search(U, (u) => at[u], this.scrolled + height + 60)
      )
    ];
  }
  /** Where units and tokens begin, in pixels from the top of the text: asked of the page once. */
  measured() {
    const { laid, box } = this, { width } = this.view;
    if (this.places && this.places.width === width) return this.places;
    const at = Float32Array.from(laid, (x) => x.el.offsetTop), token = new Float32Array(this.view.run.T);
    for (let u = 0; u < this.units.length; u++)
      for (const [i, q] of this.units[u].parts.entries())
        token.fill(laid[u].parts ? laid[u].parts[i].el.offsetTop : at[u], q.first, q.last + 1);
    this.places = { at, token, width, height: box.clientHeight, all: box.scrollHeight };
    this.scrolled = box.scrollTop;
    return this.places;
  }
  /** The text has other measures now: another width, size or font. */
  remeasure() {
    this.places = null;
    this.followed = -1;
  }
  listen() {
    listenText(this);
  }
};

// viewer/tiles.js
var DEFINITIONS = {
  dropped: "Share of the tokens read before this one that can no longer be attended to, mean over layers; then the range from the layer that keeps most to the one that keeps least.",
  "memory of keys and values (KV)": "Live: what can still be attended to at this step. Dense: keys and values of all tokens read. Allocated: what the cache keeps for them, its own keys and spare rows included, known at the last step read. Process: the resident memory of the whole program, of a run that is live.",
  perplexity: "Of your text up to this step (not of what the model wrote): the exponential of its mean surprise a token. Beside it, where the run was read with nothing dropped too, how many times that.",
  speed: "Writing: tokens generated a second. Reading: tokens of your text by the seconds spent reading it. First token: from the begin of reading to the first new token, the model already loaded. Of a saved run: as it was recorded, on the machine that the last line names."
};
var ENOUGH = 8;
function tiles(view) {
  const tile = (meter) => {
    const value = node("b"), unit = node("span"), note = node("span", "more"), under = node("i", "under"), over = node("i"), bar2 = meter ? node("div", "meter", under, over) : node("div", "meter plain");
    return { box: node("div", "tile", value, unit, bar2, note), value, unit, note, over, under };
  };
  view.rowsSay = node("dd");
  view.tile = { dropped: tile(true), memory: tile(true), perplexity: tile(), speed: tile() };
  const what = node("summary", "", "?"), list2 = node("dl");
  what.setAttribute("aria-label", "What these counters mean");
  for (const [name, says2] of Object.entries(DEFINITIONS))
    list2.append(node("dt", "", name), node("dd", "", says2));
  list2.append(node("dt", "", "rows of the vocabulary"), view.rowsSay);
  const boxes = Object.values(view.tile).map((t) => t.box);
  return node("div", "tiles", ...boxes, panel("defs", what, list2));
}
function put(tile, value, unit, note) {
  write(tile.value, value);
  write(tile.unit, unit);
  write(tile.note, note);
}
function fill(tile, over, under = 0) {
  tile.over.style.transform = `scaleX(${clamp(over, 0, 1).toFixed(3)})`;
  tile.under.style.transform = `scaleX(${clamp(under, 0, 1).toFixed(3)})`;
}
function drawTiles(view) {
  const { run } = view;
  if (!run.Q) return;
  drawDropped(view);
  drawMemory(view);
  drawPerplexity(view);
  drawSpeed(view);
}
function tellRows({ run: { rows }, rowsSay }) {
  if (!rows) return write(rowsSay, "Not known of this run's model.");
  const { of, seen, whole, tied, left_out, input_saves, both_save } = rows, count2 = `${seen.toLocaleString("en")} of ${of.toLocaleString("en")} rows`, costs = "The softmax is then over the rows kept: log-probabilities are higher, and no other token can be written.";
  if (left_out)
    return write(
      rowsSay,
      `This run had ${count2}: ${bytes(both_save)} of ${bytes(whole)} of embedding and head were left out. ${costs}`
    );
  const input = tied ? "Embedding and head are one matrix, so leaving input rows out alone saves nothing: each is needed again to score its token." : `Leaving input rows out alone would save ${bytes(input_saves)}.`;
  write(
    rowsSay,
    `This run uses ${count2} of ${bytes(whole)} of embedding and head. ${input} With generation restricted to tokens of the text too (Settings), ${bytes(both_save)} would be. ${costs}`
  );
}
var rate = (v) => v > 0 ? `${v >= 100 ? v.toFixed(0) : v.toFixed(1)} tok/s` : "–";
var wait = (s) => s < 1 ? `${(1e3 * s).toFixed(0)} ms` : `${s.toFixed(2)} s`;
function drawSpeed({ run, tile: { speed } }) {
  const { now, mean, first, read } = run.speed, reading = read > 0 ? `reading ${rate(read)}` : "", toFirst = first > 0 ? `first token ${wait(first)}` : "";
  if (run.running && run.Q < run.prompt)
    put(speed, rate(read), read > 0 ? "reading now" : "not known yet", "not writing yet");
  else if (run.running)
    put(
      speed,
      rate(now),
      now > 0 ? "writing now" : "not writing yet",
      [mean > 0 ? `mean ${rate(mean)}` : "", reading, toFirst].filter(Boolean).join(" · ")
    );
  else
    put(
      speed,
      rate(mean),
      mean > 0 ? "writing" : "no speed recorded",
      [reading, toFirst].filter(Boolean).join(" · ")
    );
}
function perplexity(logprob, end) {
  let sum = 0, n = 0;
  for (let j = 1; j < end; j++)
    if (!Number.isNaN(logprob[j])) {
      sum -= logprob[j];
      n++;
    }
  return n >= ENOUGH ? Math.exp(sum / n) : Number.NaN;
}
function drawPerplexity({ run, state: { step }, tile }) {
  const end = Math.min(step + 1, run.prompt), here = perplexity(run.logprob, end), all = run.full ? perplexity(run.full, end) : Number.NaN, ratio = here / all;
  put(
    tile.perplexity,
    here > 0 ? here.toFixed(here < 100 ? 1 : 0) : "–",
    here > 0 ? "perplexity" : "perplexity: too few tokens yet",
    ratio > 0 ? `${ratio.toFixed(2)} times that with nothing dropped` : "of your text so far"
  );
}
function drawDropped({ run: { L, Q }, state: { step }, whole, tile: { dropped: dropped2 } }) {
  const gone = (held, layers2) => step ? 1 - (held - layers2) / (layers2 * step) : 0;
  let low = 1, high = 0;
  for (let l = 0; l < L; l++) {
    const share3 = gone(whole.held[l * Q + step], 1);
    low = Math.min(low, share3);
    high = Math.max(high, share3);
  }
  const share2 = gone(whole.total[step], L);
  put(
    dropped2,
    percent(share2, 1),
    `dropped of ${step} read`,
    `layers from ${(100 * low).toFixed(0)} to ${percent(high)}`
  );
  fill(dropped2, share2);
}
function drawMemory({ run, state: { step }, whole, tile: { memory } }) {
  const { kv_bytes_per_entry: entry } = run.memory, live = whole.total[step] * entry, dense = run.L * (step + 1) * entry, known = step === run.Q - 1 && run.allocated > 0;
  put(
    memory,
    bytes(live),
    `KV live of ${bytes(dense)} dense`,
    [
      known ? `${bytes(run.allocated)} allocated` : "",
      run.rows?.left_out ? `${bytes(run.rows.both_save)} of rows saved` : "",
      run.speed.process ? `process ${bytes(run.speed.process)}` : ""
    ].filter(Boolean).join(" · ")
  );
  fill(memory, live / dense, known ? run.allocated / dense : 0);
}

// viewer/controls.js
var KEYS2 = [
  ["← →", "step"],
  ["↑ ↓", "layer"],
  ["space", "play"],
  ["enter", "pick token"],
  ["+ −", "zoom"],
  ["esc", "clear"]
];
function build(view) {
  const box = view.box = node("section", "dcp");
  box.setAttribute("aria-label", "What each layer can still attend to");
  if (view.options.title) {
    const lede = "Every layer keeps its own context. A dropped token is out of reach of every later token in that layer.";
    box.append(node("h1", "title", view.options.title), node("p", "lede", lede));
  }
  view.notice = node("p", "notice");
  view.notice.setAttribute("role", "alert");
  view.summary = node("p", "sr");
  view.spoken = node("p", "sr");
  view.spoken.setAttribute("role", "status");
  view.choices = {};
  view.text = new TextPanel(view);
  buildLine(view);
  buildDial(view);
  buildWritten(view);
  buildShare(view);
  view.story = node("div", "story");
  view.findings = group("group", "findings", "What happened in this run");
  view.keys = node("div", "keys");
  buildStage(view);
  view.label = node("span");
  const hints = node("span", "hints");
  for (const [key, does] of KEYS2) hints.append(node("kbd", "", key), ` ${does}  `);
  box.append(
    ...[view.notice, view.summary, view.spoken, view.line, above(view), view.text.box, view.keys],
    ...[view.findings, view.story, view.written, tiles(view), view.stage, filters(view)],
    node("div", "foot", view.label, hints)
  );
  view.root.append(box);
  showPlay(view);
}
function above(view) {
  view.newest = button("newest ⇥", "newest", () => {
    view.state.follow = true;
    view.go(view.run.Q - 1, true);
  });
  view.newest.hidden = true;
  view.full = button("full screen", "quietly", () => {
    if (view.root.ownerDocument.fullscreenElement) document.exitFullscreen();
    else view.box.requestFullscreen();
  });
  view.full.hidden = !document.fullscreenEnabled;
  const keys = ["colour", "life", "grain", "density", "arcs", "speed"], choices = node("div", "", ...keys.map((key) => choice(view, key))), tools = node("div", "tools", choice(view, "text"), view.dial, view.newest), display = panel("display", node("summary", "", "display"), choices);
  return node("div", "bar", tools, node("div", "tools", view.share, display, view.full));
}
function buildStage(view) {
  view.canvas = node("canvas");
  view.canvas.tabIndex = -1;
  view.canvas.setAttribute("role", "img");
  view.canvas.setAttribute("aria-label", "Layer by token heatmap, lifelines and entries held");
  view.ctx = view.canvas.getContext("2d");
  if (!view.ctx) throw new Error("this browser has no canvas");
  view.playButton = button("", "play", () => view.play());
  const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  icon.setAttribute("viewBox", "0 0 10 10");
  view.playPath = document.createElementNS("http://www.w3.org/2000/svg", "path");
  icon.append(view.playPath);
  view.playLabel = node("span");
  view.playButton.append(icon, view.playLabel);
  const zoom = group("group", "zoom", "Zoom");
  for (const [sign, does, factor] of [
    ["−", "Zoom out", 1 / 2],
    ["+", "Zoom in", 2]
  ]) {
    const b = button(sign, "", () => view.zoom(factor));
    b.setAttribute("aria-label", does);
    zoom.append(b);
  }
  view.scrub = node("div", "scrub");
  view.scrub.tabIndex = 0;
  view.scrub.setAttribute("role", "slider");
  view.scrub.setAttribute("aria-label", "Step: how many tokens have been read");
  view.scrub.setAttribute(
    "aria-keyshortcuts",
    "ArrowLeft ArrowRight ArrowUp ArrowDown Home End Space Enter Escape + -"
  );
  view.grip = node("div", "grip");
  view.scrub.append(view.grip);
  view.tip = node("div", "tip");
  view.tip.hidden = true;
  view.stage = node("div", "stage", view.canvas, view.playButton, zoom, view.scrub, view.tip);
}

// viewer/counts.js
function count(run, mask) {
  const { L, T, Q, death } = run, held = new Int32Array(L * Q), total = new Int32Array(Q), read = new Int32Array(Q), drops = new Int32Array(Q);
  for (let l = 0; l < L; l++) {
    const diff = new Int32Array(Q + 1);
    for (let j = 0; j < T && j < Q; j++) {
      if (!mask[j]) continue;
      diff[j]++;
      const d = death[l * T + j];
      diff[Math.min(Q, d)]--;
      if (d < Q) drops[d]++;
    }
    for (let t = 0, n = 0; t < Q; t++) {
      n += diff[t];
      held[l * Q + t] = n;
      total[t] += n;
    }
  }
  for (let t = 0, n = 0; t < Q; t++) {
    n += mask[t];
    read[t] = n;
  }
  return {
    held,
    total,
    read,
    drops,
    most: drops.reduce((a, b) => Math.max(a, b), 0),
    peaks: peaksOf(drops)
  };
}
function peaksOf(drops) {
  const sum = drops.reduce((a, b) => a + b, 0), mean = sum / Math.max(1, drops.length), least = Math.max(2, 2.5 * mean, 0.25 * drops.reduce((a, b) => Math.max(a, b), 0));
  return Array.from(drops, (_, t) => t).filter((t) => drops[t] >= least).sort((a, b) => drops[b] - drops[a] || a - b).slice(0, 60);
}
function rank(run, l) {
  const { T, death } = run, margin = run.margin.subarray(l * T, (l + 1) * T), close = new Uint8Array(T);
  const judged = Int32Array.from({ length: T }, (_, j) => j).filter((j) => !Number.isNaN(margin[j])).sort((a, b) => margin[a] - margin[b]);
  const gone = judged.filter((j) => death[l * T + j] !== ALIVE), alive = judged.filter((j) => death[l * T + j] === ALIVE);
  for (const j of gone) close[j] = 255;
  alive.forEach((j, i) => {
    close[j] = Math.round(220 * (1 - i / Math.max(1, alive.length - 1)));
  });
  return {
    dropped: Float32Array.from(gone, (j) => margin[j]),
    kept: Float32Array.from(alive, (j) => margin[j]),
    close
  };
}

// viewer/film.js
var SECONDS2 = 14;
function play(view) {
  if (view.playing) {
    stop(view);
    return;
  }
  if (view.state.step >= view.run.Q - 1) view.go(0, true);
  view.state.follow = false;
  begin(view);
  showPlay(view);
  view.draw();
}
var begun = /* @__PURE__ */ new Set();
function playOnce(view) {
  const { run, state } = view;
  if (!run.play || run.running || begun.has(run.id) || view.still.matches || run.Q < 2) return;
  begun.add(run.id);
  state.step = 0;
  state.follow = false;
  begin(view);
  showPlay(view);
}
function begin(view) {
  view.playing = performance.now();
  view.playFrom = view.state.step;
}
function stop(view) {
  view.playing = 0;
  showPlay(view);
  view.settle();
}
function advance(view, now) {
  const { run, state } = view, last2 = run.Q - 1;
  if (view.playing) {
    const seconds = (now - view.playing) / 1e3, passed = view.still.matches ? Math.floor(2 * seconds) / 2 : seconds, rate2 = clamp(run.Q / SECONDS2, 8, 400) * state.speed, step = Math.max(view.playFrom, Math.floor(view.playFrom + passed * rate2));
    if (step >= last2) {
      view.go(last2, true);
      stop(view);
    } else {
      state.step = step;
      view.again();
    }
    const v = view.window();
    if (view.view && (state.step < v[0] || state.step >= v[1] - 1)) view.pan(state.step - v[0] - 1);
  } else if (run.running && state.follow && state.step < last2) {
    state.step = view.still.matches ? last2 : Math.min(last2, state.step + Math.max(1, Math.ceil((last2 - state.step) / 9)));
    view.again();
  }
}

// viewer/intake.js
var remembered = /* @__PURE__ */ new Map();
var FEW2 = 8;
function take(view, payload) {
  const problem = refusal(payload);
  write(view.notice, problem);
  view.box.toggleAttribute("data-refused", !!problem);
  if (problem) return;
  const fresh = view.run?.id !== payload.id, wasRunning = view.run?.running, wasDimmed = view.run?.dimmed, run = view.run = unpack(payload);
  if (fresh) begun2(view);
  const { state } = view;
  state.step = clamp(state.step, 0, Math.max(0, run.Q - 1));
  if (!run.running && wasRunning && state.follow) state.step = run.Q - 1;
  view.ranks = [];
  view.spans = [];
  view.told = "";
  view.text.lay(fresh);
  view.recount();
  drawLegend(view);
  summarise(view);
  tellRows(view);
  showFindings(view);
  takeDial(view);
  showWritten(view);
  if (run.dimmed) view.stop();
  if ((run.dimmed || run.running) && !(wasRunning || wasDimmed)) comeIntoSight(view);
  if (fresh || run.running || wasRunning) view.reported = view.where();
  place(view, payload.at);
  if (fresh && !(payload.at?.step >= 0)) playOnce(view);
  view.box.toggleAttribute("data-dimmed", run.dimmed);
  view.box.toggleAttribute("data-busy", run.dimmed || run.running);
  view.stale = true;
  view.draw();
}
function comeIntoSight(view) {
  const { top } = view.box.getBoundingClientRect();
  if (top >= 0 && top < innerHeight / 3) return;
  view.box.scrollIntoView({ block: "start", behavior: view.still.matches ? "auto" : "smooth" });
}
function begun2(view) {
  const { run } = view, state = view.state = { ...view.state };
  Object.assign(state, {
    token: -1,
    follow: run.running,
    groups: 0,
    placed: null,
    open: -1,
    shift: void 0
  });
  state.step = run.running ? 0 : run.Q - 1;
  if (state.layer < 0 || state.layer >= run.L) state.layer = middling(run);
  Object.assign(state, remembered.get(run.id));
  remembered.set(run.id, state);
  if (remembered.size > FEW2) remembered.delete(remembered.keys().next().value);
  view.view = null;
  view.stop();
}
function place(view, at) {
  const { run, state } = view;
  if (!at || at.n === state.placed || run.running) return;
  state.placed = at.n;
  if (at.layer >= 0 && at.layer < run.L) state.layer = at.layer;
  if (at.token !== void 0) state.token = at.token >= 0 && at.token < run.T ? at.token : -1;
  if (at.step >= 0 && at.step < run.Q) view.go(at.step);
  view.reported = view.where();
}

// viewer/across.js
function drawAcross(view, pen) {
  const { run, geo, css, ctx, hover } = view, { x0, x1, track, heat } = geo, v = view.window(), ends = geo.grid ? [
    [track, geo.life - 30],
    [geo.mem, geo.mem + geo.memH]
  ] : [[track, geo.mem + geo.memH]];
  const shaft = (x, from, stroke, width, dash) => {
    for (const [i, [a, b]] of ends.entries()) pen.line(x, i ? a : from, x, b, stroke, width, dash);
  };
  if (run.prompt > v[0] && run.prompt < Math.min(v[1], Math.max(run.T, run.domain)))
    shaft(view.X(run.prompt), 4, css.soft, 1);
  if (hover && hover.panel !== "memory" && inView(hover.token, v)) {
    ctx.globalAlpha = 0.1;
    ctx.fillStyle = css.ink;
    const bottom = ends[0][1];
    ctx.fillRect(view.X(hover.token), heat, Math.max(1, geo.cw), bottom - heat);
    ctx.globalAlpha = 1;
  }
  if (view.state.token >= 0) {
    ctx.save();
    ctx.beginPath();
    ctx.rect(x0 - 3, heat - 3, x1 - x0 + 6, geo.pos + geo.posH - heat + 6);
    ctx.clip();
    drawChosen(view, v);
    ctx.restore();
  }
  if (pen.x >= x0 - 1 && pen.x <= x1 + 1) {
    ctx.globalAlpha = 0.6;
    shaft(pen.x, 60, css.ink, 1, [3, 3]);
    ctx.globalAlpha = 1;
  }
}
var inView = (j, v) => j >= v[0] - 1 && j <= v[1];
function drawChosen({ run, state, geo, css, ctx }, v) {
  const { T, Q } = run, { heat, rows } = geo, x = (k) => geo.x0 + (k - v[0]) * geo.cw, j = state.token, s = state.step;
  ctx.lineWidth = 1.6;
  ctx.strokeStyle = css.sel;
  if (inView(j, v))
    ctx.strokeRect(
      x(j) - 1.2,
      heat - 1.2,
      Math.max(1, geo.cw) + (geo.cw > 3 ? 1.6 : 2.4),
      geo.pos + geo.posH - heat + 2.4
    );
  ctx.strokeStyle = css.by;
  const d = run.death[state.layer * T + j], frame = (l, k, inset) => ctx.strokeRect(
    x(k) - 0.5,
    heat + rows.top[l] + inset,
    Math.max(3, geo.cw),
    Math.max(3, rows.height[l] - 2 * inset)
  );
  if (d <= s && inView(d, v)) {
    ctx.lineWidth = 2;
    frame(state.layer, d, 1);
  }
  if (j >= Q || j > s) return;
  ctx.lineWidth = 1.4;
  ctx.setLineDash([2, 2]);
  for (let l = 0; l < run.L; l++)
    for (const k of dropped(run, l, j)) if (inView(k, v)) frame(l, k, rows.height[l] > 12 ? 2 : 0);
  ctx.setLineDash([]);
}

// viewer/arcs.js
var MANY_ARCS = 240;
function drawArcs(view, pen) {
  const { run, state, geo, css, ctx, shown } = view, { T, Q, death } = run, { x0, x1, arc, arcH } = geo, l = state.layer, s = state.step, chosen = state.token, v = view.window();
  const base = arc + arcH, at = l * (Q + 1), seen = (j) => j >= v[0] - 1 && j < v[1];
  const all = [];
  let many = 0;
  for (let i = run.first[at + Math.max(0, Math.floor(v[0]))]; i < run.first[at + s + 1]; i++) {
    const j = run.order[i];
    if (!shown[j] || !(seen(j) || seen(death[l * T + j]))) continue;
    many++;
    if (many <= MANY_ARCS) all.push(j);
  }
  const faint = many <= MANY_ARCS, of = chosen >= 0 ? `“${isolate(piece(run, chosen).slice(0, 18))}”` : `step ${s}`;
  const arcs = run.rule ? "the first token without it (dot) back to each one dropped" : "the token read (dot) back to each one it dropped";
  pen.font();
  pen.text(
    `layer ${l}: who dropped whom${geo.narrow ? "" : `, an arc from ${arcs} (tick)`}`,
    x0,
    arc - 13
  );
  if (!faint)
    pen.text(
      geo.narrow ? `${many}: zoom in` : `${many} in view: only those of ${of}; zoom in for all`,
      x1,
      arc + 4,
      "right"
    );
  pen.line(x0, base + 0.5, x1, base + 0.5, css.line);
  ctx.save();
  ctx.beginPath();
  ctx.rect(x0 - 4, arc - 4, x1 - x0 + 8, arcH + 12);
  ctx.clip();
  const middle = (j) => view.X(j) + geo.cw / 2, span = Math.max(1, x1 - x0);
  const trace = (j) => {
    const a = middle(j), d = middle(death[l * T + j]), r = Math.abs(d - a) / 2;
    ctx.moveTo(d, base);
    ctx.ellipse(
      (a + d) / 2,
      base,
      r,
      Math.min(arcH - 3, 7 + arcH * Math.sqrt(2 * r / span)),
      0,
      0,
      Math.PI,
      true
    );
  };
  const draw = (tokens, stroke, width, alpha, dash = []) => {
    if (!tokens.length) return;
    ctx.globalAlpha = alpha;
    ctx.strokeStyle = ctx.fillStyle = stroke;
    ctx.lineWidth = width;
    ctx.setLineDash(dash);
    ctx.beginPath();
    tokens.forEach(trace);
    ctx.stroke();
    ctx.setLineDash([]);
    if (alpha === 1)
      for (const j of tokens) {
        ctx.fillRect(middle(j) - 1, base - 4, 2, 9);
        ctx.beginPath();
        ctx.arc(middle(death[l * T + j]), base, 3.2, 0, 7);
        ctx.fill();
      }
    ctx.globalAlpha = 1;
  };
  if (faint) draw(all, css.soft, 1, 0.38);
  draw(
    [...dropped(run, l, s)].filter((j) => shown[j]),
    css.drop,
    chosen >= 0 ? 1.2 : 1.8,
    1
  );
  if (chosen >= 0) {
    if (chosen < Q && chosen <= s) draw([...dropped(run, l, chosen)], css.by, 1.8, 1, [4, 2]);
    if (death[l * T + chosen] <= s) draw([chosen], css.by, 2, 1);
  }
  ctx.restore();
}

// viewer/columns.js
function columns(view, width) {
  const { run, geo } = view, v = view.window(), Wd = Math.round(width * geo.ratio), cwd = Wd / (v[1] - v[0]), from = Math.floor(v[0]), to = Math.min(run.T, Math.ceil(v[1]));
  const starts = new Int32Array(Math.max(0, to - from) + 1);
  for (let i = 0; i < starts.length; i++)
    starts[i] = clamp(Math.round((from + i - v[0]) * cwd), 0, Wd);
  return {
    Wd,
    from,
    to,
    starts,
    fine: cwd >= 1,
    gap: cwd >= 7 ? Math.round(geo.ratio) : cwd >= 3 ? 1 : 0
  };
}
function tickFor(span, length, room) {
  for (let tick = 1; ; tick *= 10)
    for (const m of [1, 2, 5]) if (tick * m / span * length >= room) return tick * m;
}
function drawAxis(view, pen) {
  const { run, geo, css, ctx, state } = view, { x0, x1 } = geo, v = view.window(), span = v[1] - v[0], y = 29;
  const tick = tickFor(span, x1 - x0, 52);
  pen.line(x0, y, x1, y, css.line, 4);
  pen.line(x0, y, clamp(view.X(state.step) + geo.cw / 2, x0, x1), y, css.held, 4);
  pen.font(400, 11);
  for (let t = Math.ceil(v[0] / tick) * tick; t < v[1]; t += tick) {
    const x = view.X(t) + geo.cw / 2;
    pen.line(x, y + 6, x, y + 10, css.soft, 1);
    pen.text(String(t), x, y + 19, "center");
  }
  pen.font(600, 11);
  const xp = view.X(run.prompt), mixed = run.prompt > 0 && run.prompt < Math.max(run.T, run.domain);
  if (!mixed) pen.text(run.prompt ? "you wrote" : "the model wrote", x0, 8, "left");
  else {
    if (xp - x0 > 60) pen.text("you wrote", Math.min(xp, x1) - 7, 8, "right");
    if (x1 - xp > 90) pen.text("the model wrote", Math.max(xp, x0) + 7, 8, "left");
  }
  pen.font(400, 11);
  if (!geo.narrow) pen.text("step", x0 - 9, y + 19, "right");
  if (!view.view) return;
  const k = (x1 - x0) / run.domain;
  ctx.fillStyle = css.line;
  ctx.fillRect(x0, geo.map, x1 - x0, 6);
  ctx.fillStyle = css.soft;
  ctx.fillRect(x0 + v[0] * k, geo.map, Math.max(6, span * k), 6);
}

// viewer/cells.js
var FAR = 32;
function heldInk(view, l) {
  const { state, run, colour } = view;
  if (state.colour === "age") {
    const scale = 255 / Math.log1p(run.Q);
    return (j, s) => colour.age[Math.min(255, scale * Math.log1p(s - j)) | 0];
  }
  if (state.colour === "span") {
    view.spans[l] ??= spans(view, l);
    const span = view.spans[l];
    return (j) => colour.span[span[j]];
  }
  if (state.colour === "close") {
    const { close } = view.rank(l);
    return (j) => colour.close[close[j]];
  }
  return () => colour.held;
}
function spans({ run }, l) {
  const { T, Q, death } = run, scale = 255 / Math.log(Math.max(2, Q));
  return Uint8Array.from(
    { length: T },
    (_, j) => Math.min(255, scale * Math.log(Math.max(1, Math.min(Q, death[l * T + j]) - j)))
  );
}
function paintHeat(view) {
  const { run, state, px, geo, buffers } = view, last2 = view.heat, near = last2 && Math.abs(state.step - last2.step) <= FAR && state.colour !== "age";
  if (near && last2.step === state.step) return;
  const size = run.L * px.Wd, { cell, middle } = last2 || { cell: new Uint32Array(size), middle: new Uint32Array(size) }, h = Math.round(geo.rows.total * geo.ratio), out = buffers.heat.size(px.Wd, h, !last2);
  for (let l = 0; l < run.L; l++) {
    const row = rowOf(view, l, cell, middle);
    if (!near) {
      paintCells(view, row, px.from, px.to - 1, 0, px.Wd);
      spread(row, out, px.Wd);
    } else for (const j of changed(view, l, last2.step)) touch(view, row, out, j);
  }
  view.heat = { cell, middle, step: state.step };
  buffers.heat.show();
}
function rowOf(view, l, cell, middle) {
  const { rows, ratio } = view.geo, { Wd } = view.px, high = rows.height[l], top = rows.top[l] * ratio, thin = (high >= 18 ? 3 : high >= 12 ? 2 : 1) * ratio, inset = (high >= 18 ? 1.5 : high >= 7 ? 1 : 0.5) * ratio, m0 = Math.round(top + (high * ratio - thin) / 2);
  return {
    l,
    ink: heldInk(view, l),
    cell: cell.subarray(l * Wd, (l + 1) * Wd),
    middle: middle.subarray(l * Wd, (l + 1) * Wd),
    y0: Math.round(top + inset),
    y1: Math.round(top + high * ratio - inset),
    m0,
    m1: Math.round(m0 + thin)
  };
}
function spread({ cell, middle, y0, y1, m0, m1 }, out, Wd) {
  for (let y = y0; y < y1; y++) out.set(y >= m0 && y < m1 ? middle : cell, y * Wd);
}
function changed({ run, state, px }, l, since) {
  const lo = Math.min(state.step, since), hi = Math.max(state.step, since), at = l * (run.Q + 1), found = [];
  const add = (j) => j >= px.from && j < px.to && found.push(j);
  for (let j = lo + 1; j <= hi; j++) add(j);
  for (let i = run.first[at + lo]; i < run.first[at + hi + 1]; i++) add(run.order[i]);
  return found;
}
function touch(view, row, out, j) {
  const { Wd, from, to, starts } = view.px, x0 = starts[j - from];
  let first = j, last2 = j;
  while (first > from && starts[first - 1 - from] === x0) first--;
  while (last2 < to - 1 && starts[last2 + 1 - from] === x0) last2++;
  const x1 = Math.min(Wd, Math.max(x0 + 1, starts[last2 + 1 - from]));
  paintCells(view, row, first, last2, x0, x1);
  for (let y = row.y0; y < row.y1; y++) {
    const of = y >= row.m0 && y < row.m1 ? row.middle : row.cell;
    for (let x = x0; x < x1; x++) out[y * Wd + x] = of[x];
  }
}
function paintCells(view, { l, ink, cell, middle }, first, last2, x0, x1) {
  const { run, state, px, colour, shown } = view, { T, death } = run, { Wd, from, starts, gap } = px, s = state.step, end = Math.min(last2, s), base = l * T;
  cell.fill(0, x0, x1);
  middle.fill(0, x0, x1);
  if (px.fine) {
    for (let j = first; j <= end; j++) {
      const d = death[base + j], a = starts[j - from], b = Math.max(a + 1, starts[j - from + 1] - gap);
      let c = d > s ? ink(j, s) : d === s ? colour.drop : colour.gone;
      if (!shown[j]) c = tint(c, 0.15);
      for (let x = a; x < b; x++) {
        if (d >= s) cell[x] = c;
        if (d !== s) middle[x] = c;
      }
    }
    return;
  }
  for (let j = first; j <= end; ) {
    const x = starts[j - from];
    let n = 0, held = 0, now = 0, one = 0;
    for (; j <= end && starts[j - from] === x; j++) {
      if (!shown[j]) continue;
      const d = death[base + j];
      n++;
      if (d > s) {
        held++;
        one = j;
      } else if (d === s) now++;
    }
    if (!n || x >= Wd) continue;
    const c = held ? share(ink(one, s), held / n) : 0;
    cell[x] = now ? colour.drop : c;
    middle[x] = now ? 0 : c || colour.gone;
  }
}

// viewer/heatmap.js
function drawHeat(view, pen) {
  const { state, geo, css, ctx } = view, { x0, x1, W, rows, heat, narrow } = geo, w = x1 - x0, top = heat + rows.top[state.layer], high = rows.height[state.layer];
  pen.font();
  pen.text(
    narrow ? "layer × token" : "what each layer holds at this step: layer × token",
    x0,
    heat - 9
  );
  pen.text(state.groups ? "held, filtered" : "held", W, heat - 9, "right");
  ctx.fillStyle = css.panel;
  ctx.fillRect(x0, top, w, high);
  paintHeat(view);
  ctx.drawImage(view.buffers.heat.canvas, x0, heat, w, rows.total);
  drawSides(view, pen);
  ctx.strokeStyle = css.ink;
  ctx.lineWidth = 1.4;
  ctx.strokeRect(x0 - 2, top - 0.2, w + 4, high + 0.4);
  pen.font();
  pen.text("POS", x0 - 9, geo.pos + geo.posH / 2, "right");
  pen.blit(view.buffers.pos, x0, geo.pos, w, geo.posH, view.run.running ? 0 : 0.22);
}
function drawSides(view, pen) {
  const { run, state, geo, css, ctx, counts } = view, { x0, x1, W, rows, heat, narrow } = geo, room = narrow ? 12 : 34, open = heat + rows.top[state.layer] + rows.height[state.layer] / 2;
  for (let l = 0; l < run.L; l++) {
    const y = heat + rows.top[l] + rows.height[l] / 2, chosen = l === state.layer, n = counts.held[l * run.Q + state.step], thick = Math.min(6, rows.height[l] / 2);
    if (chosen || rows.alike) {
      pen.font(chosen ? 650 : 400);
      pen.text(`${narrow ? "" : "layer "}${l}`, x0 - 9, y, "right", chosen ? css.ink : css.soft);
      pen.text(String(n), W, y, "right", chosen ? css.ink : css.soft);
    }
    ctx.fillStyle = chosen ? css.held : css["held-soft"];
    ctx.fillRect(x1 + 7, y - thick / 2, Math.max(n ? 1 : 0, room * n / (state.step + 1)), thick);
  }
  pen.font(400, 11);
  for (const [a, b] of rows.groups) {
    const y = heat + (rows.top[a] + rows.top[b] + rows.height[b]) / 2;
    if (Math.abs(y - open) > 13) pen.text(`${a}–${b}`, x0 - 9, y, "right");
  }
}

// viewer/lanes.js
function paintPos(view) {
  const { run, px, colour, shown, geo } = view, { Wd, from, to, starts, gap } = px, lane = Math.round(geo.posH / 5 * geo.ratio), out = view.buffers.pos.size(Wd, 5 * lane);
  for (let j = from; j < to; j++) {
    const g = run.group[j], a = starts[j - from], b = Math.max(a + 1, starts[j - from + 1] - gap);
    if (g > 4) continue;
    const c = shown[j] ? colour.groups[g] : tint(colour.groups[g], 0.15);
    for (let y = g * lane; y < (g + 1) * lane - 1; y++)
      for (let x = a; x < b; x++) out[y * Wd + x] = c;
  }
  view.buffers.pos.show();
}

// viewer/ages.js
function paintAges(view, bars2, marks, h) {
  const { run, state, px, colour, shown, css } = view, { T, Q, death } = run, { Wd, from, to, starts } = px, l = state.layer, end = Math.min(to, Q);
  const top = Math.log2(1 + Math.max(1, Q)), row = (age) => clamp(Math.round((1 - Math.log2(1 + age) / top) * h), 0, h);
  const rows = Int32Array.from({ length: Q + 2 }, (_, age) => row(age));
  const held = new Int32Array(Q + 1), all = new Int32Array(Q + 1), line = new Uint32Array(Wd), ink = pack(parse(css.held)), aging = state.colour === "age";
  for (let young = 0; young < Q; ) {
    let old = young + 1;
    while (old < Q && rows[old] === rows[young]) old++;
    held.fill(0);
    all.fill(0);
    for (let j = 0; j < Q - young; j++) {
      if (!shown[j]) continue;
      const a = j + young, b = Math.min(Q, j + old), d = Math.min(b, death[l * T + j]);
      all[a]++;
      all[b]--;
      if (d > a) {
        held[a]++;
        held[d]--;
      }
    }
    const c = aging ? colour.age[Math.min(255, 255 * Math.log1p(young) / Math.log1p(Q)) | 0] : ink;
    line.fill(0);
    for (let t = 0, n = 0, of = 0, x = -1, sumN = 0, sumOf = 0; t < end; t++) {
      n += held[t];
      of += all[t];
      if (t < from) continue;
      if (starts[t - from] !== x) {
        x = starts[t - from];
        sumN = sumOf = 0;
      }
      sumN += n;
      sumOf += of;
      if (sumN) {
        const last2 = Math.max(x + 1, starts[t - from + 1]);
        for (let i = x; i < last2 && i < Wd; i++) line[i] = share(c, sumN / sumOf);
      }
    }
    for (let y = Math.min(rows[young] - 1, rows[old]), y1 = rows[young]; y < y1; y++)
      if (y >= 0) bars2.set(line, y * Wd);
    young = old;
  }
  for (let j = 0; j < Q; j++) {
    const d = death[l * T + j];
    if (d >= end || d < from || !shown[j]) continue;
    const a = starts[d - from], b = Math.max(a + 1, starts[d - from + 1] - px.gap), y = Math.max(0, rows[d - j] - 1);
    for (let k = 0; k < Math.round(view.geo.ratio) && y >= k; k++)
      for (let x = a; x < b && x < Wd; x++) marks[(y - k) * Wd + x] = colour.drop;
  }
}
function drawAges(view, pen) {
  const { run, state, geo, css, buffers } = view, { Q } = run, { x0, x1, life, lifeH, narrow } = geo, w = x1 - x0, l = state.layer;
  pen.font();
  pen.text(
    narrow ? `layer ${l}: ages held` : `layer ${l}: how old are the tokens it holds, step by step (log scale; bands are windows, edges are resets)`,
    x0,
    life - 13
  );
  pen.blit(buffers.bars, x0, life, w, lifeH, run.running ? 0 : 0.2);
  pen.blit(buffers.marks, x0, life, w, lifeH, 0);
  pen.font(400, 11);
  for (let age = 0; age < Q; age = age ? age * 10 : 1) {
    const y = life + lifeH * (1 - Math.log2(1 + age) / Math.log2(1 + Math.max(1, Q)));
    if (y > life + 4)
      pen.text(narrow ? String(age) : `age ${age}`, x0 - 9, Math.min(y, life + lifeH - 4), "right");
  }
  pen.line(x0, life + lifeH + 0.5, x1, life + lifeH + 0.5, css.line);
}

// viewer/lives.js
function paintLives(view) {
  const { geo, px, buffers, state } = view, h = Math.round(geo.lifeH * geo.ratio);
  const bars2 = buffers.bars.size(px.Wd, h), marks = buffers.marks.size(px.Wd, h);
  if (state.life === "age") paintAges(view, bars2, marks, h);
  else if (state.life === "every") {
    paintEvery(view);
    return;
  } else {
    buffers.live.size(px.Wd, h);
    paintBars(view, bars2, marks, h);
  }
  buffers.bars.show();
  buffers.marks.show();
}
function paintBars(view, bars2, marks, h) {
  const { run, state, px, colour, shown, geo } = view, { T, Q, death } = run, { Wd, from, to, starts, gap, fine } = px, l = state.layer, end = Math.min(to, Q);
  const [v0, v1] = view.window(), Y = (t) => clamp(Math.round((t - v0) / (v1 - v0) * h), 0, h), thick = Math.round(2 * geo.ratio);
  const ink = state.colour === "state" ? () => colour.soft : heldInk(view, l), aging = fine && state.colour === "age";
  const line = new Uint32Array(Wd), alive = new Uint16Array(Wd), width = new Uint16Array(Wd), leaving = new Int32Array(h + 1).fill(-1), next = new Int32Array(Math.max(0, end - from));
  view.edge = new Int32Array(h).fill(0);
  const put2 = (j, c) => {
    const a = starts[j - from], b = fine ? Math.max(a + 1, starts[j - from + 1] - gap) : a + 1;
    for (let x = a; x < b && x < Wd; x++) line[x] = c;
  };
  const dye = (j, t) => {
    const x = starts[j - from];
    if (fine) put2(j, shown[j] ? ink(j, t) : tint(ink(j, t), 0.13));
    else if (x < Wd) line[x] = alive[x] ? share(colour.soft, alive[x] / width[x]) : 0;
  };
  if (!fine) {
    for (let j = from; j < end; j++) if (starts[j - from] < Wd) width[starts[j - from]]++;
  }
  const living = aging ? /* @__PURE__ */ new Set() : null;
  for (let y = 0, j = from; y < h; y++) {
    for (; j < end && Y(j) <= y; j++) {
      const leave = Math.max(y + 1, Y(Math.min(death[l * T + j], Q)));
      next[j - from] = leaving[Math.min(h, leave)];
      leaving[Math.min(h, leave)] = j;
      if (shown[j] && !fine) alive[starts[j - from]]++;
      if (living) living.add(j);
      dye(j, Math.max(j, v0 + y / h * (v1 - v0)));
      view.edge[y] = fine ? starts[j - from + 1] : starts[j - from] + 1;
    }
    if (y && !view.edge[y]) view.edge[y] = view.edge[y - 1];
    for (let k = leaving[y]; k >= 0; k = next[k - from]) {
      if (living) living.delete(k);
      if (fine) put2(k, 0);
      else {
        if (shown[k]) alive[starts[k - from]]--;
        dye(k, 0);
      }
    }
    if (living && y % 3 === 0)
      for (const k of living) dye(k, Math.max(k, v0 + y / h * (v1 - v0)));
    bars2.set(line, y * Wd);
  }
  for (let j = from; j < end; j++) {
    const d = death[l * T + j], a = starts[j - from], b = fine ? Math.max(a + 1, starts[j - from + 1] - gap) : a + 1;
    if (d < Q && shown[j])
      for (let y = Math.max(0, Y(d) - thick); y < Math.min(h, Y(d)); y++)
        for (let x = a; x < b && x < Wd; x++) marks[y * Wd + x] = colour.drop;
  }
}
function paintLive(view, rows) {
  const { run, state, px, colour, shown } = view, { T, death } = run, { Wd, from, to, starts, gap, fine } = px, s = state.step, l = state.layer, end = Math.min(to, s + 1);
  const live = view.buffers.live, line = new Uint32Array(Wd);
  for (let j = from; j < end; ) {
    const x = starts[j - from];
    if (fine) {
      if (death[l * T + j] > s && shown[j])
        line.fill(colour.held, x, Math.max(x + 1, starts[j - from + 1] - gap));
      j++;
      continue;
    }
    let n = 0, held = 0;
    for (; j < end && starts[j - from] === x; j++) {
      n++;
      held += death[l * T + j] > s && shown[j] ? 1 : 0;
    }
    if (held && x < Wd) line[x] = share(colour.held, held / n);
  }
  for (let y = 0; y < rows; y++) live.out.set(line.subarray(0, view.edge[y]), y * Wd);
  live.show(rows);
}
function drawLives(view, pen) {
  if (view.state.life === "age") drawAges(view, pen);
  else drawBars(view, pen);
}
function drawBars(view, pen) {
  const { run, state, geo, css, ctx, buffers } = view, { T, death } = run, { x0, x1, life, lifeH, narrow } = geo, w = x1 - x0, s = state.step, l = state.layer, v = view.window();
  pen.font();
  pen.text(
    narrow ? `layer ${l}: each token’s life` : `layer ${l}: each token’s life, from the step it is read (top) to the step that drops it`,
    x0,
    life - 13
  );
  const Y = (t) => life + clamp((t - v[0]) / (v[1] - v[0]), 0, 1) * lifeH, ys = Y(s + 1), { width, height } = buffers.bars.canvas, rows = Math.round((ys - life) / lifeH * height), cut2 = rows / height, sx = clamp(pen.split, 0, 1), wide = Math.round(width * sx), tick = tickFor(v[1] - v[0], lifeH, 34);
  const part = (b) => {
    if (rows > 0 && wide > 0)
      ctx.drawImage(b.canvas, 0, 0, wide, rows, x0, life, w * wide / width, lifeH * cut2);
  };
  part(buffers.bars);
  if (state.colour === "state") {
    paintLive(view, rows);
    part(buffers.live);
  }
  part(buffers.marks);
  if (rows < height && wide > 0 && !run.running) {
    ctx.globalAlpha = 0.22;
    ctx.drawImage(
      buffers.bars.canvas,
      0,
      rows,
      wide,
      height - rows,
      x0,
      life + lifeH * cut2,
      w * wide / width,
      lifeH * (1 - cut2)
    );
    ctx.globalAlpha = 1;
  }
  if (s + 1 < v[1]) pen.line(view.X(s + 1), ys, x1, Y(v[1]), css.line, 1.2);
  ctx.globalAlpha = 0.6;
  pen.line(x0, ys, x1, ys, css.ink, 1, [3, 3]);
  ctx.globalAlpha = 1;
  pen.font(400, 11);
  pen.text(
    narrow ? String(Math.round(v[0])) : `step ${Math.round(v[0])}`,
    x0 - 9,
    life + 4,
    "right"
  );
  for (let t = Math.ceil(v[0] / tick) * tick; t < v[1]; t += tick) {
    const y = Y(t);
    if (y < life + 16 || Math.abs(y - ys) < 12) continue;
    pen.line(x0 - 5, y, x0 - 1, y, css.soft);
    pen.text(String(t), x0 - 9, y, "right");
  }
  if (ys - life > 18) pen.text(String(s), x0 - 9, ys, "right", css.ink);
  drawNote(view, pen);
  const j = state.token, d = j >= 0 ? death[l * T + j] : ALIVE;
  if (d <= s) {
    const y = Y(d), xd = view.X(d) + geo.cw / 2;
    pen.line(view.X(j) + geo.cw / 2, y, xd, y, css.by, 1.8);
    pen.dot(xd, y, 3.6, css.by);
  }
}
function drawNote(view, pen) {
  const { run, state, geo, css } = view, { T, death } = run, l = state.layer, s = state.step, n = view.counts.held[l * run.Q + s];
  let oldest = 0;
  while (oldest < s && !(death[l * T + oldest] > s && view.shown[oldest])) oldest++;
  const room = geo.x1 - Math.max(view.X(s) * 0.62, geo.x0 + 40);
  if (room < 190) return;
  pen.font(600);
  pen.text(
    `layer ${l} holds ${n} of ${view.counts.read[s]}`,
    geo.x1 - 8,
    geo.life + 6,
    "right",
    css.ink
  );
  pen.font();
  if (n && s > oldest)
    pen.text(
      `the oldest, “${isolate(piece(run, oldest).slice(0, 18))}”, was read ${s - oldest} steps ago`,
      geo.x1 - 8,
      geo.life + 23,
      "right"
    );
}

// viewer/memory.js
function paintMemory(view) {
  const { run, state, px, colour, counts, geo } = view, { L, Q } = run, { Wd, from, to, starts } = px, h = Math.round(geo.memH * geo.ratio);
  const out = view.buffers.memory.size(Wd, h), top = Math.max(1, L * run.domain), end = Math.min(to, Q);
  const order = Array.from(
    { length: L },
    (_, i) => i === 0 ? state.layer : i <= state.layer ? i - 1 : i
  );
  for (let t = from; t < end; ) {
    const a = starts[t - from], t0 = t;
    do
      t++;
    while (t < end && starts[t - from] === a);
    const b = Math.max(a + 1, starts[t - from]);
    let base = 0;
    for (const l of order) {
      let n = 0;
      for (let i = t0; i < t; i++) n += counts.held[l * Q + i];
      const next = base + n / (t - t0), y1 = h - Math.round(base / top * h), y0 = h - Math.round(next / top * h);
      const c = l === state.layer ? colour.held : colour.strata[l & 1];
      for (let y = y0; y < y1; y++) for (let x = a; x < b && x < Wd; x++) out[y * Wd + x] = c;
      base = next;
    }
  }
  view.buffers.memory.show();
  paintDense(view);
}
function paintDense(view) {
  const { run, counts, geo } = view, v = view.window(), path = new Path2D(), stride = Math.max(1, Math.floor((v[1] - v[0]) / 400)), end = Math.min(run.Q - 1, Math.floor(v[1]));
  for (let t = Math.floor(v[0]); t <= end; t = t + stride > end && t < end ? end : t + stride)
    path.lineTo(view.X(t) + geo.cw / 2, memoryY(view, run.L * counts.read[t]));
  view.dense = path;
}
var memoryY = ({ geo, run }, n) => geo.mem + geo.memH - n / (run.L * run.domain) * geo.memH;
function drawMemory2(view, pen) {
  const { run, state, geo, css, ctx, counts } = view, { L } = run, { x0, x1, mem, memH, narrow } = geo, w = x1 - x0, s = state.step;
  pen.font();
  pen.text(
    narrow ? "entries held, all layers" : `entries held by all layers, stacked (layer ${state.layer} at the bottom), under those of a dense model`,
    x0,
    mem - 12
  );
  pen.blit(view.buffers.memory, x0, mem, w, memH, run.running ? 0 : 0.25);
  pen.line(x0, mem + memH + 0.5, x1, mem + memH + 0.5, css.line);
  pen.font(400, 11);
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    const n = Math.round(part * L * run.domain), y = memoryY(view, n);
    pen.line(x0 - 5, y, x0 - 1, y, css.soft);
    if (part !== 0.25 && part !== 0.75) pen.text(brief(n), x0 - 9, y, "right");
  }
  ctx.strokeStyle = css.soft;
  ctx.lineWidth = 1.2;
  ctx.save();
  ctx.beginPath();
  ctx.rect(x0, mem - 8, w, memH + 10);
  ctx.clip();
  ctx.stroke(view.dense);
  ctx.restore();
  const dense = L * counts.read[s], held = counts.total[s], yd = memoryY(view, dense), yh = Math.min(mem + memH - 6, Math.max(memoryY(view, held), yd + 15));
  pen.font();
  pen.text(String(dense), x1 + 7, clamp(yd, mem - 2, yh - 14), "left");
  pen.font(650);
  pen.text(String(held), x1 + 7, yh, "left", css.ink);
  if (pen.x < x0 - 1 || pen.x > x1 + 1) return;
  pen.dot(pen.x, yd, 2.6, css.soft);
  pen.dot(pen.x, memoryY(view, held), 2.6, css.ink);
}

// viewer/names.js
var WIDE = 13;
var SLANT = -Math.PI / 4;
var LONGEST = 16;
var namesHeight = (cw) => cw >= WIDE ? 70 : 17;
function drawNames(view, pen) {
  if (view.geo.cw >= WIDE) drawSlanted(view, pen);
  else drawFew(view, pen);
}
var MARKS2 = {
  ".": "full stop",
  ",": "comma",
  ":": "colon",
  ";": "semicolon",
  "?": "question mark",
  "!": "exclamation mark"
};
var short = (run, j) => {
  const name = piece(run, j).trim();
  if (Object.hasOwn(MARKS2, name)) return MARKS2[name];
  if (name.length > LONGEST) return `${name.slice(0, LONGEST - 1)}…`;
  return /^\p{P}+$/u.test(name) ? `“${name}”` : name;
};
function wanted({ run, state, hover }) {
  const first = [[state.step, "now"]];
  if (hover && hover.token < run.T) first.unshift([hover.token, "hover"]);
  if (state.token >= 0) first.push([state.token, "chosen"]);
  return first;
}
function drawSlanted(view, pen) {
  const { run, geo, css, ctx, state } = view, v = view.window(), strong = new Map(wanted(view).reverse()), y = geo.names + geo.namesH - 5;
  for (let j = Math.ceil(v[0] - 0.5); j < Math.min(run.T, v[1] - 0.5); j++) {
    ctx.save();
    ctx.translate(view.X(j) + geo.cw / 2 + 3, y);
    ctx.rotate(SLANT);
    pen.font(strong.has(j) ? 700 : 400, 11);
    pen.text(
      short(run, j),
      0,
      0,
      "left",
      strong.has(j) ? css.ink : j > state.step ? css.faint : css.soft
    );
    ctx.restore();
  }
}
var widths = /* @__PURE__ */ new Map();
function widthOf(ctx, text, weight) {
  const key = `${weight}${text}`;
  if (widths.size > 2e3) widths.clear();
  if (!widths.has(key)) widths.set(key, ctx.measureText(text).width);
  return widths.get(key);
}
function drawFew(view, pen) {
  const { run, geo, css, ctx, counts, state } = view, { x0, x1, track, trackH, names } = geo, v = view.window(), taken = [], y = names + 8;
  const put2 = (j, weight, ink, must) => {
    if (j < v[0] - 0.5 || j >= v[1]) return;
    pen.font(weight, 11);
    const text = short(run, j), w = widthOf(ctx, text, weight), at = view.X(j) + geo.cw / 2, left = Math.max(x0 - 4, Math.min(x1 + 4 - w, at - w / 2));
    if (taken.some(([a, b]) => left < b + 5 && left + w > a - 5)) return;
    if (!must && (at < left || at > left + w)) return;
    taken.push([left, left + w]);
    pen.text(text, left, y, "left", ink);
    if (!must) pen.line(at, track + trackH + 1, at, track + trackH + 4, css.soft);
  };
  for (const [j] of wanted(view)) put2(j, 700, css.ink, true);
  for (const t of counts.peaks) put2(t, 400, t > state.step ? css.faint : css.soft, false);
}

// viewer/pen.js
function makePen(view) {
  const { ctx, css, geo, state, sans } = view, x = view.X(state.step) + geo.cw / 2, split = (view.X(state.step + 1) - geo.x0) / (geo.x1 - geo.x0);
  let font = "";
  return {
    x,
    split,
    // Each setting asks the page for its styles, so the same font is not set twice in a row.
    font: (weight = 400, points = 12) => {
      const next = `${weight} ${points}px ${sans}`;
      if (next !== font) ctx.font = font = next;
    },
    text: (t, at, y, align = "left", fill2 = css.soft) => {
      ctx.textAlign = align;
      ctx.fillStyle = fill2;
      ctx.fillText(t, at, y);
    },
    line: (xa, ya, xb, yb, stroke, width = 1, dash = []) => {
      ctx.strokeStyle = stroke;
      ctx.lineWidth = width;
      ctx.setLineDash(dash);
      ctx.beginPath();
      ctx.moveTo(xa, ya);
      ctx.lineTo(xb, yb);
      ctx.stroke();
      ctx.setLineDash([]);
    },
    dot: (at, y, radius, fill2) => {
      ctx.fillStyle = fill2;
      ctx.beginPath();
      ctx.arc(at, y, radius, 0, 7);
      ctx.fill();
    },
    blit: ({ canvas }, at, y, w, h, ghost) => {
      const sw = canvas.width, cut2 = Math.round(sw * clamp(split, 0, 1)), cw = w * cut2 / sw;
      if (cut2 > 0) ctx.drawImage(canvas, 0, 0, cut2, canvas.height, at, y, cw, h);
      if (cut2 < sw && ghost) {
        ctx.globalAlpha = ghost;
        ctx.drawImage(canvas, cut2, 0, sw - cut2, canvas.height, at + cw, y, w - cw, h);
        ctx.globalAlpha = 1;
      }
    }
  };
}

// viewer/track.js
function paintTrack(view) {
  const { run, state, px, colour, counts, geo } = view, { Wd, from, to, starts } = px, h = Math.round(geo.trackH * geo.ratio), out = view.buffers.track.size(Wd, h), end = Math.min(to, run.Q), one = layerDrops(view, state.layer), height = (n) => n ? Math.max(1, Math.round(n / counts.most * h)) : 0;
  for (let t = from; t < end; ) {
    const a = starts[t - from];
    let all = 0, own = 0;
    for (; t < end && starts[t - from] === a; t++)
      if (counts.drops[t] > all) {
        all = counts.drops[t];
        own = one[t];
      }
    const b = Math.max(a + 1, starts[t - from] - px.gap), y0 = h - height(all), y1 = h - height(own);
    for (let y = y0; y < h; y++)
      out.fill(y < y1 ? colour.rest : colour.drop, y * Wd + a, y * Wd + Math.min(b, Wd));
  }
  view.buffers.track.show();
}
function layerDrops({ run, shown }, l) {
  const { T, Q, death } = run, out = new Int32Array(Q);
  for (let j = 0; j < Q; j++) if (shown[j] && death[l * T + j] < Q) out[death[l * T + j]]++;
  return out;
}
function drawTrack(view, pen) {
  const { run, state, geo, counts, css } = view, { x0, x1, W, track, trackH, narrow } = geo;
  pen.blit(view.buffers.track, x0, track, x1 - x0, trackH, run.running ? 0 : 0.4);
  pen.line(x0, track + trackH + 0.5, x1, track + trackH + 0.5, css.line);
  pen.font(400, 11);
  pen.text(narrow ? "drops" : "drops here", x0 - 9, track + trackH / 2, "right");
  if (counts.most) pen.text(`most ${counts.most}`, W, track + 3, "right");
  pen.font(650);
  pen.text(String(counts.drops[state.step]), W, track + trackH - 5, "right", css.ink);
}

// viewer/stage.js
function layout(view) {
  const W = view.width, narrow = W < 620, { run, state } = view, arcs = state.arcs === "on", v = view.window();
  const x0 = narrow ? 46 : 72, x1 = W - (narrow ? 72 : 76), cw = (x1 - x0) / (v[1] - v[0]), ratio = Math.min(3, devicePixelRatio || 1);
  const geo = { W, narrow, x0, x1, cw, ratio, map: 57, track: 69, trackH: 26, posH: 25, memH: 96 };
  geo.rows = rowsOf(run.L, state.layer, narrow);
  geo.grid = state.life === "every" ? everyGrid(run.L, W - 2) : null;
  geo.names = geo.track + geo.trackH + 3;
  geo.namesH = namesHeight(cw);
  geo.heat = geo.names + geo.namesH + 20;
  geo.pos = geo.heat + geo.rows.total + 9;
  geo.arc = geo.pos + geo.posH + 38;
  geo.arcH = arcs ? 76 : 0;
  geo.life = arcs ? geo.arc + geo.arcH + 44 : geo.pos + geo.posH + 40;
  geo.lifeH = geo.grid ? geo.grid.height : narrow ? 170 : 220;
  geo.mem = geo.life + geo.lifeH + 42;
  geo.H = view.options.embed ? geo.pos + geo.posH + 4 : geo.mem + geo.memH + 10;
  view.geo = geo;
  const w = Math.round(W * ratio), h = Math.round(geo.H * ratio);
  if (view.canvas.width !== w || view.canvas.height !== h) {
    view.canvas.width = w;
    view.canvas.height = h;
    view.canvas.style.height = `${geo.H}px`;
    view.scrub.style.left = `${x0}px`;
    view.scrub.style.width = `${x1 - x0}px`;
    view.stale = true;
  }
  if (view.stale || !view.px) view.px = columns(view, x1 - x0);
}
function paint(view) {
  view.heat = null;
  paintLives(view);
  paintMemory(view);
  paintPos(view);
  paintTrack(view);
}
function drawStage(view) {
  const { run, state, geo, ctx } = view;
  ctx.setTransform(geo.ratio, 0, 0, geo.ratio, 0, 0);
  ctx.clearRect(0, 0, geo.W, geo.H);
  ctx.imageSmoothingEnabled = false;
  ctx.textBaseline = "middle";
  const pen = makePen(view);
  if (!run.Q) {
    pen.font();
    pen.text("Nothing has been read yet.", geo.x0, geo.heat);
    return;
  }
  drawAxis(view, pen);
  drawTrack(view, pen);
  drawHeat(view, pen);
  if (state.arcs === "on") drawArcs(view, pen);
  if (state.life === "every") drawEvery(view, pen);
  else drawLives(view, pen);
  drawMemory2(view, pen);
  drawAcross(view, pen);
  drawNames(view, pen);
}
function drawScrub(view) {
  const { run, state, geo, grip, scrub } = view, s = state.step, v = view.window(), text = String(s);
  write(grip, text);
  const at = clamp(view.X(s) + geo.cw / 2 - geo.x0, 0, geo.x1 - geo.x0);
  grip.style.transform = `translateX(calc(${at.toFixed(1)}px - 50%))`;
  grip.style.visibility = s < v[0] - 1 || s > v[1] ? "hidden" : "";
  attribute(scrub, "aria-valuemin", "0");
  attribute(scrub, "aria-valuemax", String(Math.max(0, run.Q - 1)));
  attribute(scrub, "aria-valuenow", text);
  attribute(
    scrub,
    "aria-valuetext",
    run.Q ? `step ${s} of ${run.Q - 1}, ${isolate(piece(run, s))} was read` : "no steps"
  );
  const hidden = !(run.running && !state.follow);
  if (view.newest.hidden !== hidden) view.newest.hidden = hidden;
}

// viewer/story.js
function drawStory(view) {
  const { run, state } = view, key = `${run.id}|${run.T}|${state.step}|${state.layer}|${state.token}|${run.wordPos.length}|${state.open}`;
  if (key === view.told || !run.Q) return;
  view.told = key;
  view.story.replaceChildren(
    ...state.token >= 0 ? tokenStory(view, state.token) : stepStory(view)
  );
  if (view.toldToken !== state.token) view.story.scrollTop = 0;
  view.toldToken = state.token;
}
function tokenStory(view, j) {
  const { run, state } = view, { L, T, Q } = run, s = state.step, l = state.layer, out = [quote(run, j), ` · ${speech(run, j)} · `];
  if (j > s)
    return [
      ...out,
      j < Q ? `will be read at step ${j}.` : "the last sampled token: it has not been read, so nothing can drop it yet."
    ];
  out.push(
    j < run.prompt ? `you wrote it, read at step ${j}. ` : `the model wrote it, read at step ${j}. `
  );
  const gone = [];
  for (let i = 0; i < L; i++) if (run.death[i * T + j] <= s) gone.push(i);
  gone.sort((a, b) => (b === l) - (a === l) || a - b);
  gone.slice(0, 3).forEach((i, n) => {
    const d = run.death[i * T + j], after = byRule(run, i, j);
    out.push(
      n ? "; " : "Dropped in ",
      i === l ? node("b", "", `layer ${i}`) : `layer ${i}`,
      after ? ` before step ${d}, after ` : ` at step ${d}, when `,
      link(view, after ? d - 1 : d),
      " was read"
    );
  });
  if (gone.length > 3) out.push(`; and in ${gone.length - 3} more`);
  if (gone.length) out.push(". ");
  out.push(`At step ${s} held in ${L - gone.length} of ${L} layers. `);
  return [...out, ...reverse(view, j), ...howWritten(view, j)];
}
function howWritten(view, j) {
  if (!isWritten(view.run, j) || view.state.open === j) return [];
  const b = button("What did it know when it wrote this?", "tok", () => {
    openWritten(view, j);
    view.written.focus();
  });
  return [" ", b];
}
var ruler = (run) => run.rule || "the budget";
function reverse(view, j) {
  const { run, state } = view, { L } = run, l = state.layer, here = decided(run, l, j);
  let all = 0, layers2 = 0;
  for (let i = 0; i < L; i++) {
    const n = decided(run, i, j).length;
    all += n;
    layers2 += n > 0 && i !== l;
  }
  const after = run.rule ? `After it was read, ${run.rule}` : "Reading it", subject = run.ruled && !run.rule ? "Reading it, and the budget after it," : after;
  if (!all) return [node("span", "quiet", `${subject} dropped nothing.`)];
  const others = all - here.length, rest = others ? `${here.length ? ", and " : ""}${plural(others, "entry", "entries")} in ${plural(layers2, "other layer", "other layers")}` : "";
  return [
    `${subject} dropped `,
    ...list(view, here, 6),
    here.length ? " in " : "",
    here.length ? node("b", "", `layer ${l}`) : "",
    `${rest}.`
  ];
}
function stepStory(view) {
  const { run, state } = view, { L } = run, s = state.step, l = state.layer, gone = [...dropped(run, l, s)], before = gone.filter((j) => byRule(run, l, j)), here = gone.filter((j) => !byRule(run, l, j));
  let all = 0;
  for (let i = 0; i < L; i++) all += dropped(run, i, s).length;
  const out = [`At step ${s} `, link(view, s), " was read"], none = !all && !run.ruled;
  if (none) out.push(" and no layer dropped anything");
  else if (!run.rule)
    out.push(
      " and ",
      node("b", "", `layer ${l}`),
      here.length ? " dropped " : " dropped nothing",
      ...list(view, here, 8)
    );
  out.push(". ");
  if (run.ruled && s > 0)
    out.push(
      "Before it, after ",
      link(view, s - 1),
      ` was read, ${ruler(run)} dropped `,
      ...before.length ? list(view, before, 8) : ["nothing"],
      " in ",
      node("b", "", `layer ${l}`),
      ". "
    );
  const where = run.ruled ? "by then" : "here", together = all ? `All ${L} layers together dropped ${plural(all, "entry", "entries")} ${where}. ` : `No layer dropped anything ${where}. `;
  return [
    ...out,
    node("span", "quiet", `${none ? "" : together}Choose a word or a cell for its story.`)
  ];
}

// viewer/theme.js
var HUES = [
  ...["ink", "soft", "line", "paper", "panel", "drop", "by", "gone", "faint", "held", "held-soft"],
  ...["young", "old", "safe", "close", "short", "long", "sel"],
  ...["p0", "p1", "p2", "p3", "p4", "p5"]
];
function applyTheme(view, name) {
  view.box.dataset.theme = name === "dark" || name !== "light" && view.dark.matches ? "dark" : "light";
  const style = getComputedStyle(view.box);
  view.css = Object.fromEntries(HUES.map((k) => [k, style.getPropertyValue(`--${k}`).trim()]));
  view.sans = style.fontFamily;
  const rgb = Object.fromEntries(HUES.map((k) => [k, parse(view.css[k])]));
  view.colour = {
    held: pack(rgb.held),
    soft: pack(rgb["held-soft"]),
    drop: pack(rgb.drop),
    rest: pack(between(rgb.drop, rgb.paper, 0.55)),
    gone: pack(rgb.gone),
    age: ramp(rgb.young, rgb.old),
    close: ramp(rgb.safe, rgb.close),
    span: ramp(rgb.short, rgb.long),
    groups: [0, 1, 2, 3, 4, 5].map((g) => pack(rgb[`p${g}`])),
    strata: [
      pack(between(rgb["held-soft"], rgb.paper, 0.2)),
      pack(between(rgb["held-soft"], rgb.paper, 0.42))
    ]
  };
}

// viewer/tip.js
function drawTip(view) {
  const { run, state, tip, hover, geo } = view;
  if (!hover || hover.panel === "memory" || view.dragging || hover.token >= run.T) {
    if (!tip.hidden) tip.hidden = true;
    view.tipped = "";
    return;
  }
  const j = hover.token, l = hover.layer, s = state.step, key = `${run.id}|${run.T}|${j}|${l}|${s}`;
  if (key !== view.tipped) {
    view.tipped = key;
    tip.replaceChildren(...tell(view, j, l, s));
  }
  tip.hidden = false;
  const width = tip.offsetWidth;
  tip.style.left = `${clamp(hover.x - width / 2, 0, Math.max(0, geo.W - width))}px`;
  tip.style.top = `${beside(view, tip.offsetHeight)}px`;
}
function beside({ geo, hover }, height) {
  switch (hover.panel) {
    case "text":
      return hover.y + 20;
    case "life":
    case "arc":
      return (hover.panel === "arc" ? geo.arc : geo.life) - 26 - height;
    default:
      return geo.pos + geo.posH + 6;
  }
}
function tell(view, j, l, s) {
  const { run } = view, { T, Q, death } = run, d = death[l * T + j], w = run.wordOf[j], m = run.margin[l * T + j], after = byRule(run, l, j), out = [];
  const word = w < 0 ? "" : legible(run.text.slice(run.words[4 * w], run.words[4 * w + 1])), head = node("div", "", quote(run, j));
  if (word && word !== piece(run, j)) {
    const b = node("bdi", "", word);
    head.append(" in “", b, "”");
  }
  head.append(` · ${speech(run, j)}`);
  out.push(
    head,
    node(
      "div",
      "quiet",
      `token ${j} · layer ${l} · ${j < run.prompt ? "you wrote it" : "the model wrote it"}`
    )
  );
  if (j >= Q) out.push(node("div", "", "sampled last: not read yet"));
  else if (d === ALIVE) out.push(node("div", "", `read at step ${j}, held to the end`));
  else
    out.push(
      node(
        "div",
        "",
        `read at step ${j}; dropped ${after ? "before" : "at"} step ${d}${d > s ? " (still to come)" : ""}, ${after ? "after" : "when"} `,
        quote(run, after ? d - 1 : d),
        ` was read, at age ${d - j}`
      )
    );
  if (!Number.isNaN(m)) {
    const r = view.rank(l), gone = d !== ALIVE, pool = gone ? r.dropped : r.kept, lower = search(pool.length, (i) => pool[i], m), value = m.toFixed(Math.abs(m) < 0.1 ? 4 : 2).replace("-", "−");
    const others = Math.max(1, pool.length - 1);
    let note = gone ? `a clearer drop than ${percent((pool.length - 1 - lower) / others)} of this layer’s drops` : `closer to a drop than ${percent((pool.length - 1 - lower) / others)} of what this layer holds`;
    if (pool.length < 2) note = "no other in this layer to compare with";
    if (run.nearTie && Math.abs(m) < run.nearTie) note = "a near tie, inside the float budget";
    out.push(
      node(
        "div",
        "quiet",
        `${gone ? "gate logit at the drop" : "smallest gate logit so far"} ${value}: ${note}`
      )
    );
  } else if (j < Q)
    out.push(
      node("div", "quiet", run.rule ? `${run.rule} decides, no gate` : "no gate has judged it yet")
    );
  const p = run.logprob[j];
  if (!Number.isNaN(p) && j > 0)
    out.push(
      node(
        "div",
        "quiet",
        `the model gave it ${p > Math.log(0.01) ? percent(Math.exp(p)) : `${(100 * Math.exp(p)).toPrecision(1)} %`} before reading it`
      )
    );
  return out;
}

// viewer/view.js
var View = class {
  constructor(root, options = {}) {
    this.root = root;
    this.options = options;
    this.state = { ...FIRST };
    this.view = this.hover = this.run = this.heat = null;
    this.frame = this.playing = 0;
    this.buffers = Object.fromEntries(
      ["heat", "bars", "live", "marks", "memory", "pos", "track"].map((k) => [k, new Pixels()])
    );
    build(this);
    listen(this);
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.width = this.canvas.clientWidth;
    this.resize = new ResizeObserver(() => {
      this.width = this.canvas.clientWidth;
      const narrow = this.box.clientWidth < 640;
      this.box.toggleAttribute("data-narrow", narrow);
      this.refit();
    });
    this.resize.observe(this.box);
    this.refit = () => {
      this.text.remeasure();
      this.stale = true;
      this.draw();
    };
    document.fonts?.addEventListener("loadingdone", this.refit);
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.onTheme = () => this.theme(this.options.theme);
    this.dark.addEventListener("change", this.onTheme);
    this.theme(options.theme);
  }
  destroy() {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.resting);
    this.text.stop();
    this.resize.disconnect();
    document.fonts?.removeEventListener("loadingdone", this.refit);
    this.dark.removeEventListener("change", this.onTheme);
    this.box.remove();
  }
  theme(name) {
    this.options.theme = name;
    applyTheme(this, name);
    this.stale = true;
    drawLegend(this);
    this.draw();
  }
  /** Show a payload: the same run grown, or another one. */
  update(payload) {
    take(this, payload);
  }
  where() {
    return whereIs(this.state);
  }
  settle() {
    settle(this);
  }
  recount() {
    const { run, state } = this, everyone = new Uint8Array(run.T).fill(1);
    this.shown = state.groups ? run.group.map((g) => state.groups >> g & 1) : everyone;
    this.counts = count(run, this.shown);
    this.whole = state.groups ? count(run, everyone) : this.counts;
  }
  refilter() {
    this.recount();
    this.stale = true;
    drawLegend(this);
    this.draw();
  }
  rank(l) {
    this.ranks[l] ??= rank(this.run, l);
    return this.ranks[l];
  }
  // ---- moving
  set(key, value) {
    this.state[key] = value;
    this.stale = true;
    drawLegend(this);
    if (RELAYS[key]) {
      this.text.lay(key === "grain");
      this.text.remeasure();
    }
    if (key === "speed" && this.playing) this.begin();
    this.draw();
  }
  go(step, keepFollow = false) {
    const last2 = this.run.Q - 1;
    this.state.step = clamp(step, 0, Math.max(0, last2));
    if (!keepFollow) this.state.follow = this.run.running && this.state.step === last2;
    const v = this.window();
    if (this.view && (this.state.step < v[0] || this.state.step >= v[1] - 1))
      this.zoom(1, this.state.step);
    this.draw();
  }
  /** The tokens in view, [first, last). */
  window() {
    return this.view || [0, this.run.domain];
  }
  /** Show fewer tokens (factor > 1) or more, with token `centre` staying where it is. */
  zoom(factor, centre = this.state.step) {
    const [a, b] = this.window(), D = this.run.domain, span = clamp((b - a) / factor, Math.min(D, 16), D);
    if (span >= D) this.view = null;
    else {
      const f = factor === 1 ? 0.5 : clamp((centre - a) / (b - a), 0, 1), start = clamp(centre - f * span, 0, D - span);
      this.view = [start, start + span];
    }
    this.stale = true;
    this.draw();
  }
  pan(tokens) {
    if (!this.view) return;
    const [a, b] = this.view, start = clamp(a + tokens, 0, this.run.domain - (b - a));
    this.view = [start, start + b - a];
    this.stale = true;
    this.draw();
  }
  play() {
    play(this);
  }
  begin() {
    begin(this);
  }
  stop() {
    stop(this);
  }
  /** Choose a token; choosing the chosen one again lets it go, unless it is to `stay`. */
  pick(token, stay = false) {
    this.state.token = token === this.state.token && !stay ? -1 : token;
    this.draw();
  }
  setLayer(l) {
    const layer = clamp(l, 0, this.run.L - 1);
    if (layer !== this.state.layer) {
      this.state.layer = layer;
      this.stale = true;
      drawLegend(this);
    }
    this.draw();
  }
  token(x) {
    const { x0, cw } = this.geo, v = this.window();
    return clamp(v[0] + (x - x0) / cw, 0, this.run.domain - 1e-6);
  }
  X(j) {
    return this.geo.x0 + (j - this.window()[0]) * this.geo.cw;
  }
  // ---- drawing
  draw() {
    this.settle();
    this.again();
  }
  again() {
    if (!this.frame && this.run)
      this.frame = requestAnimationFrame((now) => {
        this.frame = 0;
        this.render(now);
      });
  }
  render(now) {
    if (!this.width) return;
    const began = performance.now();
    this.advance(now);
    layout(this);
    if (this.stale) paint(this);
    this.stale = false;
    drawStage(this);
    drawLine(this);
    drawTiles(this);
    this.text.draw();
    drawStory(this);
    drawScrub(this);
    drawTip(this);
    this.cost = performance.now() - began;
  }
  advance(now) {
    advance(this, now);
  }
};

// viewer/main.js
function mount(element, payload, options = {}) {
  const view = new View(element, options);
  view.update(payload);
  return view;
}
var views = /* @__PURE__ */ new WeakMap();
function alike(a, b) {
  if (!a || !b || a === b) return a === b;
  const keys = /* @__PURE__ */ new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].every(
    (k) => a[k] === b[k] || typeof a[k] === "object" && JSON.stringify(a[k]) === JSON.stringify(b[k])
  );
}
function streamlitTheme(parent) {
  const host = parent.host || parent, value = getComputedStyle(host).getPropertyValue("--st-background-color").trim(), hex = /^#([0-9a-f]{6})$/i.test(value);
  return hex && parse(value).reduce((a, b) => a + b, 0) < 384 ? "dark" : "light";
}
function component({ parentElement, data, setStateValue, setTriggerValue }) {
  let view = views.get(parentElement);
  if (!view?.box.isConnected) {
    try {
      view = new View(parentElement, { theme: streamlitTheme(parentElement) });
    } catch (error) {
      console.error(error);
      setStateValue("broken", true);
      return void 0;
    }
    views.set(parentElement, view);
  }
  view.options.report = (at) => setStateValue("at", at);
  view.options.ask = (what, about) => setTriggerValue(what, about);
  const theme = streamlitTheme(parentElement);
  if (theme !== view.options.theme) view.theme(theme);
  if (data && !alike(data, view.data)) {
    view.data = data;
    view.update(data);
  }
  hello(data, (found) => setStateValue("hello", found));
  return () => setTimeout(() => {
    if (!view.box.isConnected) view.destroy();
  }, 1e3);
}
export {
  component as default,
  mount
};
