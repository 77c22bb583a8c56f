// What every mark means, for the colours, filters and choices that are on.

import { showChoices } from "./choices.js";
import { node } from "./dom.js";

const RAMPS = {
  age: ["--young", "--old", "held: newest to oldest"],
  span: ["--short", "--long", "held for: few to many steps in all"],
  close: [
    "--safe",
    "--close",
    "held: far from to near a drop (smallest gate logit, ranked in its layer; deepest: dropped later)",
  ],
};

export function drawLegend(view) {
  const { state, run } = view;
  showChoices(view);
  view.box.dataset.density = state.density;
  view.chip.forEach(({ b, name }, g) => {
    b.setAttribute("aria-pressed", String(!!(state.groups & (1 << g))));
    if (run) name.textContent = run.groupNames[g];
  });
  view.keys.replaceChildren(...bars(state), ...cells(state, run?.rule));
}

function item(kind, background, label) {
  const i = node("i", kind);
  i.style.background = background;
  return node("span", "", i, label);
}

/** The marks of the running text. */
function bars({ text, layer }) {
  const all = text === "share",
    part = all ? "linear-gradient(90deg, var(--held) 60%, var(--empty) 0)" : "var(--held)";
  return [
    item("part", part, all ? "bar: layers that hold it" : `bar: layer ${layer} holds it`),
    node(
      "span",
      "",
      node("s", "", "word"),
      all ? " dropped by all layers" : ` dropped by layer ${layer}`,
    ),
    node("span", "", node("span", "bare", "word"), " no bar: not read yet"),
  ];
}

/** The marks of the heatmap. */
function cells({ colour }, rule) {
  const ramp = RAMPS[colour];
  const held =
    rule && colour === "close"
      ? item("", "var(--safe)", "held; no gate says how near to a drop")
      : ramp
        ? item("ramp", `linear-gradient(90deg, var(${ramp[0]}), var(${ramp[1]}))`, ramp[2])
        : item("", "var(--held)", "held");
  // Always there: a row that grew when a word is chosen would move the picture under the pointer.
  return [
    held,
    item("notch", "var(--drop)", "dropped at this step"),
    item("thin", "var(--gone)", "dropped earlier"),
    item("edge", "none", "chosen: read at its drop"),
    item("dash", "none", "chosen: dropped at its reading"),
  ];
}
