// One frame of the film, and the picture to share: title, text, heatmap, model and share dropped.
//
// Drawn from the run into a canvas of one size, whatever the window's. It knows no page.

import { dropped } from "./run.js";
import { cut } from "./units.js";
import { bytes, percent } from "./values.js";

export const SIZE = [1200, 676];
const EDGE = 48;
const LINE = 40;
const LINES = 7;
const TOP = 128;
const FONT = 25;

/** Where each word of a run lies: worked out once for all frames. */
const places = new WeakMap();

export function still(view, ctx, step) {
  const { css } = view,
    [W, H] = SIZE;
  ctx.fillStyle = css.paper;
  ctx.fillRect(0, 0, W, H);
  ctx.textBaseline = "alphabetic";
  ctx.textAlign = "left";
  heading(view, ctx, step);
  words(view, ctx, step);
  cells(view, ctx, step);
}

function heading({ run, css, sans, whole }, ctx, step) {
  const [W, H] = SIZE,
    gone = step ? 1 - (whole.total[step] - run.L) / (run.L * step) : 0,
    entry = run.memory.kv_bytes_per_entry;
  ctx.fillStyle = css.ink;
  ctx.font = `650 30px ${sans}`;
  ctx.fillText("What a language model forgets", EDGE, 66);
  ctx.font = `400 18px ${sans}`;
  ctx.fillStyle = css.soft;
  ctx.fillText(
    [run.model || "a pruned model", run.rule, `token ${step + 1} of ${run.Q}`]
      .filter(Boolean)
      .join(" · "),
    EDGE,
    96,
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
      96,
    );
  ctx.textAlign = "left";
  ctx.font = `400 15px ${sans}`;
  ctx.fillText(
    "bar: layers that still hold the word · struck: no layer does · Dynamic Context Pruning, arXiv 2305.15805",
    EDGE,
    H - 20,
  );
  ctx.textAlign = "left";
}

/** The lines of the text around the step, each word with the share of layers that hold it. */
function words({ run, css }, ctx, step) {
  if (!places.has(run)) places.set(run, lay(run, cut(run, "word"), ctx));
  const laid = places.get(run),
    now = laid.find(({ unit }) => last(unit) >= step)?.line ?? 0,
    lines = laid.length ? laid[laid.length - 1].line + 1 : 0,
    from = Math.max(0, Math.min(now - LINES + 3, lines - LINES));
  for (const { unit, x, line, width } of laid) {
    if (line < from || line >= from + LINES) continue;
    const y = TOP + (line - from + 1) * LINE - 10,
      first = unit.parts[0].first,
      read = first <= step,
      share = read ? heldOf(run, unit, step) : 0,
      current = first <= step && last(unit) >= step;
    ctx.font = fontFor(run, unit);
    if (current) {
      ctx.fillStyle = css.ink;
      ctx.fillRect(x - 3, y - 24, width + 6, 32);
    }
    ctx.globalAlpha = read ? 0.5 + 0.5 * share : 0.4;
    ctx.fillStyle = current ? css.paper : css.ink;
    ctx.fillText(run.text.slice(unit.start, unit.end), x, y, width + 2);
    ctx.globalAlpha = 1;
    if (!read) continue;
    ctx.fillStyle = css["held-soft"];
    ctx.globalAlpha = 0.35;
    ctx.fillRect(x, y + 7, width, 4);
    ctx.globalAlpha = 1;
    ctx.fillStyle = css.held;
    ctx.fillRect(x, y + 7, width * share, 4);
    if (share === 0 && !current) {
      ctx.fillStyle = css.soft;
      ctx.fillRect(x, y - 8, width, 2);
    }
  }
}

/** What the model wrote is in italics, here as on the page. */
const fontFor = (run, { parts }) =>
  `${parts[0].first >= run.prompt ? "italic" : "normal"} 400 ${FONT}px "Source Serif", Georgia, serif`;
const last = (unit) => unit.parts[unit.parts.length - 1].last;

function lay(run, units, ctx) {
  const [W] = SIZE,
    out = [];
  let x = EDGE,
    line = 0,
    from = 0;
  for (const unit of units) {
    ctx.font = fontFor(run, unit);
    const gap = run.text.slice(unit.gap, unit.start),
      width = Math.min(ctx.measureText(run.text.slice(unit.start, unit.end)).width, W - 2 * EDGE);
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
  let n = 0,
    all = 0;
  for (const { first, last } of parts)
    for (let j = first; j <= last && j <= step; j++)
      for (let l = 0; l < L; l++, all++) n += death[l * T + j] > step;
  return n / Math.max(1, all);
}

/** Layer by token at the step: held, dropped now, dropped earlier. */
function cells({ run, css, sans }, ctx, step) {
  const [W, H] = SIZE,
    top = TOP + LINES * LINE + 22,
    high = (H - 46 - top) / run.L,
    left = EDGE + 64,
    wide = (W - EDGE - left) / run.T;
  ctx.font = `400 15px ${sans}`;
  ctx.fillStyle = css.soft;
  ctx.fillText("layer 0", EDGE, top + Math.min(high, 15));
  ctx.fillText(`layer ${run.L - 1}`, EDGE, top + run.L * high - 3);
  const cell = (j, y, colour, tall) => {
    ctx.fillStyle = colour;
    ctx.fillRect(
      left + j * wide,
      y + ((1 - tall) * high) / 2,
      Math.max(0.7, wide - (wide > 4 ? 1 : 0)),
      Math.max(0.7, high * tall - (high > 6 ? 1.5 : 0)),
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
