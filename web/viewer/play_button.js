// The button that runs the film.

import { write } from "./dom.js";

export function showPlay(view) {
  const on = !!view.playing;
  view.playPath.setAttribute("d", on ? "M1 0h3v10H1zM6 0h3v10H6z" : "M1.5 0 9.5 5 1.5 10z");
  write(view.playLabel, on ? "Pause" : "Play");
  view.playButton.setAttribute("aria-label", on ? "Pause" : "Play the run step by step");
}
