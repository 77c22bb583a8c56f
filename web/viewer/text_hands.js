// The running text under its reader's hands: choosing a word, pointing at one, scrolling. And who
// scrolls a long one: its reader, or, while the step moves, the view alone.

import { onKey } from "./hands.js";
import { openWritten } from "./written.js";

/** The step rests when it has not moved for so long (ms), nor in the two frames after that: where
frames take longer than this, a movement goes on all the same. */
const REST = 250;

/** The step has moved, once or again; a reader whose pointer or focus is there may scroll it. */
export function moves(panel) {
  const theirs = panel.over || panel.box.matches(":focus");
  panel.moving = panel.resting !== 0;
  panel.box.classList.toggle("moving", panel.moving && !theirs);
  clearTimeout(panel.resting);
  cancelAnimationFrame(panel.calm);
  panel.resting = setTimeout(() => {
    panel.calm = requestAnimationFrame(() => {
      panel.calm = requestAnimationFrame(() => rests(panel));
    });
  }, REST);
}

/** Let go of the text, and dress what was out of sight. */
function rests(panel) {
  panel.resting = 0;
  panel.moving = false;
  panel.box.classList.remove("moving");
  panel.sweep();
}

/** Let the reader choose, point and scroll. */
export function listenText(panel) {
  const { view, box } = panel,
    word = (e) => {
      const t = e.target.closest?.("[data-t]");
      return t ? Number(t.dataset.t) : -1;
    };
  box.addEventListener("click", (e) => {
    const j = word(e);
    if (j < 0) return;
    view.pick(j);
    openWritten(view, view.state.token);
  });
  box.addEventListener("pointermove", (e) => {
    const j = word(e),
      r = view.stage.getBoundingClientRect();
    const hover =
      j < 0
        ? null
        : {
            token: j,
            layer: view.state.layer,
            panel: "text",
            x: e.clientX - r.left,
            y: e.clientY - r.top,
          };
    if (hover?.token !== view.hover?.token) {
      view.hover = hover;
      view.draw();
    }
  });
  box.addEventListener(
    "scroll",
    () => {
      panel.scrolled = box.scrollTop;
      view.draw();
    },
    { passive: true },
  );
  box.addEventListener("pointerenter", () => {
    panel.over = true;
    box.classList.remove("moving");
  });
  box.addEventListener("pointerleave", () => {
    panel.over = false;
    view.hover = null;
    view.draw();
  });
  box.addEventListener("keydown", (e) => {
    if (e.key === "Escape") onKey(view, e);
  });
}
