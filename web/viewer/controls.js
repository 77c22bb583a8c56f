// The parts of the view and their order on the page.

import { choice, filters } from "./choices.js";
import { buildDial } from "./dial.js";
import { button, group, node, panel } from "./dom.js";
import { buildLine } from "./line.js";
import { showPlay } from "./play_button.js";
import { buildShare } from "./share.js";
import { TextPanel } from "./text.js";
import { tiles } from "./tiles.js";
import { buildWritten } from "./written.js";

const KEYS = [
  ["← →", "step"],
  ["↑ ↓", "layer"],
  ["space", "play"],
  ["enter", "pick token"],
  ["+ −", "zoom"],
  ["esc", "clear"],
];

export function build(view) {
  const box = (view.box = node("section", "dcp"));
  box.setAttribute("aria-label", "What each layer can still attend to");
  if (view.options.title) {
    const lede =
      "Every layer keeps its own context. A dropped token is out of reach of every later token in that layer.";
    box.append(node("h1", "title", view.options.title), node("p", "lede", lede));
  }
  view.notice = node("p", "notice");
  view.notice.setAttribute("role", "alert");
  view.summary = node("p", "sr");
  view.spoken = node("p", "sr");
  view.spoken.setAttribute("role", "status");
  view.choices = {};
  view.text = new TextPanel(view);
  buildLine(view);
  buildDial(view);
  buildWritten(view);
  buildShare(view);
  view.story = node("div", "story");
  view.findings = group("group", "findings", "What happened in this run");
  view.keys = node("div", "keys");
  buildStage(view);
  view.label = node("span");
  const hints = node("span", "hints");
  for (const [key, does] of KEYS) hints.append(node("kbd", "", key), ` ${does}  `);
  box.append(
    ...[view.notice, view.summary, view.spoken, view.line, above(view), view.text.box, view.keys],
    ...[view.findings, view.story, view.written, tiles(view), view.stage, filters(view)],
    node("div", "foot", view.label, hints),
  );
  view.root.append(box);
  showPlay(view);
}

/** The row over the text: what is shown, and how. */
function above(view) {
  view.newest = button("newest ⇥", "newest", () => {
    view.state.follow = true;
    view.go(view.run.Q - 1, true);
  });
  view.newest.hidden = true;
  view.full = button("full screen", "quietly", () => {
    if (view.root.ownerDocument.fullscreenElement) document.exitFullscreen();
    else view.box.requestFullscreen();
  });
  view.full.hidden = !document.fullscreenEnabled;
  const keys = ["colour", "life", "grain", "density", "arcs", "speed"],
    choices = node("div", "", ...keys.map((key) => choice(view, key))),
    tools = node("div", "tools", choice(view, "text"), view.dial, view.newest),
    display = panel("display", node("summary", "", "display"), choices);
  return node("div", "bar", tools, node("div", "tools", view.share, display, view.full));
}

function buildStage(view) {
  view.canvas = node("canvas");
  // A click gives it the keys; the Tab key stops at the handle, which has the same ones.
  view.canvas.tabIndex = -1;
  view.canvas.setAttribute("role", "img");
  view.canvas.setAttribute("aria-label", "Layer by token heatmap, lifelines and entries held");
  view.ctx = view.canvas.getContext("2d");
  if (!view.ctx) throw new Error("this browser has no canvas");
  view.playButton = button("", "play", () => view.play());
  const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  icon.setAttribute("viewBox", "0 0 10 10");
  view.playPath = document.createElementNS("http://www.w3.org/2000/svg", "path");
  icon.append(view.playPath);
  view.playLabel = node("span");
  view.playButton.append(icon, view.playLabel);
  const zoom = group("group", "zoom", "Zoom");
  for (const [sign, does, factor] of [
    ["−", "Zoom out", 1 / 2],
    ["+", "Zoom in", 2],
  ]) {
    const b = button(sign, "", () => view.zoom(factor));
    b.setAttribute("aria-label", does);
    zoom.append(b);
  }
  view.scrub = node("div", "scrub");
  view.scrub.tabIndex = 0;
  view.scrub.setAttribute("role", "slider");
  view.scrub.setAttribute("aria-label", "Step: how many tokens have been read");
  view.scrub.setAttribute(
    "aria-keyshortcuts",
    "ArrowLeft ArrowRight ArrowUp ArrowDown Home End Space Enter Escape + -",
  );
  view.grip = node("div", "grip");
  view.scrub.append(view.grip);
  view.tip = node("div", "tip");
  view.tip.hidden = true;
  view.stage = node("div", "stage", view.canvas, view.playButton, zoom, view.scrub, view.tip);
}
