// The few strokes that all panels share. Left of `split` a picture is solid, right of it a ghost.

import { clamp } from "./values.js";

export function makePen(view) {
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
    dot: (at, y, radius, fill) => {
      ctx.fillStyle = fill;
      ctx.beginPath();
      ctx.arc(at, y, radius, 0, 7);
      ctx.fill();
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
