// What moves by itself: the film of a finished run, and a run that streams in.

import { showPlay } from "./play_button.js";
import { clamp } from "./values.js";

/** A whole run at speed 1 takes about so many seconds, unless that is under 8 or over 400 steps a second. */
const SECONDS = 14;

/** Start at the step of the view, or from the beginning where that is the last. */
export function play(view) {
  if (view.playing) {
    stop(view);
    return;
  }
  if (view.state.step >= view.run.Q - 1) view.go(0, true);
  view.state.follow = false;
  begin(view);
  showPlay(view);
  view.draw();
}

/** Runs whose film has begun by itself: each does so once. */
const begun = new Set();

/** Play a run that asks for it, once, from its beginning; not to those who asked for less motion. */
export function playOnce(view) {
  const { run, state } = view;
  if (!run.play || run.running || begun.has(run.id) || view.still.matches || run.Q < 2) return;
  begun.add(run.id);
  state.step = 0;
  state.follow = false;
  begin(view);
  showPlay(view);
}

/** The film goes on from here, at the speed that is set now. */
export function begin(view) {
  view.playing = performance.now();
  view.playFrom = view.state.step;
}

export function stop(view) {
  view.playing = 0;
  showPlay(view);
  view.settle();
}

/** The next step of a film, or of a run that streams in. */
export function advance(view, now) {
  const { run, state } = view,
    last = run.Q - 1;
  if (view.playing) {
    // Who asked for less motion sees two pictures a second.
    const seconds = (now - view.playing) / 1000,
      passed = view.still.matches ? Math.floor(2 * seconds) / 2 : seconds,
      rate = clamp(run.Q / SECONDS, 8, 400) * state.speed,
      step = Math.max(view.playFrom, Math.floor(view.playFrom + passed * rate));
    if (step >= last) {
      view.go(last, true);
      stop(view);
    } else {
      state.step = step;
      view.again();
    }
    const v = view.window();
    if (view.view && (state.step < v[0] || state.step >= v[1] - 1)) view.pan(state.step - v[0] - 1);
  } else if (run.running && state.follow && state.step < last) {
    // Payloads arrive a few times a second; stepping through them lets the text flow instead of jump.
    state.step = view.still.matches
      ? last
      : Math.min(last, state.step + Math.max(1, Math.ceil((last - state.step) / 9)));
    view.again();
  }
}
