// Tokens as they are named in sentences.

import { isolate, legible } from "../shared/legible.js";
import { button, node } from "./dom.js";

export const piece = (run, j) =>
  legible(run.names[j] || run.text.slice(run.spans[2 * j], run.spans[2 * j + 1]));

export const speech = (run, j) =>
  run.wordOf[j] < 0 ? "not tagged" : run.posLabels[run.wordPos[run.wordOf[j]]];

export function quote(run, j) {
  const b = node("b"),
    i = node("bdi");
  i.textContent = piece(run, j);
  b.append("“", i, "”");
  return b;
}

/** A quoted token that a click makes the chosen one. */
export function link(view, j) {
  const b = button("", "tok", () => view.pick(j, true));
  b.append(quote(view.run, j));
  b.setAttribute("aria-label", `${isolate(piece(view.run, j))}: show this token's story`);
  return b;
}

export const list = (view, tokens, most) =>
  tokens
    .slice(0, most)
    .flatMap((j, i) => [i ? ", " : "", link(view, j)])
    .concat(tokens.length > most ? [` and ${tokens.length - most} more`] : []);
