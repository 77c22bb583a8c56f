// The rows of one layer's cache as tokens come and go.

import { legible as named } from "../shared/legible.js";
import { cut, kib, line, many, path, quoted, rect, say, scales, shape } from "./draw.js";
import { Picture } from "./picture.js";

/** The rows of one layer's cache as tokens come and go. */
export class Cache extends Picture {
  constructor(root, data) {
    super(root, data);
    this.step = data.start;
    const slider = this.slider(
      "step",
      { min: 0, max: data.steps.length - 1, step: 1, value: this.step, label: String },
      (v) => {
        this.step = v;
      },
    );
    this.player(slider, 330);
  }

  draw() {
    const { pieces, steps, entry, row_bytes, layer, most } = this.data,
      t = this.step,
      now = steps[t],
      shapes = [];
    const columns = Math.max(3, Math.floor(this.width / 76)),
      w = this.width / columns,
      h = 24,
      height = Math.ceil(most / columns) * h,
      moved = new Map(now.moves.map(([a, b]) => [b, a]));
    const left = (row) => (row % columns) * w,
      top = (row) => 18 + Math.floor(row / columns) * h;
    shapes.push(say(0, 10, `layer ${layer}: the rows of its cache, row 0 first`, "strong"));
    for (let row = 0; row < now.capacity; row++) {
      const token = now.rows[row],
        x = left(row) + 1,
        y = top(row) + 1;
      if (token === undefined) {
        shapes.push(rect(x, y, w - 3, h - 3, "hole", { rx: 3 }));
        continue;
      }
      shapes.push(rect(x, y, w - 3, h - 3, "row", { rx: 3 }));
      shapes.push(
        say(
          x + 5,
          y + 15,
          cut(named(pieces[token]), Math.floor((w - 12) / 6.6)),
          row === now.written ? "strong" : "ink",
        ),
      );
      if (row === now.written) shapes.push(rect(x, y, w - 3, h - 3, "new", { rx: 3 }));
      else if (moved.has(row)) shapes.push(rect(x, y, w - 3, h - 3, "moved", { rx: 3 }));
    }
    const y = 18 + height + 30,
      ph = 96,
      pl = 56,
      pw = this.width - pl - 8,
      top_bytes = steps.length * entry,
      at = scales(
        [pl, y, pw, ph],
        [0, steps.length - 1],
        [0, Math.max(top_bytes, most * row_bytes)],
      );
    shapes.push(say(0, y - 11, "memory of this layer", "strong"));
    for (const v of [0, 0.5, 1])
      shapes.push(
        say(pl - 7, at.y(v * top_bytes) + 4, kib(Math.round(v * top_bytes)), "small", "end"),
        line(pl, at.y(v * top_bytes), pl + pw, at.y(v * top_bytes), "axis"),
      );
    shapes.push(
      path(
        steps.map((_s, i) => [at.x(i), at.y((i + 1) * entry)]),
        "dense",
      ),
    );
    const stairs = steps.flatMap((s, i) => [
      [at.x(Math.max(0, i - 0.5)), at.y(s.capacity * row_bytes)],
      [at.x(Math.min(steps.length - 1, i + 0.5)), at.y(s.capacity * row_bytes)],
    ]);
    shapes.push(
      path(stairs, "faint"),
      path(
        steps.map((s, i) => [at.x(i), at.y(s.rows.length * entry)]),
        "curve",
      ),
    );
    shapes.push(
      line(at.x(t), y, at.x(t), y + ph, "rule"),
      shape("circle", { cx: at.x(t), cy: at.y(now.rows.length * entry), r: 5, class: "dot" }),
    );
    shapes.push(
      say(pl, y + ph + 16, "step 0", "small"),
      say(pl + pw, y + ph + 16, `step ${steps.length - 1}`, "small", "end"),
    );
    const live = now.rows.length * entry,
      allocated = now.capacity * row_bytes,
      dense = (t + 1) * entry,
      third = this.width / 3;
    [
      ["live (line)", kib(live), "held"],
      ["allocated (grey)", kib(allocated), "ink"],
      ["dense (dashed)", kib(dense), "ink"],
    ].forEach(([name, value, kind], i) => {
      shapes.push(
        say(i * third, y + ph + 40, name),
        say(i * third, y + ph + 58, value, `big ${kind}`),
      );
    });
    const gone = now.dropped.length,
      first = now.dropped[0];
    this.show(
      y + ph + 66,
      shapes,
      `Layer ${layer} at step ${t}: ${now.rows.length} rows in use of ${now.capacity}. Live ${kib(live)}, allocated ${kib(allocated)}, dense ${kib(dense)}.`,
    );
    const act = gone
      ? `It drops *${gone === 1 ? quoted(pieces[first[0]]) : `${gone} tokens`}*: ${quoted(pieces[t])} overwrites the row of ${quoted(pieces[first[0]])} (orange)${now.moves.length ? `, and ${many(now.moves.length, "last row moves into a hole", "last rows move into holes")} (dashed)` : ""}.`
      : `It drops nothing: ${quoted(pieces[t])} is appended as row ${now.written} (orange).`;
    this.tell(
      `Step ${t} reads *${quoted(pieces[t])}*. ${act} ${many(now.rows.length, "row")} in use of ${t + 1} tokens read.`,
    );
  }
}
