// The sparsity dial: the same tokens read at other gate shifts, swapped under the hand.
//
// A setting whose reading came with the run is shown at once. One that did not is asked for when the
// hand lets go, where the page can ask (options.ask).

import { button, node, write } from "./dom.js";
import { showFindings } from "./findings_box.js";
import { drawLegend } from "./legend.js";
import { reread } from "./run.js";
import { summarise } from "./telling.js";
import { percent } from "./values.js";

export function buildDial(view) {
  const range = (view.range = node("input"));
  range.type = "range";
  range.min = range.step = "1";
  range.setAttribute("aria-label", "How much is forgotten");
  view.dialSays = node("span", "says");
  view.dialBack = button("as it ran", "quietly back", () => {
    turn(view, view.run.dial.at);
    sync(view);
  });
  view.dialBack.title = "Back to the setting that the text was written with";
  view.dial = node("div", "dial", node("label", "", "forgetting", range), view.dialSays);
  view.dial.append(view.dialBack);
  view.dial.hidden = true;
  range.addEventListener("input", () => turn(view, Number(range.value)));
  range.addEventListener("change", () => letGo(view));
}

/** A payload came: the dial stands where the reader left it, as far as that is known. */
export function takeDial(view) {
  const { run, state } = view;
  view.dial.hidden = !run.dial;
  if (!run.dial) return;
  view.range.min = "0";
  view.range.max = String(run.dial.settings.length - 1);
  // By its shift: a setting more or less moves the others.
  const left = run.dial.settings.findIndex(({ shift }) => shift === state.shift);
  if (state.shift !== undefined && left >= 0 && left !== run.dial.at) turn(view, left);
  else sync(view);
}

/** Show setting i, where its reading is known; else only say what it would be. */
function turn(view, i) {
  const { run, state } = view,
    setting = run.dial.settings[i];
  state.shift = setting.shift;
  view.range.value = String(i);
  if (setting.death && run.turned !== i) {
    view.stop();
    run.turned = i;
    reread(run, setting);
    view.ranks = [];
    view.spans = [];
    view.told = "";
    view.recount();
    drawLegend(view);
    summarise(view);
    showFindings(view);
    view.stale = true;
    view.draw();
  }
  sync(view);
}

function letGo(view) {
  const { run, state } = view,
    setting = run.dial.settings[Number(view.range.value)];
  if (!setting.death && view.options.ask && !run.dial.busy) {
    run.dial.busy = true;
    view.options.ask("dial", { shift: state.shift });
    sync(view);
  }
}

/** What the dial says of where it stands. */
function sync(view) {
  const { run } = view,
    { settings, at, busy } = run.dial,
    left = settings.findIndex(({ shift }) => shift === view.state.shift),
    i = view.state.shift === undefined || left < 0 ? at : left,
    setting = settings[i];
  view.range.value = String(i);
  const text = says(view, setting, i === at, busy);
  write(view.dialSays, text);
  view.range.setAttribute("aria-valuetext", text);
  view.dialBack.hidden = i === at;
}

function says({ run, whole }, setting, own, busy) {
  if (setting.death && setting.shift === null) return "nothing is dropped";
  if (setting.death || own) {
    const last = run.Q - 1,
      gone = last > 0 ? 1 - (whole.total[last] - run.L) / (run.L * last) : 0;
    return `${percent(gone, 1)} of this text dropped`;
  }
  if (busy) return "reading your text again …";
  const about =
    setting.shift === null
      ? "nothing dropped"
      : setting.expected
        ? `about ${percent(setting.expected)} dropped of ${lengthOf(setting, run)}`
        : "not measured";
  return `${about}: let go to read it so`;
}

/** The length that the expected share holds for: that of the run, or the longest one measured. */
const lengthOf = ({ length }, { Q }) =>
  length === Q ? "a text this long" : `a text of ${length.toLocaleString("en")} tokens`;
