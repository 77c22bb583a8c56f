// One picture: an SVG as wide as its box, a sentence that says what it shows, controls.

import { element, shape } from "./draw.js";

/** One picture: an SVG as wide as its box, a sentence that says what it shows, controls. */
export class Picture {
  constructor(root, data) {
    this.data = data;
    this.box = element("section", "method");
    this.svg = shape("svg", { role: "img" });
    this.said = element("p", "said");
    this.said.setAttribute("aria-live", "polite");
    this.controls = element("div", "controls");
    this.box.append(this.svg, this.said, this.controls);
    root.append(this.box);
    this.width = 0;
    this.watch = new ResizeObserver(() => this.fit());
    this.watch.observe(this.box);
  }

  fit() {
    const width = Math.round(this.svg.getBoundingClientRect().width);
    if (width && width !== this.width) {
      this.width = width;
      this.draw();
    }
  }

  /** Draw ``shapes`` in a frame ``height`` high; ``about`` is the alternative text. */
  show(height, shapes, about) {
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${height}`);
    this.svg.setAttribute("height", height);
    this.svg.setAttribute("aria-label", about);
    this.svg.replaceChildren(...shapes);
  }

  /** Say one sentence; what stands between * and * is bold. */
  tell(text) {
    this.said.replaceChildren(
      ...text.split("*").map((part, i) => (i % 2 ? element("b", "", part) : part)),
    );
  }

  slider(name, { min, max, step, value, label }, act) {
    const row = element("label"),
      input = element("input"),
      out = element("output");
    input.type = "range";
    Object.assign(input, { min, max, step });
    input.value = value;
    const set = () => {
      out.textContent = label(+input.value);
      input.setAttribute("aria-valuetext", out.textContent);
    };
    input.addEventListener("input", () => {
      set();
      act(+input.value);
      this.draw();
    });
    set();
    row.append(element("span", "", name), input, out);
    this.controls.append(row);
    return {
      input,
      move: (v) => {
        input.value = v;
        set();
        act(+input.value);
        this.draw();
      },
    };
  }

  /** A play button that moves a slider until its end. */
  player(slider, milliseconds) {
    const button = element("button", "", "Play");
    button.type = "button";
    let timer = 0;
    const stop = () => {
      clearInterval(timer);
      timer = 0;
      button.textContent = "Play";
    };
    const next = () => {
      const { input } = slider;
      if (!this.box.isConnected || +input.value >= +input.max) return stop();
      slider.move(+input.value + 1);
      return undefined;
    };
    button.addEventListener("click", () => {
      if (timer) {
        stop();
        return;
      }
      if (+slider.input.value >= +slider.input.max) slider.move(+slider.input.min);
      button.textContent = "Pause";
      timer = setInterval(next, milliseconds);
    });
    slider.input.addEventListener("pointerdown", stop);
    this.controls.prepend(button);
  }
}
