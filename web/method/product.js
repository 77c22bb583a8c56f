// Gates multiply: soft and hard I[t, j] side by side, and one token's gates step by step.

import { legible as named } from "../shared/legible.js";
import { cut, line, many, path, quoted, rect, say, shape, signed } from "./draw.js";
import { Picture } from "./picture.js";

/** Gates multiply: soft and hard I[t, j] side by side, and one token's gates step by step. */
export class Product extends Picture {
  constructor(root, data) {
    super(root, data);
    this.index = data.start;
    this.token = data.token;
    this.step = data.pieces.length - 1;
    this.slider(
      "soft at α",
      {
        min: 0,
        max: data.alphas.length - 1,
        step: 1,
        value: this.index,
        label: (i) => data.alphas[i].toFixed(1),
      },
      (v) => {
        this.index = v;
      },
    );
    const slider = this.slider(
      "step",
      { min: 1, max: data.pieces.length - 1, step: 1, value: this.step, label: String },
      (v) => {
        this.step = v;
      },
    );
    this.player(slider, 260);
    this.column = this.slider(
      "token j",
      {
        min: 0,
        max: data.pieces.length - 2,
        step: 1,
        value: this.token,
        label: (b) => quoted(data.pieces[b]),
      },
      (b) => {
        this.token = b;
      },
    );
  }

  draw() {
    const { pieces, z, gates, soft, alphas } = this.data,
      n = pieces.length,
      j = this.token,
      t = this.step,
      shapes = [];
    const wide = this.width >= 460,
      gap = 22,
      side = wide ? (this.width - gap) / 2 : this.width,
      cell = Math.min(side, 330) / n,
      p = gates[this.index],
      product = soft[this.index];
    const panels = [
      [0, 20, `soft, α = ${alphas[this.index].toFixed(1)}`, (a, b) => product[a][b]],
      [
        wide ? side + gap : 0,
        wide ? 20 : 20 + cell * n + 32,
        "hard",
        (a, b) => (this.hard(a, b) ? 1 : 0),
      ],
    ];
    for (const [x, y, title, value] of panels) {
      shapes.push(say(x, y - 7, `I[t, j], ${title}`, "strong"));
      for (let a = 0; a < n; a++) {
        for (let b = 0; b <= a; b++) {
          const v = value(a, b),
            name = a > t ? "empty" : "cell";
          shapes.push(
            rect(x + b * cell, y + a * cell, cell - 1, cell - 1, "empty", { "stroke-width": 0.5 }),
          );
          if (a <= t && v > 0)
            shapes.push(
              rect(x + b * cell, y + a * cell, cell - 1, cell - 1, name, {
                opacity: (0.06 + 0.94 * v).toFixed(3),
              }),
            );
        }
      }
      shapes.push(
        rect(x + j * cell - 1, y + j * cell - 1, cell + 1, (n - j) * cell + 1, "frame", { rx: 2 }),
      );
      for (let b = 0; b < n - 1; b++) {
        const pick = rect(x + b * cell, y + b * cell, cell, (n - b) * cell, "pick", {
          "data-token": b,
        });
        pick.addEventListener("click", () => this.column.move(b));
        pick.append(shape("title", {}, `${quoted(pieces[b])}, read at step ${b}`));
        shapes.push(pick);
      }
      shapes.push(
        say(x + Math.max(cell * n * 0.42, 60), y + 13, "columns: token j", "small"),
        say(x + Math.max(cell * n * 0.42, 60), y + 28, "rows: step t, downwards", "small"),
      );
    }
    const y = panels[1][1] + cell * n + 34;
    const left = 48,
      step = (this.width - left - 4) / n,
      h = 66,
      at = (v) => y + h - v * h;
    shapes.push(
      say(0, y - 12, `gates of ${quoted(pieces[j])} (bars), their product (line)`, "strong"),
    );
    for (const v of [0, 1])
      shapes.push(
        say(left - 8, at(v) + 4, String(v), "small", "end"),
        line(left, at(v), this.width, at(v), "axis"),
      );
    shapes.push(say(0, y + h / 2 + 4, "soft", ""));
    for (let a = j + 1; a <= t; a++)
      shapes.push(rect(left + a * step + 1, at(p[a][j]), step - 2, p[a][j] * h, "pale"));
    const curve = [[left + j * step + step / 2, at(1)]];
    for (let a = j + 1; a <= t; a++) curve.push([left + (a + 0.5) * step, at(product[a][j])]);
    shapes.push(path(curve, "curve"));
    const hy = y + h + 12,
      box = Math.min(step - 2, 18);
    shapes.push(say(0, hy + box / 2 + 4, "hard"));
    for (let a = j + 1; a <= t; a++) {
      const x = left + (a + 0.5) * step - box / 2,
        open = z[a][j] > 0,
        alive = this.hard(a - 1, j);
      shapes.push(
        rect(x, hy, box, box, open ? (alive ? "cell" : "late") : alive ? "shut" : "hole", {
          rx: 2,
        }),
      );
      if (!open)
        shapes.push(
          path(
            [
              [x + box * 0.25, hy + box * 0.25],
              [x + box * 0.75, hy + box * 0.75],
            ],
            "rule",
          ),
          path(
            [
              [x + box * 0.75, hy + box * 0.25],
              [x + box * 0.25, hy + box * 0.75],
            ],
            "rule",
          ),
        );
    }
    for (let a = j; a < n; a++) {
      const mark = say(0, 0, cut(named(pieces[a]), 9), a === t ? "strong small" : "small", "end");
      mark.setAttribute(
        "transform",
        `translate(${(left + (a + 0.5) * step + 3).toFixed(1)} ${hy + box + 12}) rotate(-52)`,
      );
      shapes.push(mark);
    }
    const death = z.findIndex((row, a) => a > j && row[j] <= 0),
      gone = death >= 0 && death <= t;
    const later = gone ? z.filter((row, a) => a > death && a <= t && row[j] > 0).length : 0;
    this.show(
      hy + box + 64,
      shapes,
      `The product of gates over ${n} tokens of layer ${this.data.layer}, soft and hard. Chosen: ${quoted(pieces[j])}, ${gone ? `dropped at step ${death}` : `held at step ${t}`}.`,
    );
    const say4 = gone
      ? `Its hard gate shuts at step ${death}, when *${quoted(pieces[death])}* is read (z = ${signed(z[death][j])}). ${later ? `${many(later, "later gate")} would keep it (hollow squares; a cross is a closed gate that finds nothing left to drop), but a product with a 0 in it stays 0.` : "Nothing after that can bring it back."}`
      : `No hard gate has shut up to step ${t}: every z is above 0.`;
    this.tell(
      `Chosen: *${quoted(pieces[j])}*, read at step ${j}. ${say4} Soft: I = *${product[t][j] === undefined ? "–" : (j <= t ? product[t][j] : 0).toFixed(3)}* at step ${t}. Choose another column.`,
    );
  }

  hard(a, b) {
    for (let n = b + 1; n <= a; n++) if (this.data.z[n][b] <= 0) return false;
    return true;
  }
}
