// What crosses all panels: the seam, the hovered and the chosen column, the scrubber's line.

import { dropped } from "./run.js";

export function drawAcross(view, pen) {
  const { run, geo, css, ctx, hover } = view,
    { x0, x1, track, heat } = geo,
    v = view.window(),
    // The panels of "every layer" have axes of their own.
    ends = geo.grid
      ? [
          [track, geo.life - 30],
          [geo.mem, geo.mem + geo.memH],
        ]
      : [[track, geo.mem + geo.memH]];
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

const inView = (j, v) => j >= v[0] - 1 && j <= v[1];

/** The chosen token's column, the token that dropped it in the chosen layer, and what it dropped. */
function drawChosen({ run, state, geo, css, ctx }, v) {
  const { T, Q } = run,
    { heat, rows } = geo,
    x = (k) => geo.x0 + (k - v[0]) * geo.cw,
    j = state.token,
    s = state.step;
  ctx.lineWidth = 1.6;
  ctx.strokeStyle = css.sel;
  if (inView(j, v))
    ctx.strokeRect(
      x(j) - 1.2,
      heat - 1.2,
      Math.max(1, geo.cw) + (geo.cw > 3 ? 1.6 : 2.4),
      geo.pos + geo.posH - heat + 2.4,
    );
  ctx.strokeStyle = css.by;
  const d = run.death[state.layer * T + j],
    frame = (l, k, inset) =>
      ctx.strokeRect(
        x(k) - 0.5,
        heat + rows.top[l] + inset,
        Math.max(3, geo.cw),
        Math.max(3, rows.height[l] - 2 * inset),
      );
  if (d <= s && inView(d, v)) {
    ctx.lineWidth = 2;
    frame(state.layer, d, 1);
  }
  if (j >= Q || j > s) return;
  // What it dropped, in every layer: a dashed frame.
  ctx.lineWidth = 1.4;
  ctx.setLineDash([2, 2]);
  for (let l = 0; l < run.L; l++)
    for (const k of dropped(run, l, j)) if (inView(k, v)) frame(l, k, rows.height[l] > 12 ? 2 : 0);
  ctx.setLineDash([]);
}
