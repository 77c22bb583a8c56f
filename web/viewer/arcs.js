// Who dropped whom: in the chosen layer, an arc from the token being read back to each one it dropped.
//
// A dot ends an arc at the dropper, a tick at the dropped. All arcs in view as long as they can be
// told apart; beyond that only those of the chosen token, or of the step where none is chosen.

import { isolate } from "../shared/legible.js";
import { dropped } from "./run.js";
import { piece } from "./words.js";

const MANY_ARCS = 240;

export function drawArcs(view, pen) {
  const { run, state, geo, css, ctx, shown } = view,
    { T, Q, death } = run,
    { x0, x1, arc, arcH } = geo,
    l = state.layer,
    s = state.step,
    chosen = state.token,
    v = view.window();
  const base = arc + arcH,
    at = l * (Q + 1),
    seen = (j) => j >= v[0] - 1 && j < v[1];
  const all = [];
  let many = 0;
  // Drops come by step, so those in view end where the window ends.
  for (let i = run.first[at + Math.max(0, Math.floor(v[0]))]; i < run.first[at + s + 1]; i++) {
    const j = run.order[i];
    if (!shown[j] || !(seen(j) || seen(death[l * T + j]))) continue;
    many++;
    if (many <= MANY_ARCS) all.push(j);
  }
  const faint = many <= MANY_ARCS,
    of = chosen >= 0 ? `“${isolate(piece(run, chosen).slice(0, 18))}”` : `step ${s}`;
  // A rule decides between two tokens: its arc ends at the first that does not see who is gone.
  const arcs = run.rule
    ? "the first token without it (dot) back to each one dropped"
    : "the token read (dot) back to each one it dropped";
  pen.font();
  pen.text(
    `layer ${l}: who dropped whom${geo.narrow ? "" : `, an arc from ${arcs} (tick)`}`,
    x0,
    arc - 13,
  );
  if (!faint)
    pen.text(
      geo.narrow ? `${many}: zoom in` : `${many} in view: only those of ${of}; zoom in for all`,
      x1,
      arc + 4,
      "right",
    );
  pen.line(x0, base + 0.5, x1, base + 0.5, css.line);
  ctx.save();
  ctx.beginPath();
  ctx.rect(x0 - 4, arc - 4, x1 - x0 + 8, arcH + 12);
  ctx.clip();
  const middle = (j) => view.X(j) + geo.cw / 2,
    span = Math.max(1, x1 - x0);
  const trace = (j) => {
    const a = middle(j),
      d = middle(death[l * T + j]),
      r = Math.abs(d - a) / 2;
    ctx.moveTo(d, base);
    ctx.ellipse(
      (a + d) / 2,
      base,
      r,
      Math.min(arcH - 3, 7 + arcH * Math.sqrt((2 * r) / span)),
      0,
      0,
      Math.PI,
      true,
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
    1,
  );
  if (chosen >= 0) {
    if (chosen < Q && chosen <= s) draw([...dropped(run, l, chosen)], css.by, 1.8, 1, [4, 2]);
    if (death[l * T + chosen] <= s) draw([chosen], css.by, 2, 1);
  }
  ctx.restore();
}
