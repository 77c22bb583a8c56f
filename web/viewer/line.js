// The line over the text: what the run is doing. It counts with the step that is on screen, so that
// line, counters and text tell the same moment.

import { node, write } from "./dom.js";

export function buildLine(view) {
  view.line = node("p", "line");
}

export function drawLine(view) {
  const { run, state } = view;
  const says = run.running && run.Q ? counted(run, state) : run.line;
  write(view.line, says);
  if (view.line.title !== says) view.line.title = says;
}

function counted({ prompt, domain, T, Q, line }, { step, follow }) {
  if (Q < prompt)
    return `Reading your text: ${(follow ? step + 1 : Q).toLocaleString("en")} of ${prompt.toLocaleString("en")} tokens.`;
  // The newest word stands after the step that wrote it.
  const written = follow ? Math.max(0, Math.min(T, step + 2) - prompt) : T - prompt,
    planned = domain - prompt;
  return written >= planned && line ? line : `Writing: ${written} of ${planned} tokens.`;
}
