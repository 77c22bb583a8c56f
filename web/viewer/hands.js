// What hands and keys do to the view.

import { write } from "./dom.js";
import { everyAt } from "./every.js";
import { rowAt } from "./rows.js";
import { openWritten } from "./written.js";

export function listen(view) {
  const { canvas, scrub } = view;
  const at = (e) => {
    const r = canvas.getBoundingClientRect();
    return [e.clientX - r.left, e.clientY - r.top];
  };
  const drag = (e) => {
    view.stop();
    view.go(Math.floor(view.token(at(e)[0])));
  };
  for (const el of [canvas, scrub]) el.addEventListener("keydown", (e) => onKey(view, e));
  scrub.addEventListener("pointerdown", (e) => {
    scrub.setPointerCapture(e.pointerId);
    scrub.focus({ preventScroll: true });
    view.dragging = true;
    drag(e);
    e.preventDefault();
  });
  scrub.addEventListener("pointermove", (e) => {
    if (view.dragging) drag(e);
  });
  for (const end of ["pointerup", "pointercancel"])
    scrub.addEventListener(end, () => {
      view.dragging = false;
      view.settle();
    });
  scrub.addEventListener("dblclick", () => view.zoom(1e-9));
  canvas.addEventListener("dblclick", (e) => {
    const [x, y] = at(e);
    if (locate(view, x, y)?.panel === "heat") view.zoom(e.shiftKey ? 0.4 : 2.5, view.token(x));
  });
  pinch(view, at);
  const slide = (e) => {
    const { x0, x1 } = view.geo,
      [a, b] = view.window();
    view.pan(((at(e)[0] - x0) / (x1 - x0)) * view.run.domain - (a + b) / 2);
  };
  let sliding = false;
  canvas.addEventListener("pointerdown", (e) => {
    const hit = locate(view, ...at(e));
    if (hit?.panel !== "map") return;
    sliding = true;
    canvas.setPointerCapture(e.pointerId);
    slide(e);
  });
  for (const end of ["pointerup", "pointercancel"])
    canvas.addEventListener(end, () => {
      sliding = false;
    });
  canvas.addEventListener("pointermove", (e) => {
    if (sliding) slide(e);
    else if (e.pointerType !== "touch" || e.buttons) hoverAt(view, ...at(e));
  });
  canvas.addEventListener("pointerleave", () => {
    view.hover = null;
    view.draw();
  });
  canvas.addEventListener("click", (e) => {
    const hit = locate(view, ...at(e));
    if (!hit || hit.panel === "map") return;
    if (hit.panel === "memory" || hit.panel === "axis") {
      view.stop();
      view.go(hit.token);
      return;
    }
    if (hit.panel === "label") {
      view.setLayer(hit.layer);
      return;
    }
    if (hit.layer !== view.state.layer) {
      view.setLayer(hit.layer);
      view.pick(hit.token, true);
    } else view.pick(hit.token);
  });
  for (const el of [canvas, scrub])
    el.addEventListener(
      "wheel",
      (e) => {
        if (e.ctrlKey || e.metaKey) {
          e.preventDefault();
          view.zoom(Math.exp(-e.deltaY / 300), view.token(at(e)[0]));
        } else if (view.view && Math.abs(e.deltaX) > Math.abs(e.deltaY)) {
          e.preventDefault();
          view.pan(e.deltaX / view.geo.cw);
        }
      },
      { passive: false },
    );
  view.box.addEventListener("fullscreenchange", () => {
    write(view.full, view.box.matches(":fullscreen") ? "leave full screen" : "full screen");
  });
  view.text.listen();
}

/** Two fingers on the picture: the tokens under them stay under them. */
function pinch(view, at) {
  const { canvas } = view,
    fingers = new Map(),
    spread = () => {
      const [a, b] = [...fingers.values()];
      return [Math.max(20, Math.abs(a - b)), (a + b) / 2];
    };
  canvas.addEventListener("pointerdown", (e) => {
    if (e.pointerType === "touch") fingers.set(e.pointerId, at(e)[0]);
  });
  canvas.addEventListener("pointermove", (e) => {
    if (!fingers.has(e.pointerId)) return;
    const before = fingers.size === 2 ? spread() : null;
    fingers.set(e.pointerId, at(e)[0]);
    if (!before) return;
    const [wide, middle] = spread();
    view.zoom(wide / before[0], view.token(middle));
  });
  for (const end of ["pointerup", "pointercancel", "pointerleave"])
    canvas.addEventListener(end, (e) => fingers.delete(e.pointerId));
}

/** What is drawn at a point of the canvas. */
function locate(view, x, y) {
  const { geo: g, run, state } = view;
  if (!g || !run.Q) return null;
  const layer = rowAt(g.rows, y - g.heat);
  if (g.grid && y > g.life - 8 && y < g.life + g.lifeH) {
    const found = everyAt(view, x, y);
    return found && found.token < run.T ? { panel: "life", ...found } : null;
  }
  if (x < g.x0 || x > g.x1) return layer >= 0 ? { panel: "label", layer } : null;
  const token = Math.floor(view.token(x)),
    known = token < run.T;
  if (view.view && Math.abs(y - g.map - 3) < 8) return { panel: "map", token };
  if (y < g.heat - 18) return { panel: "axis", token };
  if (layer >= 0) return known ? { panel: "heat", layer, token } : null;
  if (y >= g.pos && y < g.pos + g.posH)
    return known ? { panel: "pos", layer: state.layer, token } : null;
  if (g.arcH && Math.abs(y - g.arc - g.arcH) < 9)
    return known ? { panel: "arc", layer: state.layer, token } : null;
  if (y >= g.life && y <= g.life + g.lifeH) {
    if (state.life === "lives") return known ? { panel: "life", layer: state.layer, token } : null;
    const age = Math.round(2 ** (((g.life + g.lifeH - y) / g.lifeH) * Math.log2(1 + run.Q)) - 1),
      born = token - age;
    return born >= 0 && known ? { panel: "life", layer: state.layer, token: born } : null;
  }
  return y >= g.mem && y <= g.mem + g.memH ? { panel: "memory", token } : null;
}

function hoverAt(view, x, y) {
  const hit = locate(view, x, y);
  view.hover = hit && !["axis", "label", "map"].includes(hit.panel) ? { ...hit, x, y } : null;
  view.draw();
}

export function onKey(view, event) {
  const { state, run } = view,
    big = event.shiftKey ? 10 : 1,
    // Around the pointer where it is over the picture, around the step elsewhere.
    centre = view.hover ? view.hover.token + 0.5 : undefined;
  const act = {
    ArrowLeft: () => view.go(state.step - big),
    ArrowRight: () => view.go(state.step + big),
    Home: () => view.go(0),
    End: () => view.go(run.Q - 1),
    PageUp: () => view.go(state.step + 32),
    PageDown: () => view.go(state.step - 32),
    ArrowUp: () => view.setLayer(state.layer - 1),
    ArrowDown: () => view.setLayer(state.layer + 1),
    " ": () => view.play(),
    Enter: () => view.pick(state.step),
    Escape: () => {
      view.hover = null;
      openWritten(view, -1);
      view.pick(-1, true);
    },
    "+": () => view.zoom(1.5, centre),
    "=": () => view.zoom(1.5, centre),
    "-": () => view.zoom(1 / 1.5, centre),
    0: () => view.zoom(1e-9),
  }[event.key];
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  if (event.key === "ArrowLeft" || event.key === "ArrowRight") view.stop();
  act();
}
