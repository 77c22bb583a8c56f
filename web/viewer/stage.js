// The canvas of the linked view as a whole: where its panels lie, what crosses them, and the handle
// above them. Each panel draws itself: track.js, names.js, heatmap.js, arcs.js, lives.js, memory.js.

import { isolate } from "../shared/legible.js";
import { drawAcross } from "./across.js";
import { drawArcs } from "./arcs.js";
import { columns, drawAxis } from "./columns.js";
import { attribute, write } from "./dom.js";
import { drawEvery, everyGrid } from "./every.js";
import { drawHeat } from "./heatmap.js";
import { paintPos } from "./lanes.js";
import { drawLives, paintLives } from "./lives.js";
import { drawMemory, paintMemory } from "./memory.js";
import { drawNames, namesHeight } from "./names.js";
import { makePen } from "./pen.js";
import { rowsOf } from "./rows.js";
import { drawTrack, paintTrack } from "./track.js";
import { clamp } from "./values.js";
import { piece } from "./words.js";

export function layout(view) {
  const W = view.width,
    narrow = W < 620,
    { run, state } = view,
    arcs = state.arcs === "on",
    v = view.window();
  // Room on both sides for half of the handle beside the buttons.
  const x0 = narrow ? 46 : 72,
    x1 = W - (narrow ? 72 : 76),
    cw = (x1 - x0) / (v[1] - v[0]),
    ratio = Math.min(3, devicePixelRatio || 1);
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
  // In a frame of another page the picture ends below the parts of speech.
  geo.H = view.options.embed ? geo.pos + geo.posH + 4 : geo.mem + geo.memH + 10;
  view.geo = geo;
  const w = Math.round(W * ratio),
    h = Math.round(geo.H * ratio);
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

/** Paint what does not depend on the step into the buffers that frames draw from. */
export function paint(view) {
  view.heat = null;
  paintLives(view);
  paintMemory(view);
  paintPos(view);
  paintTrack(view);
}

export function drawStage(view) {
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
  drawMemory(view, pen);
  drawAcross(view, pen);
  drawNames(view, pen);
}

export function drawScrub(view) {
  const { run, state, geo, grip, scrub } = view,
    s = state.step,
    v = view.window(),
    text = String(s);
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
    run.Q ? `step ${s} of ${run.Q - 1}, ${isolate(piece(run, s))} was read` : "no steps",
  );
  const hidden = !(run.running && !state.follow);
  if (view.newest.hidden !== hidden) view.newest.hidden = hidden;
}
