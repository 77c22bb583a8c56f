// The layer x token heatmap at one step: its panel, and what stands beside its rows. Its cells: cells.js.

import { paintHeat } from "./cells.js";

export function drawHeat(view, pen) {
  const { state, geo, css, ctx } = view,
    { x0, x1, W, rows, heat, narrow } = geo,
    w = x1 - x0,
    top = heat + rows.top[state.layer],
    high = rows.height[state.layer];
  pen.font();
  pen.text(
    narrow ? "layer × token" : "what each layer holds at this step: layer × token",
    x0,
    heat - 9,
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

/** Left and right of the rows: which layer, and how much it holds. Groups are named by their range. */
function drawSides(view, pen) {
  const { run, state, geo, css, ctx, counts } = view,
    { x0, x1, W, rows, heat, narrow } = geo,
    room = narrow ? 12 : 34,
    open = heat + rows.top[state.layer] + rows.height[state.layer] / 2;
  for (let l = 0; l < run.L; l++) {
    const y = heat + rows.top[l] + rows.height[l] / 2,
      chosen = l === state.layer,
      n = counts.held[l * run.Q + state.step],
      thick = Math.min(6, rows.height[l] / 2);
    if (chosen || rows.alike) {
      pen.font(chosen ? 650 : 400);
      pen.text(`${narrow ? "" : "layer "}${l}`, x0 - 9, y, "right", chosen ? css.ink : css.soft);
      pen.text(String(n), W, y, "right", chosen ? css.ink : css.soft);
    }
    ctx.fillStyle = chosen ? css.held : css["held-soft"];
    ctx.fillRect(x1 + 7, y - thick / 2, Math.max(n ? 1 : 0, (room * n) / (state.step + 1)), thick);
  }
  pen.font(400, 11);
  for (const [a, b] of rows.groups) {
    const y = heat + (rows.top[a] + rows.top[b] + rows.height[b]) / 2;
    if (Math.abs(y - open) > 13) pen.text(`${a}–${b}`, x0 - 9, y, "right");
  }
}
