// What is said in words: the story of a token, or of a step.

import { button, node } from "./dom.js";
import { byRule, decided, dropped } from "./run.js";
import { plural } from "./values.js";
import { link, list, quote, speech } from "./words.js";
import { isWritten, openWritten } from "./written.js";

export function drawStory(view) {
  const { run, state } = view,
    key = `${run.id}|${run.T}|${state.step}|${state.layer}|${state.token}|${run.wordPos.length}|${state.open}`;
  if (key === view.told || !run.Q) return;
  view.told = key;
  view.story.replaceChildren(
    ...(state.token >= 0 ? tokenStory(view, state.token) : stepStory(view)),
  );
  // Only a new story begins at its top: asking for it at every step would lay out the page each time.
  if (view.toldToken !== state.token) view.story.scrollTop = 0;
  view.toldToken = state.token;
}

function tokenStory(view, j) {
  const { run, state } = view,
    { L, T, Q } = run,
    s = state.step,
    l = state.layer,
    out = [quote(run, j), ` · ${speech(run, j)} · `];
  if (j > s)
    return [
      ...out,
      j < Q
        ? `will be read at step ${j}.`
        : "the last sampled token: it has not been read, so nothing can drop it yet.",
    ];
  out.push(
    j < run.prompt
      ? `you wrote it, read at step ${j}. `
      : `the model wrote it, read at step ${j}. `,
  );
  const gone = [];
  for (let i = 0; i < L; i++) if (run.death[i * T + j] <= s) gone.push(i);
  gone.sort((a, b) => (b === l) - (a === l) || a - b);
  gone.slice(0, 3).forEach((i, n) => {
    const d = run.death[i * T + j],
      after = byRule(run, i, j);
    out.push(
      n ? "; " : "Dropped in ",
      i === l ? node("b", "", `layer ${i}`) : `layer ${i}`,
      after ? ` before step ${d}, after ` : ` at step ${d}, when `,
      link(view, after ? d - 1 : d),
      " was read",
    );
  });
  if (gone.length > 3) out.push(`; and in ${gone.length - 3} more`);
  if (gone.length) out.push(". ");
  out.push(`At step ${s} held in ${L - gone.length} of ${L} layers. `);
  return [...out, ...reverse(view, j), ...howWritten(view, j)];
}

/** The way to what each layer held when the model wrote token j. */
function howWritten(view, j) {
  if (!isWritten(view.run, j) || view.state.open === j) return [];
  const b = button("What did it know when it wrote this?", "tok", () => {
    openWritten(view, j);
    view.written.focus();
  });
  return [" ", b];
}

/** Who decides after a step, as a sentence names it. */
const ruler = (run) => run.rule || "the budget";

/** The other way round: what was dropped when token j was read, or by a rule right after. */
function reverse(view, j) {
  const { run, state } = view,
    { L } = run,
    l = state.layer,
    here = decided(run, l, j);
  let all = 0,
    layers = 0;
  for (let i = 0; i < L; i++) {
    const n = decided(run, i, j).length;
    all += n;
    layers += n > 0 && i !== l;
  }
  const after = run.rule ? `After it was read, ${run.rule}` : "Reading it",
    subject = run.ruled && !run.rule ? "Reading it, and the budget after it," : after;
  if (!all) return [node("span", "quiet", `${subject} dropped nothing.`)];
  const others = all - here.length,
    rest = others
      ? `${here.length ? ", and " : ""}${plural(others, "entry", "entries")} in ${plural(layers, "other layer", "other layers")}`
      : "";
  return [
    `${subject} dropped `,
    ...list(view, here, 6),
    here.length ? " in " : "",
    here.length ? node("b", "", `layer ${l}`) : "",
    `${rest}.`,
  ];
}

function stepStory(view) {
  const { run, state } = view,
    { L } = run,
    s = state.step,
    l = state.layer,
    gone = [...dropped(run, l, s)],
    before = gone.filter((j) => byRule(run, l, j)),
    here = gone.filter((j) => !byRule(run, l, j));
  let all = 0;
  for (let i = 0; i < L; i++) all += dropped(run, i, s).length;
  const out = [`At step ${s} `, link(view, s), " was read"],
    none = !all && !run.ruled;
  if (none) out.push(" and no layer dropped anything");
  else if (!run.rule)
    out.push(
      " and ",
      node("b", "", `layer ${l}`),
      here.length ? " dropped " : " dropped nothing",
      ...list(view, here, 8),
    );
  out.push(". ");
  if (run.ruled && s > 0)
    out.push(
      "Before it, after ",
      link(view, s - 1),
      ` was read, ${ruler(run)} dropped `,
      ...(before.length ? list(view, before, 8) : ["nothing"]),
      " in ",
      node("b", "", `layer ${l}`),
      ". ",
    );
  const where = run.ruled ? "by then" : "here",
    together = all
      ? `All ${L} layers together dropped ${plural(all, "entry", "entries")} ${where}. `
      : `No layer dropped anything ${where}. `;
  return [
    ...out,
    node("span", "quiet", `${none ? "" : together}Choose a word or a cell for its story.`),
  ];
}
