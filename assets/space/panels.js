// Below the view: how soon each part of speech is dropped, and one token put back.

import { BLOCK, FEWEST_BLOCKS, RESAMPLES } from "./intervals.js";
import { FEWEST, HORIZON, rates } from "./rates.js";

const $ = (id) => document.getElementById(id);
const signed = (v) => (v < 0 ? "−" : "+") + Math.abs(v).toFixed(2);

function row(tag, cells) {
  const tr = document.createElement("tr");
  for (const cell of cells) {
    const td = document.createElement(tag);
    td.textContent = cell;
    tr.append(td);
  }
  return tr;
}

/** "45 % (38 to 52)": a drop rate and its interval, as far as there are any. */
function share({ drop_rate, ci_low, ci_high }) {
  if (drop_rate === null) return "–";
  const [rate, low, high] = [drop_rate, ci_low, ci_high].map((v) => (100 * v).toFixed(0));
  return ci_low === null ? `${rate} %` : `${rate} % (${low} to ${high})`;
}

/** The table of drop rates of a finished run, in the rows of `groups`: names, and the row of each tag. */
export function showRates(trace, words, groups, source) {
  const rows = rates(trace, words, groups, source).sort(
    (a, b) => (b.drop_rate ?? -1) - (a.drop_rate ?? -1),
  );
  $("rates-body").replaceChildren(
    ...rows.map((r) => row("td", [r.group, r.words, share(r), r.events, r.at_risk])),
  );
  $("rates-none").hidden = rows.length > 0;
  $("rates-says").textContent =
    `Share of words dropped within ${HORIZON} steps of being read, for a layer taken at random (Kaplan–Meier; words of one token). In brackets a 95 % interval within this text, from ${RESAMPLES} resamples of its blocks of ${BLOCK} steps; a text of fewer than ${FEWEST_BLOCKS} has none. A dash: fewer than ${FEWEST} words, or none watched for so long. Another text gives other numbers. The tags are those of a small tagger for English, right for 94 of 100 words of UD English EWT's dev set.`;
}

/** What the chosen token offers: `dropped` layers of it, in all and in `layer`. */
export function offer(name, token, dropped, layer, inLayer) {
  $("back-says").textContent = dropped
    ? `${name} (token ${token}) was dropped by ${dropped} ${dropped === 1 ? "layer" : "layers"}. Keep it alive there, read the same tokens again, and see which of them become more or less likely.`
    : `${name} (token ${token}) was never dropped: there is nothing to put back.`;
  $("back-all").disabled = !dropped;
  $("back-one").disabled = !inLayer;
  $("back-one").textContent = `Put it back in layer ${layer}`;
  $("back").hidden = false;
}

/** The answer. `names[i]`: the later tokens as shown; `change[i]`: nats. */
export function answer(name, where, { change, totals, names }) {
  const total = change.reduce((a, b) => a + b, 0),
    large = totals.filter((t) => Math.abs(t) >= Math.abs(total)).length;
  const beside = totals.length
    ? ` Beside it ${totals.length} other drops like it, put back the same way: from ${signed(Math.min(...totals))} to ${signed(Math.max(...totals))}; ${large} of them changed as much.`
    : " No other drop is like it: there is nothing to compare with.";
  $("back-answer").textContent = change.length
    ? `With ${name} kept alive in ${where}, the ${change.length} tokens after its first drop have ${signed(total)} nats of log-probability together.${beside}`
    : `${name} was dropped at the very end: no token comes after.`;
  const order = change
    .map((_, i) => i)
    .sort((a, b) => Math.abs(change[b]) - Math.abs(change[a]))
    .slice(0, 8);
  $("back-most").replaceChildren(
    ...order.map((i) => {
      const li = document.createElement("li");
      li.textContent = `${names[i]} ${signed(change[i])}`;
      return li;
    }),
  );
}
