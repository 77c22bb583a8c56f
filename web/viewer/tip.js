// The tip at the pointer: everything known about one token in one layer.

import { legible } from "../shared/legible.js";
import { node } from "./dom.js";
import { byRule } from "./run.js";
import { ALIVE, clamp, percent, search } from "./values.js";
import { piece, quote, speech } from "./words.js";

export function drawTip(view) {
  const { run, state, tip, hover, geo } = view;
  if (!hover || hover.panel === "memory" || view.dragging || hover.token >= run.T) {
    if (!tip.hidden) tip.hidden = true;
    view.tipped = "";
    return;
  }
  const j = hover.token,
    l = hover.layer,
    s = state.step,
    key = `${run.id}|${run.T}|${j}|${l}|${s}`;
  if (key !== view.tipped) {
    view.tipped = key;
    tip.replaceChildren(...tell(view, j, l, s));
  }
  tip.hidden = false;
  const width = tip.offsetWidth;
  tip.style.left = `${clamp(hover.x - width / 2, 0, Math.max(0, geo.W - width))}px`;
  tip.style.top = `${beside(view, tip.offsetHeight)}px`;
}

/** The tip lies under or over the panel that the pointer is in, never on it. */
function beside({ geo, hover }, height) {
  switch (hover.panel) {
    case "text":
      return hover.y + 20;
    case "life":
    case "arc":
      return (hover.panel === "arc" ? geo.arc : geo.life) - 26 - height;
    default:
      return geo.pos + geo.posH + 6;
  }
}

/** Everything known about one token in one layer, up to what the run as a whole says. */
function tell(view, j, l, s) {
  const { run } = view,
    { T, Q, death } = run,
    d = death[l * T + j],
    w = run.wordOf[j],
    m = run.margin[l * T + j],
    after = byRule(run, l, j),
    out = [];
  const word = w < 0 ? "" : legible(run.text.slice(run.words[4 * w], run.words[4 * w + 1])),
    head = node("div", "", quote(run, j));
  if (word && word !== piece(run, j)) {
    const b = node("bdi", "", word);
    head.append(" in “", b, "”");
  }
  head.append(` · ${speech(run, j)}`);
  out.push(
    head,
    node(
      "div",
      "quiet",
      `token ${j} · layer ${l} · ${j < run.prompt ? "you wrote it" : "the model wrote it"}`,
    ),
  );
  if (j >= Q) out.push(node("div", "", "sampled last: not read yet"));
  else if (d === ALIVE) out.push(node("div", "", `read at step ${j}, held to the end`));
  else
    out.push(
      node(
        "div",
        "",
        `read at step ${j}; dropped ${after ? "before" : "at"} step ${d}${d > s ? " (still to come)" : ""}, ${after ? "after" : "when"} `,
        quote(run, after ? d - 1 : d),
        ` was read, at age ${d - j}`,
      ),
    );
  if (!Number.isNaN(m)) {
    const r = view.rank(l),
      gone = d !== ALIVE,
      pool = gone ? r.dropped : r.kept,
      lower = search(pool.length, (i) => pool[i], m),
      value = m.toFixed(Math.abs(m) < 0.1 ? 4 : 2).replace("-", "−");
    const others = Math.max(1, pool.length - 1);
    let note = gone
      ? `a clearer drop than ${percent((pool.length - 1 - lower) / others)} of this layer’s drops`
      : `closer to a drop than ${percent((pool.length - 1 - lower) / others)} of what this layer holds`;
    if (pool.length < 2) note = "no other in this layer to compare with";
    if (run.nearTie && Math.abs(m) < run.nearTie) note = "a near tie, inside the float budget";
    out.push(
      node(
        "div",
        "quiet",
        `${gone ? "gate logit at the drop" : "smallest gate logit so far"} ${value}: ${note}`,
      ),
    );
  } else if (j < Q)
    out.push(
      node("div", "quiet", run.rule ? `${run.rule} decides, no gate` : "no gate has judged it yet"),
    );
  const p = run.logprob[j];
  if (!Number.isNaN(p) && j > 0)
    out.push(
      node(
        "div",
        "quiet",
        `the model gave it ${p > Math.log(0.01) ? percent(Math.exp(p)) : `${(100 * Math.exp(p)).toPrecision(1)} %`} before reading it`,
      ),
    );
  return out;
}
