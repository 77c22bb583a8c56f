// The shared axis in device pixels, and its ticks.

import { clamp } from "./values.js";

/** Device-pixel column where each token in view starts (one entry more for the end). */
export function columns(view, width) {
  const { run, geo } = view,
    v = view.window(),
    Wd = Math.round(width * geo.ratio),
    cwd = Wd / (v[1] - v[0]),
    from = Math.floor(v[0]),
    to = Math.min(run.T, Math.ceil(v[1]));
  const starts = new Int32Array(Math.max(0, to - from) + 1);
  for (let i = 0; i < starts.length; i++)
    starts[i] = clamp(Math.round((from + i - v[0]) * cwd), 0, Wd);
  return {
    Wd,
    from,
    to,
    starts,
    fine: cwd >= 1,
    gap: cwd >= 7 ? Math.round(geo.ratio) : cwd >= 3 ? 1 : 0,
  };
}

/** The step between ticks: the first round number that is `room` pixels or more on this axis. */
export function tickFor(span, length, room) {
  for (let tick = 1; ; tick *= 10)
    for (const m of [1, 2, 5]) if (((tick * m) / span) * length >= room) return tick * m;
}

export function drawAxis(view, pen) {
  const { run, geo, css, ctx, state } = view,
    { x0, x1 } = geo,
    v = view.window(),
    span = v[1] - v[0],
    y = 29;
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
  const xp = view.X(run.prompt),
    mixed = run.prompt > 0 && run.prompt < Math.max(run.T, run.domain);
  if (!mixed) pen.text(run.prompt ? "you wrote" : "the model wrote", x0, 8, "left");
  else {
    if (xp - x0 > 60) pen.text("you wrote", Math.min(xp, x1) - 7, 8, "right");
    if (x1 - xp > 90) pen.text("the model wrote", Math.max(xp, x0) + 7, 8, "left");
  }
  pen.font(400, 11);
  if (!geo.narrow) pen.text("step", x0 - 9, y + 19, "right");
  if (!view.view) return;
  // Zoomed in: where the window lies in the whole run; a drag moves it.
  const k = (x1 - x0) / run.domain;
  ctx.fillStyle = css.line;
  ctx.fillRect(x0, geo.map, x1 - x0, 6);
  ctx.fillStyle = css.soft;
  ctx.fillRect(x0 + v[0] * k, geo.map, Math.max(6, span * k), 6);
}
