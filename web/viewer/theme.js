// The colours of a theme, read back from viewer.css: as CSS for strokes, as pixels for buffers.

import { between, pack, parse, ramp } from "./pixels.js";

const HUES = [
  ...["ink", "soft", "line", "paper", "panel", "drop", "by", "gone", "faint", "held", "held-soft"],
  ...["young", "old", "safe", "close", "short", "long", "sel"],
  ...["p0", "p1", "p2", "p3", "p4", "p5"],
];

/** Put `view` into the theme "light" or "dark", or that of the system. */
export function applyTheme(view, name) {
  view.box.dataset.theme =
    name === "dark" || (name !== "light" && view.dark.matches) ? "dark" : "light";
  const style = getComputedStyle(view.box);
  view.css = Object.fromEntries(HUES.map((k) => [k, style.getPropertyValue(`--${k}`).trim()]));
  view.sans = style.fontFamily;
  const rgb = Object.fromEntries(HUES.map((k) => [k, parse(view.css[k])]));
  view.colour = {
    held: pack(rgb.held),
    soft: pack(rgb["held-soft"]),
    drop: pack(rgb.drop),
    rest: pack(between(rgb.drop, rgb.paper, 0.55)),
    gone: pack(rgb.gone),
    age: ramp(rgb.young, rgb.old),
    close: ramp(rgb.safe, rgb.close),
    span: ramp(rgb.short, rgb.long),
    groups: [0, 1, 2, 3, 4, 5].map((g) => pack(rgb[`p${g}`])),
    strata: [
      pack(between(rgb["held-soft"], rgb.paper, 0.2)),
      pack(between(rgb["held-soft"], rgb.paper, 0.42)),
    ],
  };
}
