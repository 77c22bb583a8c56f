// How a view takes a payload: the same run grown, or another one.

import { takeDial } from "./dial.js";
import { write } from "./dom.js";
import { playOnce } from "./film.js";
import { showFindings } from "./findings_box.js";
import { drawLegend } from "./legend.js";
import { middling, refusal, unpack } from "./run.js";
import { summarise } from "./telling.js";
import { tellRows } from "./tiles.js";
import { clamp } from "./values.js";
import { showWritten } from "./written.js";

// The state of the last few runs looked at: a view that the page takes away and puts back, or a run
// that is left and opened again, is as it was.
const remembered = new Map();
const FEW = 8;

export function take(view, payload) {
  const problem = refusal(payload);
  write(view.notice, problem);
  view.box.toggleAttribute("data-refused", !!problem);
  if (problem) return;
  const fresh = view.run?.id !== payload.id,
    wasRunning = view.run?.running,
    wasDimmed = view.run?.dimmed,
    run = (view.run = unpack(payload));
  if (fresh) begun(view);
  const { state } = view;
  state.step = clamp(state.step, 0, Math.max(0, run.Q - 1));
  if (!run.running && wasRunning && state.follow) state.step = run.Q - 1;
  // Worked out again when asked for.
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
  // What is about to be replaced is no film any more.
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

/** A run begins: whoever pressed the button is to see it. */
function comeIntoSight(view) {
  const { top } = view.box.getBoundingClientRect();
  if (top >= 0 && top < innerHeight / 3) return;
  view.box.scrollIntoView({ block: "start", behavior: view.still.matches ? "auto" : "smooth" });
}

/** A run not shown before, or not for a while: as it was left, else at its last step. */
function begun(view) {
  const { run } = view,
    // Each run has a state object of its own, so that one that is left keeps what it had.
    state = (view.state = { ...view.state });
  Object.assign(state, {
    token: -1,
    follow: run.running,
    groups: 0,
    placed: null,
    open: -1,
    shift: undefined,
  });
  state.step = run.running ? 0 : run.Q - 1;
  if (state.layer < 0 || state.layer >= run.L) state.layer = middling(run);
  Object.assign(state, remembered.get(run.id));
  remembered.set(run.id, state);
  if (remembered.size > FEW) remembered.delete(remembered.keys().next().value);
  view.view = null;
  view.stop();
}

/** Go where the page asks; a place already followed is not asked for again. */
function place(view, at) {
  const { run, state } = view;
  if (!at || at.n === state.placed || run.running) return;
  state.placed = at.n;
  if (at.layer >= 0 && at.layer < run.L) state.layer = at.layer;
  if (at.token !== undefined) state.token = at.token >= 0 && at.token < run.T ? at.token : -1;
  if (at.step >= 0 && at.step < run.Q) view.go(at.step);
  view.reported = view.where();
}
