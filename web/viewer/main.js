// Where the linked view lives: the static HTML (`mount`) and the Streamlit component (default export).

import { parse } from "./pixels.js";
import { View } from "./view.js";

/** Static pages and notebooks: one payload, once. */
export function mount(root, payload, options = {}) {
  const view = new View(root, options);
  view.update(payload);
  return view;
}

const views = new WeakMap();

/** The same payload again, as after a report: nothing to unpack, nothing to redraw. */
function alike(a, b) {
  if (!a || !b || a === b) return a === b;
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].every(
    (k) =>
      a[k] === b[k] || (typeof a[k] === "object" && JSON.stringify(a[k]) === JSON.stringify(b[k])),
  );
}

function streamlitTheme(parent) {
  const host = parent.host || parent,
    value = getComputedStyle(host).getPropertyValue("--st-background-color").trim();
  const m = value.match(/^#([0-9a-f]{6})$/i);
  return m && parse(value).reduce((a, b) => a + b, 0) < 384 ? "dark" : "light";
}

/** Streamlit component: called again with every new payload; the view and its state stay.

It sets the state "at" to { layer, step, token } when the hand has rested, and "broken" to true where
the browser cannot draw. */
export default function component({ parentElement, data, setStateValue }) {
  let view = views.get(parentElement);
  if (!view?.box.isConnected) {
    try {
      view = new View(parentElement, { theme: streamlitTheme(parentElement) });
    } catch (error) {
      console.error(error);
      setStateValue("broken", true);
      return undefined;
    }
    views.set(parentElement, view);
  }
  view.options.report = (at) => setStateValue("at", at);
  const theme = streamlitTheme(parentElement);
  if (theme !== view.options.theme) view.theme(theme);
  if (data && !alike(data, view.data)) {
    view.data = data;
    view.update(data);
  }
  // Streamlit may run this clean-up for a call that a newer one has overtaken: only a view that has
  // left the page goes.
  return () =>
    setTimeout(() => {
      if (!view.box.isConnected) view.destroy();
    }, 1000);
}
