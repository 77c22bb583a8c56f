// The choices of the view: radio groups, and the parts of speech as filters.

import { button, group, node, oneStop } from "./dom.js";

/** What can be chosen: key of the state -> its name, and [value, label] of each choice. */
const CHOICES = {
  text: [
    "bars show",
    [
      ["share", "all layers"],
      ["layer", "this layer"],
    ],
  ],
  grain: [
    "by",
    [
      ["token", "token"],
      ["word", "word"],
      ["sentence", "sentence"],
    ],
  ],
  density: [
    "set",
    [
      ["tight", "tight"],
      ["normal", "normal"],
      ["airy", "airy"],
    ],
  ],
  colour: [
    "colour",
    [
      ["state", "state"],
      ["age", "age"],
      ["span", "held for"],
      ["close", "closeness"],
    ],
  ],
  life: [
    "lifelines",
    [
      ["lives", "lives"],
      ["age", "age"],
      ["every", "every layer"],
    ],
  ],
  arcs: [
    "arcs",
    [
      ["off", "off"],
      ["on", "on"],
    ],
  ],
  speed: [
    "speed",
    [
      [0.5, "½×"],
      [1, "1×"],
      [2, "2×"],
      [4, "4×"],
    ],
  ],
};

// What a change of these asks for, beyond a redraw.
export const RELAYS = { grain: true, density: true };

/** A radio group for `key` of the view's state. */
export function choice(view, key) {
  const [name, values] = CHOICES[key],
    title = node("span", "", name),
    set = group("radiogroup", "seg", name, title);
  title.setAttribute("aria-hidden", "true");
  set.dataset.key = key;
  const buttons = values.map(([value, label]) => {
    const b = button(label, "", () => view.set(key, value));
    b.setAttribute("role", "radio");
    b.value = value;
    set.append(b);
    return b;
  });
  oneStop(buttons, (b) => b.click());
  view.choices[key] = buttons;
  return set;
}

/** Say in each group which choice is on; that one is its stop of the Tab key. */
export function showChoices({ choices, state }) {
  for (const [key, buttons] of Object.entries(choices))
    for (const b of buttons) {
      const on = b.value === String(state[key]);
      b.setAttribute("aria-checked", String(on));
      b.tabIndex = on ? 0 : -1;
    }
}

/** One button for each part-of-speech group: several can be on, none on shows all. */
export function filters(view) {
  const set = group("toolbar", "keys chips", "Filter by part of speech");
  view.chip = [0, 1, 2, 3, 4].map((g) => {
    const b = button("", "chip", () => {
        view.state.groups ^= 1 << g;
        view.refilter();
      }),
      dot = node("i"),
      name = node("span");
    dot.style.background = `var(--p${g})`;
    b.append(dot, name);
    set.append(b);
    return { b, name };
  });
  oneStop(
    view.chip.map(({ b }) => b),
    () => {},
  );
  return set;
}

// What a view begins with.
export const FIRST = {
  step: 0,
  layer: -1,
  token: -1,
  text: "share",
  grain: "word",
  density: "normal",
  colour: "state",
  life: "lives",
  arcs: "off",
  speed: 1,
  groups: 0,
  follow: true,
  placed: null,
  open: -1,
  shift: undefined,
};
