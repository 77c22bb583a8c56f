// Tokens named over the heatmap: always the current, the hovered and the chosen one, then the steps
// that dropped most; all of them, slanted, where columns are wide enough.

import { piece } from "./words.js";

/** Columns of at least so many pixels have room for a slanted name each. */
const WIDE = 13;
const SLANT = -Math.PI / 4;
const LONGEST = 16;

export const namesHeight = (cw) => (cw >= WIDE ? 70 : 17);

export function drawNames(view, pen) {
  if (view.geo.cw >= WIDE) drawSlanted(view, pen);
  else drawFew(view, pen);
}

// A full stop alone would be taken for a speck.
const MARKS = {
  ".": "full stop",
  ",": "comma",
  ":": "colon",
  ";": "semicolon",
  "?": "question mark",
  "!": "exclamation mark",
};

const short = (run, j) => {
  const name = piece(run, j).trim();
  if (Object.hasOwn(MARKS, name)) return MARKS[name];
  if (name.length > LONGEST) return `${name.slice(0, LONGEST - 1)}…`;
  return /^\p{P}+$/u.test(name) ? `“${name}”` : name;
};

/** The tokens that must be named, most wanted first: [token, its kind]. */
function wanted({ run, state, hover }) {
  const first = [[state.step, "now"]];
  if (hover && hover.token < run.T) first.unshift([hover.token, "hover"]);
  if (state.token >= 0) first.push([state.token, "chosen"]);
  return first;
}

function drawSlanted(view, pen) {
  const { run, geo, css, ctx, state } = view,
    v = view.window(),
    strong = new Map(wanted(view).reverse()),
    y = geo.names + geo.namesH - 5;
  for (let j = Math.ceil(v[0] - 0.5); j < Math.min(run.T, v[1] - 0.5); j++) {
    ctx.save();
    ctx.translate(view.X(j) + geo.cw / 2 + 3, y);
    ctx.rotate(SLANT);
    pen.font(strong.has(j) ? 700 : 400, 11);
    pen.text(
      short(run, j),
      0,
      0,
      "left",
      strong.has(j) ? css.ink : j > state.step ? css.faint : css.soft,
    );
    ctx.restore();
  }
}

const widths = new Map();

/** Asked of the canvas once for each text: the same few dozen names are placed at every frame. */
function widthOf(ctx, text, weight) {
  const key = `${weight}${text}`;
  if (widths.size > 2000) widths.clear();
  if (!widths.has(key)) widths.set(key, ctx.measureText(text).width);
  return widths.get(key);
}

function drawFew(view, pen) {
  const { run, geo, css, ctx, counts, state } = view,
    { x0, x1, track, trackH, names } = geo,
    v = view.window(),
    taken = [],
    y = names + 8;
  const put = (j, weight, ink, must) => {
    if (j < v[0] - 0.5 || j >= v[1]) return;
    pen.font(weight, 11);
    const text = short(run, j),
      w = widthOf(ctx, text, weight),
      at = view.X(j) + geo.cw / 2,
      // Names stay inside the panel: near an edge they begin or end at their column.
      left = Math.max(x0 - 4, Math.min(x1 + 4 - w, at - w / 2));
    if (taken.some(([a, b]) => left < b + 5 && left + w > a - 5)) return;
    if (!must && (at < left || at > left + w)) return;
    taken.push([left, left + w]);
    pen.text(text, left, y, "left", ink);
    if (!must) pen.line(at, track + trackH + 1, at, track + trackH + 4, css.soft);
  };
  for (const [j] of wanted(view)) put(j, 700, css.ink, true);
  for (const t of counts.peaks) put(t, 400, t > state.step ? css.faint : css.soft, false);
}
