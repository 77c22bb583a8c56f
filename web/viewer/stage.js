// The canvas of the linked view as a whole: where its panels lie, the pen they share, what crosses
// them, and the handle above them. Each panel draws itself; see heatmap.js, triangle.js and memory.js.

import { drawArcs } from "./arcs.js";
import { columns, drawAxis } from "./columns.js";
import { attribute, write } from "./dom.js";
import { drawHeat } from "./heatmap.js";
import { drawLives } from "./lives.js";
import { drawMemory } from "./memory.js";
import { dropped } from "./run.js";
import { clamp } from "./values.js";
import { piece } from "./words.js";

export function layout(view) {
  const W = view.width,
    narrow = W < 620,
    { L } = view.run,
    arcs = view.state.arcs === "on";
  // Room on both sides for half of the handle beside the buttons.
  const x0 = narrow ? 46 : 72,
    x1 = W - (narrow ? 72 : 76),
    v = view.window();
  const lh = L <= 12 ? 22 : L <= 16 ? 18 : L <= 26 ? 13 : 8;
  const map = 57,
    heat = 86,
    pos = heat + L * lh + 9,
    posH = 25,
    arc = pos + posH + 38,
    arcH = arcs ? 76 : 0,
    life = arcs ? arc + arcH + 44 : pos + posH + 40,
    lifeH = narrow ? 170 : 220,
    mem = life + lifeH + 42,
    memH = 96;
  const H = mem + memH + 10,
    ratio = Math.min(3, devicePixelRatio || 1);
  view.geo = {
    W,
    H,
    narrow,
    x0,
    x1,
    lh,
    map,
    heat,
    pos,
    posH,
    arc,
    arcH,
    life,
    lifeH,
    mem,
    memH,
    ratio,
    cw: (x1 - x0) / (v[1] - v[0]),
  };
  const w = Math.round(W * ratio),
    h = Math.round(H * ratio);
  if (view.canvas.width !== w || view.canvas.height !== h) {
    view.canvas.width = w;
    view.canvas.height = h;
    view.canvas.style.height = `${H}px`;
    view.scrub.style.left = `${x0}px`;
    view.scrub.style.width = `${x1 - x0}px`;
    view.stale = true;
  }
  if (view.stale || !view.px) view.px = columns(view, x1 - x0);
}

/** The few strokes that all panels share. Left of `split` a picture is solid, right of it a ghost. */
function makePen(view) {
  const { ctx, css, geo, state, sans } = view,
    x = view.X(state.step) + geo.cw / 2,
    split = (view.X(state.step + 1) - geo.x0) / (geo.x1 - geo.x0);
  let font = "";
  return {
    x,
    split,
    // Each setting asks the page for its styles, so the same font is not set twice in a row.
    font: (weight = 400, points = 12) => {
      const next = `${weight} ${points}px ${sans}`;
      if (next !== font) ctx.font = font = next;
    },
    text: (t, at, y, align = "left", fill = css.soft) => {
      ctx.textAlign = align;
      ctx.fillStyle = fill;
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
    blit: ({ canvas }, at, y, w, h, ghost) => {
      const sw = canvas.width,
        cut = Math.round(sw * clamp(split, 0, 1)),
        cw = (w * cut) / sw;
      if (cut > 0) ctx.drawImage(canvas, 0, 0, cut, canvas.height, at, y, cw, h);
      if (cut < sw && ghost) {
        ctx.globalAlpha = ghost;
        ctx.drawImage(canvas, cut, 0, sw - cut, canvas.height, at + cw, y, w - cw, h);
        ctx.globalAlpha = 1;
      }
    },
  };
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
  drawHeat(view, pen);
  if (state.arcs === "on") drawArcs(view, pen);
  drawLives(view, pen);
  drawMemory(view, pen);
  drawAcross(view, pen);
}

/** What crosses all panels: the seam, the hovered and the chosen column, the scrubber. */
function drawAcross(view, pen) {
  const { run, state, geo, css, ctx } = view,
    { T } = run,
    { x0, x1, heat, lh } = geo,
    v = view.window(),
    s = state.step,
    bottom = geo.mem + geo.memH;
  const inView = (j) => j >= v[0] - 1 && j <= v[1],
    cw = Math.max(1, geo.cw);
  if (run.prompt > v[0] && run.prompt < Math.min(v[1], Math.max(T, run.domain)))
    pen.line(view.X(run.prompt), 4, view.X(run.prompt), bottom, css.soft, 1);
  if (view.hover && view.hover.panel !== "memory" && inView(view.hover.token)) {
    ctx.globalAlpha = 0.1;
    ctx.fillStyle = css.ink;
    ctx.fillRect(view.X(view.hover.token), heat, cw, bottom - heat);
    ctx.globalAlpha = 1;
  }
  const j = state.token;
  if (j >= 0) {
    ctx.lineWidth = 1.6;
    ctx.strokeStyle = css.sel;
    if (inView(j))
      ctx.strokeRect(
        view.X(j) - 1.2,
        heat - 1.2,
        cw + (geo.cw > 3 ? 1.6 : 2.4),
        geo.pos + geo.posH - heat + 2.4,
      );
    ctx.strokeStyle = css.by;
    const d = run.death[state.layer * T + j],
      y = heat + state.layer * lh;
    if (d <= s && inView(d)) {
      ctx.lineWidth = 2;
      ctx.strokeRect(view.X(d) - 1, y + 1, Math.max(3, geo.cw) + 1, lh - 2);
    }
    if (j < run.Q && j <= s) {
      // What it dropped, in every layer: a dashed frame.
      ctx.lineWidth = 1.4;
      ctx.setLineDash([2, 2]);
      for (let l = 0; l < run.L; l++)
        for (const k of dropped(run, l, j))
          if (inView(k))
            ctx.strokeRect(view.X(k) - 0.5, heat + l * lh + 2, Math.max(3, geo.cw), lh - 4);
      ctx.setLineDash([]);
    }
  }
  if (pen.x >= x0 - 1 && pen.x <= x1 + 1) {
    ctx.globalAlpha = 0.6;
    pen.line(pen.x, 44, pen.x, bottom, css.ink, 1, [3, 3]);
    ctx.globalAlpha = 1;
  }
}

export function drawScrub(view) {
  const { run, state, geo, grip, scrub } = view,
    s = state.step,
    v = view.window(),
    text = String(s);
  write(grip, text);
  grip.style.left = `${clamp(view.X(s) + geo.cw / 2 - geo.x0, 0, geo.x1 - geo.x0)}px`;
  grip.style.visibility = s < v[0] - 1 || s > v[1] ? "hidden" : "";
  attribute(scrub, "aria-valuemin", "0");
  attribute(scrub, "aria-valuemax", String(Math.max(0, run.Q - 1)));
  attribute(scrub, "aria-valuenow", text);
  attribute(
    scrub,
    "aria-valuetext",
    run.Q ? `step ${s} of ${run.Q - 1}, ${piece(run, s)} was read` : "no steps",
  );
  const hidden = !(run.running && !state.follow);
  if (view.newest.hidden !== hidden) view.newest.hidden = hidden;
}
