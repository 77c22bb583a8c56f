// What can be taken along: a link that makes the run again, a film of it, a picture of this step.
//
// Film and picture are made here, from the run alone: nothing leaves the browser.

import { button, node, panel, write } from "./dom.js";
import { SIZE, still } from "./frame.js";

const SECONDS = 11;
const LAST = 1.6;
const KINDS = ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm", "video/mp4"];

export function buildShare(view) {
  const summary = node("summary", "", "share"),
    copy = button("Copy link", "quietly", () => copyLink(view)),
    film = button("Save film", "quietly", () => saveFilm(view)),
    card = button("Save picture", "quietly", () => saveCard(view)),
    said = node("p", "quiet");
  said.setAttribute("role", "status");
  film.hidden = !globalThis.MediaRecorder || !kindOf();
  // Opening is told after the panel is shown.
  copy.hidden = true;
  view.sharing = { copy, film, said };
  view.share = panel("display share", summary, node("div", "", copy, film, card, said));
  view.share.addEventListener("toggle", () => {
    copy.hidden = !view.run?.link;
    write(said, copy.hidden ? "The film and the picture are made in this browser." : "");
  });
}

/** The address that makes the run again, at the place the reader looks at. */
export function linkOf({ run, state }) {
  const asked = new URLSearchParams(run.link),
    here = new URL(globalThis.location.href);
  here.search = here.hash = "";
  const place = { layer: state.layer, step: state.step, token: state.token };
  for (const [name, value] of Object.entries(place)) if (value >= 0) asked.set(name, value);
  here[run.link.text ? "hash" : "search"] = asked.toString();
  return here.href;
}

async function copyLink(view) {
  const link = linkOf(view),
    { said } = view.sharing;
  try {
    await navigator.clipboard.writeText(link);
    write(said, "Copied. The link holds the text itself; opening it makes the run again.");
  } catch {
    const box = node("input");
    box.readOnly = true;
    box.value = link;
    box.setAttribute("aria-label", "The link, to copy by hand");
    said.replaceChildren("This browser lets no page write to its clipboard: ", box);
    box.select();
  }
}

/** As `dcp.trace.naming.stem`: the model, the share dropped at the end, the text, the step. */
const nameOf = ({ run, whole }, step) => {
  const last = run.Q - 1,
    gone = last > 0 ? 1 - (whole.total[last] - run.L) / (run.L * last) : 0;
  const words = run.text.slice(0, 60).match(/[\p{L}\p{N}]+/gu) || ["run"],
    shown = words.slice(0, 4).join("-").toLowerCase();
  return [run.model || "run", `${(100 * gone).toFixed(0)}pc`, shown, step]
    .filter((x) => x !== undefined)
    .join("_");
};

function save(blob, name) {
  const a = node("a");
  a.href = URL.createObjectURL(blob);
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(a.href), 60_000);
}

function sheet() {
  const canvas = node("canvas");
  [canvas.width, canvas.height] = SIZE;
  return canvas;
}

function saveCard(view) {
  const canvas = sheet();
  still(view, canvas.getContext("2d"), view.state.step);
  canvas.toBlob((blob) => save(blob, `${nameOf(view, `step${view.state.step}`)}.png`), "image/png");
}

const kindOf = () => KINDS.find((kind) => MediaRecorder.isTypeSupported(kind));

/** Record the run from its first step to its last; pressed again, stop and save nothing. */
function saveFilm(view) {
  const { film, said } = view.sharing;
  if (view.recording) {
    view.recording = null;
    return;
  }
  const canvas = sheet(),
    ctx = canvas.getContext("2d"),
    kind = kindOf(),
    stream = canvas.captureStream(30),
    recorder = new MediaRecorder(stream, { mimeType: kind, videoBitsPerSecond: 3_500_000 }),
    parts = [],
    length = view.options.filmSeconds ?? SECONDS,
    mine = (view.recording = {}),
    { run } = view;
  recorder.ondataavailable = ({ data }) => parts.push(data);
  recorder.onstop = () => {
    const done = view.recording === mine;
    view.recording = null;
    write(film, "Save film");
    write(said, done ? "Saved." : "Stopped: nothing was saved.");
    for (const track of stream.getTracks()) track.stop();
    const ending = kind.includes("mp4") ? "mp4" : "webm";
    if (done) save(new Blob(parts, { type: kind }), `${nameOf(view)}.${ending}`);
  };
  write(film, "Stop the film");
  still(view, ctx, 0);
  recorder.start(500);
  const began = performance.now(),
    tick = () => {
      const seconds = (performance.now() - began) / 1000,
        part = Math.min(1, seconds / length);
      if (view.recording !== mine || view.run !== run || seconds > length + LAST) {
        if (view.run !== run) view.recording = null;
        recorder.stop();
        return;
      }
      still(view, ctx, Math.round(part * (run.Q - 1)));
      write(said, `Filming: ${Math.round((100 * seconds) / (length + LAST))} %`);
      setTimeout(tick, 50);
    };
  tick();
}
