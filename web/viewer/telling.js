// What the view says to ears and to the page, once the hand has rested: where it is.

import { write } from "./dom.js";
import { ALIVE } from "./values.js";

/** Milliseconds after which a hand has rested. */
const REST = 300;

/** The place of the view as JSON: {"layer", "step", "token"}. */
export function whereIs({ layer, step, token }) {
  return JSON.stringify({ layer, step, token: token < 0 ? null : token });
}

/** A moment after the last move, say where we are. Not while a film or a run goes on. */
export function settle(view) {
  clearTimeout(view.resting);
  if (view.playing || view.dragging) return;
  view.resting = setTimeout(() => {
    const { run, state } = view;
    if (view.playing || view.dragging || !run?.Q || run.running) return;
    view.canvas.setAttribute(
      "aria-label",
      `Layer by token heatmap, lifelines of layer ${state.layer} and entries held, at step ${state.step}. ${view.story.textContent}`,
    );
    const here = whereIs(state);
    if (here === view.reported) return;
    view.reported = here;
    write(
      view.spoken,
      `Layer ${state.layer} holds ${view.counts.held[state.layer * run.Q + state.step]} of ${view.counts.read[state.step]}. ${view.story.textContent}`,
    );
    view.options.report?.(JSON.parse(here));
  }, REST);
}

/** One sentence on the whole run, and the line under the picture. */
export function summarise(view) {
  const { run } = view;
  let held = 0;
  for (let l = 0; l < run.L; l++)
    for (let j = 0; j < run.Q; j++) held += run.death[l * run.T + j] === ALIVE;
  write(
    view.summary,
    run.Q
      ? `${run.T} tokens, ${run.prompt} of them written by you, ${run.L} layers. At the last step, ${run.Q - 1}, the layers together hold ${held} of ${run.L * run.Q} entries.`
      : "Nothing has been read yet.",
  );
  write(view.label, run.label);
}
