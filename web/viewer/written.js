// "When it was written": the text as each layer still held it when the model wrote a word, and what it
// would have said next, with what it had dropped and with nothing dropped.
//
// The held text is read from the run's own deaths. The lists need the model: they come with the run
// or are asked for (options.ask).

import { isolate, legible } from "../shared/legible.js";
import { button, node } from "./dom.js";
import { percent } from "./values.js";
import { piece, quote } from "./words.js";

/** So many of the tokens that a layer holds are spelt out, the newest. */
const MOST = 240;

export function buildWritten(view) {
  view.written = node("section", "written");
  view.written.setAttribute("aria-label", "When this word was written");
  view.written.hidden = true;
  // The keys go to it when a button of the story opens it, since that button is then gone.
  view.written.tabIndex = -1;
  view.written.addEventListener("keydown", (e) => {
    if (e.key === "Escape") closeWritten(view);
  });
}

/** Whether token j has such a story: the model wrote it, at a step of the run. */
export const isWritten = (run, j) => j >= Math.max(1, run.prompt) && j < run.T && j <= run.Q;

export function openWritten(view, j) {
  const { run, state } = view;
  state.open = isWritten(run, j) ? j : -1;
  if (state.open >= 0 && canAsk(run, j) && view.options.ask) {
    run.written.busy = j;
    view.options.ask("word", j);
  }
  showWritten(view);
  view.draw();
}

function closeWritten(view) {
  openWritten(view, -1);
  view.text.box.focus({ preventScroll: true });
}

const canAsk = ({ written, running }, j) =>
  written.asks && !running && !written.found?.[j] && written.busy !== j;

export function showWritten(view) {
  const { run, state } = view,
    j = state.open;
  view.written.hidden = !(j >= 0) || !isWritten(run, j);
  if (view.written.hidden) return;
  const close = button("close", "quietly", () => closeWritten(view));
  view.written.replaceChildren(
    node("div", "head", node("strong", "", "When ", quote(run, j), " was written"), close),
    node("div", "halves", heldTexts(view, j), lists(view, j)),
  );
}

/** Each layer's text after the step before token j: a dot for what it had dropped. */
function heldTexts({ run, state }, j) {
  const box = node("div", "texts"),
    s = j - 1;
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", "The text as each layer held it");
  for (let l = 0; l < run.L; l++) {
    const held = [];
    for (let i = 0; i <= s; i++) if (run.ran[l * run.T + i] > s) held.push(i);
    const shown = held.slice(-MOST),
      words = node("span", "held");
    let before = shown.length < held.length ? shown[0] - 1 : -1;
    let text = shown.length < held.length ? "… " : "";
    for (const i of shown) {
      if (i > before + 1) text += `${text && !text.endsWith(" ") ? " " : ""}· `;
      text += run.text.slice(run.spans[2 * i], run.spans[2 * i + 1]).replace(/\s+/g, " ");
      before = i;
    }
    if (before < s) text += " ·";
    words.textContent = text;
    box.append(
      node(
        "p",
        l === state.layer ? "on" : "",
        node("b", "", `layer ${l}`),
        ` ${held.length} of ${j} `,
        words,
      ),
    );
  }
  return box;
}

/** The next-token lists, or why they are not there. */
function lists({ run, options }, j) {
  const { written } = run,
    found = written.found?.[j],
    box = node("div", "lists");
  if (!found) {
    const why = !written.asks
      ? options.ask
        ? "The model that wrote this is not here, so it cannot be asked what it would have said."
        : "Open this run in the app to see what the model would have said."
      : written.problem || "Asking the model what it would have said …";
    box.append(node("p", "quiet", why));
    return box;
  }
  const top = Math.max(...found.rows.flatMap(([, a, b]) => [a, b]), 1e-9),
    table = node("table");
  table.append(
    node(
      "tr",
      "",
      node("th", "", "next"),
      node("th", "", "with what it held"),
      node("th", "", "had it forgotten nothing"),
    ),
  );
  found.rows.forEach(([text, pruned, full], i) => {
    const name = node("th", i === found.drawn ? "drawn" : "");
    name.scope = "row";
    name.append(node("bdi", "", legible(text)));
    table.append(node("tr", "", name, bar(pruned, top, ""), bar(full, top, "full")));
  });
  box.append(table, node("p", "quiet", verdict(run, found, j)));
  return box;
}

function bar(share, top, kind) {
  const fill = node("i", kind);
  fill.style.width = `${((100 * share) / top).toFixed(1)}%`;
  return node("td", "", node("span", "share-bar", fill), node("span", "n", percent(share, 1)));
}

function verdict(run, { ranks, kl }, j) {
  const place = (n) => (n ? `number ${(n + 1).toLocaleString("en")}` : "the likeliest");
  const drawn = ranks
    ? `“${isolate(piece(run, j))}” was drawn: ${place(ranks[0])} with what the layers held, ${place(ranks[1])} without forgetting. `
    : "";
  return `${drawn}The two predictions differ by ${kl.toFixed(kl < 0.1 ? 3 : 2)} nats (KL); before temperature.`;
}
