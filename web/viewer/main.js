// Where the linked view lives. Two ways in:
//
// mount(element, payload, options) -> view, for static pages, notebooks and pages with a model of
// their own. `payload` is the JSON object of dcp/viewer/payload.py. options: `title` (a heading over
// the view), `theme` ("light", "dark"; else that of the system), `report` (a function that is told
// { layer, step, token } a moment after the reader has moved), `ask` (a function that is told what the
// model is wanted for: "dial" { shift }, "word" token), `filmSeconds`. The view's methods for a page:
//
//   view.update(payload)   the same run grown (same `id`), or another one; step, layer and zoom of a
//                          run are kept. While `running` is true the view follows the newest step.
//   view.theme(name)       another theme
//   view.go(step), view.setLayer(layer), view.pick(token)
//   view.destroy()         takes the view off the page
//
// component({ parentElement, data, setStateValue }), the default export, for Streamlit.

import { hello } from "./hello.js";
import { parse } from "./pixels.js";
import { View } from "./view.js";

export function mount(element, payload, options = {}) {
  const view = new View(element, options);
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
    value = getComputedStyle(host).getPropertyValue("--st-background-color").trim(),
    hex = /^#([0-9a-f]{6})$/i.test(value);
  return hex && parse(value).reduce((a, b) => a + b, 0) < 384 ? "dark" : "light";
}

/** Streamlit component: called again with every new payload; the view and its state stay.

It sets the state "at" to { layer, step, token } when the hand has rested, and "broken" to true where
the browser cannot draw; "hello", once a page, is what the browser brings (hello.js). Triggers: "dial"
{ shift } and "word" (a token) ask the model something. */
export default function component({ parentElement, data, setStateValue, setTriggerValue }) {
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
  view.options.ask = (what, about) => setTriggerValue(what, about);
  const theme = streamlitTheme(parentElement);
  if (theme !== view.options.theme) view.theme(theme);
  if (data && !alike(data, view.data)) {
    view.data = data;
    view.update(data);
  }
  hello(data, (found) => setStateValue("hello", found));
  // Streamlit may run this clean-up for a call that a newer one has overtaken: only a view that has
  // left the page goes.
  return () =>
    setTimeout(() => {
      if (!view.box.isConnected) view.destroy();
    }, 1000);
}
