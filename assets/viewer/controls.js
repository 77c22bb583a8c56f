// The parts of the view and what hands and keys do to them.

const SHOWS = {
  text: ["fades with", [["share", "all layers"], ["layer", "this layer"]]],
  grain: ["by", [["token", "token"], ["word", "word"], ["sentence", "sentence"]]],
  density: ["set", [["tight", "tight"], ["normal", "normal"], ["airy", "airy"]]],
  colour: ["colour", [["state", "state"], ["age", "age"], ["close", "closeness"]]],
  life: ["lifelines", [["lives", "lives"], ["age", "age"]]],
  arcs: ["arcs", [["off", "off"], ["on", "on"]]],
  speed: ["speed", [[0.5, "½×"], [1, "1×"], [2, "2×"], [4, "4×"]]],
};
// What a change of these asks for, beyond a redraw.
const RELAYS = { grain: true, density: true };

function segment(view, key) {
  const [name, choices] = SHOWS[key], seg = group("seg", name, node("span", "", name));
  seg.dataset.key = key;
  view.segments[key] = choices.map(([value, label]) => {
    const b = button(label, "", () => view.set(key, value));
    b.value = value;
    seg.append(b);
    return b;
  });
  return seg;
}

function build(view) {
  const box = view.box = node("section", "dcp");
  box.setAttribute("aria-label", "What each layer can still attend to");
  if (view.options.title) box.append(node("h2", "", view.options.title), node("p", "lede", "Every layer keeps its own context. A dropped token is out of reach of every later token in that layer."));
  view.summary = node("p", "sr");
  view.spoken = node("p", "sr");
  view.spoken.setAttribute("role", "status");
  view.tile = Object.fromEntries(["dropped", "memory", "speed", "first"].map((k) => [k, makeTile(k)]));
  view.text = new TextPanel(view);
  view.story = node("div", "story");
  view.keys = node("div", "keys");
  view.segments = {};
  view.chips = group("keys chips", "Filter by part of speech");
  view.chip = [0, 1, 2, 3, 4].map((g) => {
    const b = button("", "chip", () => { view.state.groups ^= 1 << g; view.refilter(); }), dot = node("i"), name = node("span");
    dot.style.background = `var(--p${g})`;
    b.append(dot, name);
    view.chips.append(b);
    return { b, name };
  });
  view.newest = button("newest ⇥", "newest", () => { view.state.follow = true; view.go(view.run.Q - 1, true); });
  view.newest.hidden = true;
  view.full = button("full screen", "quietly", () => { if (view.root.ownerDocument.fullscreenElement) document.exitFullscreen(); else box.requestFullscreen(); });
  view.full.hidden = !document.fullscreenEnabled;
  buildStage(view);
  view.label = node("span");
  const hints = node("span", "hints");
  for (const [key, does] of [["← →", "step"], ["↑ ↓", "layer"], ["space", "play"], ["enter", "pick token"], ["+ −", "zoom"], ["esc", "clear"]]) hints.append(node("kbd", "", key), ` ${does}  `);
  box.append(
    view.summary, view.spoken, node("div", "tiles", ...Object.values(view.tile).map((t) => t.box)),
    node("div", "bar over", node("div", "tools", segment(view, "text"), segment(view, "grain"), segment(view, "density")), view.full),
    view.text.box, view.story, view.keys,
    node("div", "bar", node("div", "tools", segment(view, "colour"), segment(view, "life"), segment(view, "arcs"), segment(view, "speed"), view.newest), view.chips),
    view.stage, node("div", "foot", view.label, hints),
  );
  view.root.append(box);
  showPlay(view);
}

function buildStage(view) {
  view.canvas = node("canvas");
  view.canvas.tabIndex = 0;
  view.canvas.setAttribute("role", "img");
  view.ctx = view.canvas.getContext("2d");
  if (!view.ctx) throw new Error("this browser has no canvas");
  view.playButton = button("", "play", () => view.play());
  const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  icon.setAttribute("viewBox", "0 0 10 10");
  view.playPath = document.createElementNS("http://www.w3.org/2000/svg", "path");
  icon.append(view.playPath);
  view.playLabel = node("span");
  view.playButton.append(icon, view.playLabel);
  const zoom = group("zoom", "Zoom");
  for (const [sign, does, factor] of [["−", "Zoom out", 1 / 2], ["+", "Zoom in", 2]]) {
    const b = button(sign, "", () => view.zoom(factor));
    b.setAttribute("aria-label", does);
    zoom.append(b);
  }
  view.scrub = node("div", "scrub");
  view.scrub.tabIndex = 0;
  view.scrub.setAttribute("role", "slider");
  view.scrub.setAttribute("aria-label", "Step: how many tokens have been read");
  view.scrub.setAttribute("aria-keyshortcuts", "ArrowLeft ArrowRight ArrowUp ArrowDown Home End Space Enter Escape + -");
  view.grip = node("div", "grip");
  view.scrub.append(view.grip);
  view.tip = node("div", "tip");
  view.tip.hidden = true;
  view.stage = node("div", "stage", view.canvas, view.playButton, zoom, view.scrub, view.tip);
}

function showPlay(view) {
  const on = !!view.playing;
  view.playPath.setAttribute("d", on ? "M1 0h3v10H1zM6 0h3v10H6z" : "M1.5 0 9.5 5 1.5 10z");
  write(view.playLabel, on ? "Pause" : "Play");
  view.playButton.setAttribute("aria-label", on ? "Pause" : "Play the run step by step");
}

/** What every mark means, for the colours, chips and choices that are on. */
function drawLegend(view) {
  const { state, run } = view;
  for (const [key, buttons] of Object.entries(view.segments)) for (const b of buttons) b.setAttribute("aria-pressed", b.value === String(state[key]));
  view.box.dataset.density = state.density;
  view.chip.forEach(({ b, name }, g) => {
    b.setAttribute("aria-pressed", !!(state.groups & (1 << g)));
    if (run) name.textContent = run.groupNames[g];
  });
  const item = (kind, background, label) => {
    const i = node("i", kind);
    i.style.background = background;
    if (kind === "edge") i.style.borderColor = background;
    return node("span", "", i, label);
  };
  const scale = {
    state: [item("", "var(--held)", "held")],
    age: [item("ramp", "linear-gradient(90deg, var(--young), var(--old))", "held: newest to oldest")],
    close: [item("ramp", "linear-gradient(90deg, var(--safe), var(--close))", "held: far from to near a drop (smallest gate logit, ranked in its layer; deepest: dropped later)")],
  }[state.colour];
  const fading = state.text === "share" ? node("span", "", node("span", "fade", "faded"), " dropped by some layers, ", node("s", "", "by all")) : node("span", "", node("s", "", "dropped"), ` by layer ${state.layer}`);
  view.keys.replaceChildren(...scale, item("notch", "var(--drop)", "dropped at this step"), item("thin", "var(--gone)", "dropped earlier"), item("edge", "var(--by)", "read when the chosen one was dropped"), item("dash", "", "dropped by the chosen one"), fading);
}

function listen(view) {
  const { canvas, scrub } = view;
  const at = (e) => { const r = canvas.getBoundingClientRect(); return [e.clientX - r.left, e.clientY - r.top]; };
  const drag = (e) => { view.stop(); view.go(Math.floor(view.token(at(e)[0]))); };
  for (const el of [canvas, scrub]) el.addEventListener("keydown", (e) => view.key(e));
  scrub.addEventListener("pointerdown", (e) => { scrub.setPointerCapture(e.pointerId); scrub.focus({ preventScroll: true }); view.dragging = true; drag(e); e.preventDefault(); });
  scrub.addEventListener("pointermove", (e) => { if (view.dragging) drag(e); });
  for (const end of ["pointerup", "pointercancel"]) scrub.addEventListener(end, () => { view.dragging = false; view.settle(); });
  scrub.addEventListener("dblclick", () => view.zoom(1e-9));
  const slide = (e) => { const { x0, x1 } = view.geo, [a, b] = view.window(); view.pan(((at(e)[0] - x0) / (x1 - x0)) * view.run.domain - (a + b) / 2); };
  let sliding = false;
  canvas.addEventListener("pointerdown", (e) => {
    const hit = locate(view, ...at(e));
    if (!hit || hit.panel !== "map") return;
    sliding = true;
    canvas.setPointerCapture(e.pointerId);
    slide(e);
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { sliding = false; });
  canvas.addEventListener("pointermove", (e) => {
    if (sliding) slide(e);
    else if (e.pointerType !== "touch" || e.buttons) hoverAt(view, ...at(e));
  });
  canvas.addEventListener("pointerleave", () => { view.hover = null; view.draw(); });
  canvas.addEventListener("click", (e) => {
    const hit = locate(view, ...at(e));
    if (!hit || hit.panel === "map") return;
    if (hit.panel === "memory" || hit.panel === "axis") { view.stop(); view.go(hit.token); return; }
    if (hit.panel === "label") { view.setLayer(hit.layer); return; }
    if (hit.panel === "heat" && hit.layer !== view.state.layer) { view.setLayer(hit.layer); view.pick(hit.token, true); } else view.pick(hit.token);
  });
  for (const el of [canvas, scrub]) el.addEventListener("wheel", (e) => {
    if (e.ctrlKey || e.metaKey) { e.preventDefault(); view.zoom(Math.exp(-e.deltaY / 300), view.token(at(e)[0])); } else if (view.view && Math.abs(e.deltaX) > Math.abs(e.deltaY)) { e.preventDefault(); view.pan(e.deltaX / view.geo.cw); }
  }, { passive: false });
  view.box.addEventListener("fullscreenchange", () => { write(view.full, view.box.matches(":fullscreen") ? "leave full screen" : "full screen"); });
  view.text.listen();
}

/** What is drawn at a point of the canvas. */
function locate(view, x, y) {
  const { geo: g, run, state } = view;
  if (!g || !run.Q) return null;
  const layer = Math.floor((y - g.heat) / g.lh);
  if (x < g.x0 || x > g.x1) return layer >= 0 && layer < run.L ? { panel: "label", layer } : null;
  const token = Math.floor(view.token(x)), known = token < run.T;
  if (view.view && Math.abs(y - g.map - 3) < 8) return { panel: "map", token };
  if (y < g.heat - 18) return { panel: "axis", token };
  if (layer >= 0 && layer < run.L) return known ? { panel: "heat", layer, token } : null;
  if (y >= g.pos && y < g.pos + g.posH) return known ? { panel: "pos", layer: state.layer, token } : null;
  if (g.arcH && Math.abs(y - g.arc - g.arcH) < 9) return known ? { panel: "arc", layer: state.layer, token } : null;
  if (y >= g.life && y <= g.life + g.lifeH) {
    if (state.life === "lives") return known ? { panel: "life", layer: state.layer, token } : null;
    const age = Math.round(2 ** (((g.life + g.lifeH - y) / g.lifeH) * Math.log2(1 + run.Q)) - 1), born = token - age;
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
  const { state, run } = view, big = event.shiftKey ? 10 : 1;
  const act = {
    ArrowLeft: () => view.go(state.step - big), ArrowRight: () => view.go(state.step + big), Home: () => view.go(0), End: () => view.go(run.Q - 1),
    PageUp: () => view.go(state.step + 32), PageDown: () => view.go(state.step - 32),
    ArrowUp: () => view.setLayer(state.layer - 1), ArrowDown: () => view.setLayer(state.layer + 1),
    " ": () => view.play(), Enter: () => view.pick(state.step), Escape: () => { view.hover = null; view.pick(-1, true); },
    "+": () => view.zoom(1.5), "=": () => view.zoom(1.5), "-": () => view.zoom(1 / 1.5), 0: () => view.zoom(1e-9),
  }[event.key];
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  if (event.key === "ArrowLeft" || event.key === "ArrowRight") view.stop();
  act();
}
