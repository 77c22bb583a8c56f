// What happened in a run, in three sentences worked out from its drops, each with the step to look at.
//
// Knows no page. A sentence is { parts, step, layer }: parts are strings, and [string] for bold ones.

import { percent, plural } from "./values.js";
import { piece } from "./words.js";

/** Steps before there is anything to say. */
const FEW = 12;
/** A kind of token stands out when a step that reads it drops so many times what others drop. */
const STANDS_OUT = 1.5;

const LINE = /\n/;
const STOP = /^\s*[.!?…。！？]+["'”’)\]]*\s*$/u;
const WORD = /[\p{L}\p{N}]/u;
const MARK = /^\s*\p{P}+\s*$/u;

/** Kinds of token that may clear the memory, as they are called; `opens`: a sentence begins there. */
const KINDS = {
  "Full stops": (text) => STOP.test(text),
  "Line breaks": (text) => LINE.test(text),
  "Commas and other marks": (text) => MARK.test(text) && !STOP.test(text),
  "New sentences": (_, opens) => opens,
};
const ENDS = ["Full stops", "Line breaks"];

/** Up to three sentences on `run`; `whole` are its counts without a filter. */
export function findings(run, whole) {
  const all = whole.drops.reduce((a, b) => a + b, 0);
  if (run.Q < FEW) return [];
  if (!all)
    return [
      { parts: [["Nothing is dropped"], ": every layer holds the whole text."], step: run.Q - 1 },
    ];
  return [
    trigger(run, askedBy(run, whole.drops), all),
    largest(run, whole.drops),
    layers(run, whole),
  ];
}

/** Drops by the step whose token was being read when they were decided: a rule looks one earlier. */
const askedBy = (run, drops) => (run.rule ? drops.map((_, t) => drops[t + 1] ?? 0) : drops);

/** For each of these pieces of text, whether it is the first with a letter or digit after a stop. */
function openings(pieces) {
  let ended = false,
    apart = false;
  return pieces.map((piece) => {
    const word = WORD.test(piece),
      opens = word && ended && (apart || /^\s/.test(piece));
    if (STOP.test(piece)) {
      ended = true;
      // "3.5" begins nothing, "3. 5" does; a script without spaces has stops of its own.
      apart = /\s$|[。！？]/u.test(piece);
    } else if (word) ended = false;
    else apart ||= /\s/.test(piece);
    return opens;
  });
}

/** Which kind of token drops more than the others when it is read. */
function trigger(run, drops, all) {
  const text = Array.from({ length: run.Q }, (_, t) =>
      run.text.slice(run.spans[2 * t], run.spans[2 * t + 1]),
    ),
    opens = openings(text),
    kind = (name, is) =>
      weigh(
        name,
        text.flatMap((piece, t) => (is(piece, opens[t]) ? [t] : [])),
        drops,
        all,
      ),
    strong = Object.entries(KINDS)
      .map(([name, is]) => kind(name, is))
      .filter(({ steps, times }) => steps.length >= 2 && times >= STANDS_OUT)
      .sort((a, b) => b.sum - a.sum);
  if (!strong.length)
    return {
      parts: [
        ["Drops come evenly"],
        `: reading a mark drops no more than reading a word. The mean is ${(all / run.Q).toFixed(1)} entries a step.`,
      ],
      step: drops.indexOf(Math.max(...drops)),
    };
  // Where both end what went before, they are one kind.
  const ends = strong.filter(({ name }) => ENDS.includes(name)),
    both = (piece) => STOP.test(piece) || LINE.test(piece),
    { name, steps, sum, times } =
      ends.length === 2 && ENDS.includes(strong[0].name)
        ? kind("Full stops and line breaks", both)
        : strong[0],
    many = times > 50 ? "over 50" : times.toFixed(times < 10 ? 1 : 0),
    whose = name === "New sentences" ? "first words drop " : "";
  return {
    parts: [
      [`${name} clear the memory`],
      `: ${whose}${many} times what others ${whose ? "do" : "drop"}, ${percent(sum / all)} of all in ${percent(steps.length / run.Q)} of steps.`,
    ],
    step: steps.reduce((a, b) => (drops[b] > drops[a] ? b : a)),
  };
}

/** A kind of step: its drops, and how many times those of another step it drops. */
function weigh(name, steps, drops, all) {
  const sum = steps.reduce((n, t) => n + drops[t], 0),
    rest = (all - sum) / Math.max(1, drops.length - steps.length);
  return { name, steps, sum, times: sum / Math.max(1, steps.length) / Math.max(rest, 1e-9) };
}

/** The step that dropped most. */
function largest(run, drops) {
  const step = drops.reduce((best, n, t) => (n > drops[best] ? t : best), 0);
  let inLayers = 0;
  for (let l = 0; l < run.L; l++) {
    const at = l * (run.Q + 1) + step;
    inLayers += run.first[at + 1] > run.first[at];
  }
  const when = run.rule ? `after “${piece(run, step - 1)}”` : `when “${piece(run, step)}”`;
  return {
    parts: [
      [`The largest drop: ${plural(drops[step], "entry", "entries")}`],
      ` at once, in ${inLayers} of ${run.L} layers, ${when} was read.`,
    ],
    step,
  };
}

/** The layer that keeps most and the one that keeps least, at the last step. */
function layers(run, { held }) {
  const last = run.Q - 1,
    kept = Array.from({ length: run.L }, (_, l) => held[l * run.Q + last]),
    most = kept.indexOf(Math.max(...kept)),
    least = kept.indexOf(Math.min(...kept)),
    share = (l) => percent(kept[l] / run.Q);
  if (run.L < 2)
    return {
      parts: [[`Layer ${most} holds ${share(most)}`], " of what it has read."],
      step: last,
      layer: most,
    };
  if (kept[most] - kept[least] < run.Q / 10)
    return {
      parts: [
        ["Layers are alike"],
        `: each keeps ${share(least)} to ${share(most)} of what it has read.`,
      ],
      step: last,
    };
  return {
    parts: [
      [`Layers differ: layer ${least} keeps ${share(least)}`],
      ` of what it has read, layer ${most} keeps ${share(most)}.`,
    ],
    step: last,
    layer: least,
  };
}
