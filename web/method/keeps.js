// What attention keeps: a triangle that grows by a row, and a cache that grows with it.

import { legible as named } from "../shared/legible.js";
import { cut, kib, many, quoted, rect, say } from "./draw.js";
import { Picture } from "./picture.js";

/** What attention keeps: a triangle that grows by a row, and a cache that grows with it. */
export class Keeps extends Picture {
  constructor(root, data) {
    super(root, data);
    this.step = Math.min(data.start, data.pieces.length - 1);
    const slider = this.slider(
      "step",
      { min: 0, max: data.pieces.length - 1, step: 1, value: this.step, label: String },
      (v) => {
        this.step = v;
      },
    );
    this.player(slider, 260);
  }

  draw() {
    const { pieces, layers, entry } = this.data,
      n = pieces.length,
      t = this.step,
      shapes = [];
    const side = Math.min(21, (this.width - 66) / n),
      top = 4;
    for (let i = 0; i < n; i++) {
      for (let j = 0; j <= i; j++) {
        const name = i > t ? "empty" : i === t ? "cell" : "pale";
        shapes.push(
          rect(j * side + 0.5, top + i * side + 0.5, side - 2, side - 2, name, { rx: 2 }),
        );
      }
      shapes.push(
        say(
          (i + 1) * side + 5,
          top + (i + 0.68) * side,
          cut(named(pieces[i]), 12),
          i === t ? "strong" : i > t ? "small" : "",
        ),
      );
    }
    const x = this.width,
      rows = t + 1,
      bytes = layers * rows * entry;
    shapes.push(say(x, 20, `step ${t} reads ${quoted(pieces[t])}`, "big", "end"));
    shapes.push(say(x, 40, `looks at ${many(rows, "entry", "entries")} a layer`, "ink", "end"));
    shapes.push(say(x, 58, `looks so far: ${(rows * (rows + 1)) / 2}`, "", "end"));
    shapes.push(say(x, 76, `cache: ${kib(bytes)}`, "held", "end"));
    this.show(
      top + n * side + 4,
      shapes,
      `Dense attention: at step ${t} every layer looks at all ${rows} tokens read so far; the cache takes ${kib(bytes)}.`,
    );
    this.tell(
      `Row: the token that is read. Column: the token it may look at. The cache of this model: *${layers} layers × ${many(rows, "entry", "entries")} × ${kib(entry)} = ${kib(bytes)}*.`,
    );
  }
}
