// The α-sigmoids, their slope, and α over training. Numbers come from dcp/method.py.

import { line, path, rect, say, scales, shape, signed } from "./draw.js";
import { Picture } from "./picture.js";

/** The α-sigmoids, their slope, and α over training. */
export class Sigmoid extends Picture {
  constructor(root, data) {
    super(root, data);
    this.index = data.start;
    const slider = this.slider(
      "α",
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
    this.player(slider, 70);
  }

  draw() {
    const { alphas, p, z, slope, progress } = this.data,
      i = this.index,
      alpha = alphas[i],
      shapes = [],
      reach = 3;
    const wide = this.width >= 520,
      left = 34,
      w = (wide ? this.width * 0.62 : this.width) - left - 6,
      h = 150;
    const edge = alpha > 1 ? Math.min(reach, 1 / (alpha - 1)) : reach,
      clipId = `clip-${i}`;
    const box = [left, 8, w, h],
      at = scales(box, [-reach, reach], [0, 1]),
      low = 8 + h + 46;
    // Slopes run from 1/4 to 32: powers of two, with a row of its own for exactly 0.
    const power = (v) => (v > 0 ? Math.max(-5.4, Math.log2(v)) : -6),
      under = scales([left, low, w, h], [-reach, reach], [-6, 5.4]);
    shapes.push(
      shape("clipPath", { id: clipId }),
      rect(at.x(-edge), 8, at.x(edge) - at.x(-edge), low + h - 8, "wash"),
    );
    shapes[0].append(rect(left, 0, w, low + h + 4, ""));
    const plot = shape("g", { "clip-path": `url(#${clipId})` });
    shapes.push(plot);
    for (const v of [0, 0.5, 1]) shapes.push(say(left - 7, at.y(v) + 4, String(v), "small", "end"));
    plot.append(
      line(left, at.y(0.5), left + w, at.y(0.5), "axis"),
      line(at.x(0), 8, at.x(0), low + h, "axis"),
    );
    for (const v of [-6, -2, 0, 2, 5]) {
      plot.append(line(left, under.y(v), left + w, under.y(v), "axis"));
      shapes.push(
        say(
          left - 7,
          under.y(v) + 4,
          { "-6": "0", "-2": "¼", 0: "1", 2: "4", 5: "32" }[v],
          "small",
          "end",
        ),
      );
    }
    for (const [index, name] of [...this.data.family.map((f) => [f, "faint"]), [i, "curve"]]) {
      const points = p.map((v, k) => [z[index][k], v, slope[index][k]]),
        last = alphas[index] > 1 ? 1 / (alphas[index] - 1) : 99;
      const ends = [[-99, 0, 0], ...points, [99, 1, 0]];
      // Below α = 2 the slope falls to 0 at the edge of the band; from there on it jumps.
      const fall = (x) => (alphas[index] > 1 && alphas[index] < 2 ? [[x, 0, 0]] : []);
      plot.append(
        path(
          (alphas[index] > 1.2 ? ends : points).map(([x, y]) => [at.x(x), at.y(y)]),
          name,
        ),
      );
      plot.append(
        path(
          [...fall(-last), ...points, ...fall(last)].map(([x, , s]) => [
            under.x(x),
            under.y(power(s)),
          ]),
          name,
        ),
      );
      if (last < reach)
        for (const side of [-1, 1])
          plot.append(
            path(
              [
                [side * last, -6],
                [side * 99, -6],
              ].map(([x, y]) => [under.x(x), under.y(y)]),
              name,
            ),
          );
    }
    shapes.push(
      say(left + 6, 22, "gate p", "strong"),
      say(left + 6, low + 14, "slope dp/dz", "strong"),
    );
    for (const v of [-3, -2, -1, 0, 1, 2, 3])
      shapes.push(
        say(at.x(v), 8 + h + 16, signed(v, 0), "small", "middle"),
        say(at.x(v), low + h + 16, signed(v, 0), "small", "middle"),
      );
    shapes.push(say(left + w, 8 + h + 31, "gate logit z", "small", "end"));
    const sx = wide ? left + w + 52 : left,
      sy = wide ? 8 : low + h + 50,
      sw = this.width - sx - 10,
      on = scales([sx, sy, sw, h], [0, 1], [1, 8]);
    for (const v of [1, 2, 4, 6, 8])
      shapes.push(
        say(sx - 7, on.y(v) + 4, String(v), "small", "end"),
        line(sx, on.y(v), sx + sw, on.y(v), "axis"),
      );
    shapes.push(
      path(
        progress.map((v, k) => [on.x(v), on.y(alphas[k])]),
        "faint",
      ),
      shape("circle", { cx: on.x(progress[i]), cy: on.y(alpha), r: 6, class: "dot" }),
    );
    shapes.push(
      say(sx + 6, sy + 14, "α", "strong"),
      say(sx, sy + h + 16, "start", "small"),
      say(sx + sw, sy + h + 16, "end of training", "small", "end"),
    );
    const facts = [
      ["α", alpha.toFixed(1)],
      ["live band", alpha > 1 ? `±${(1 / (alpha - 1)).toFixed(3)}` : "all z"],
      ["slope at z = 0", (2 ** (alpha - 3)).toPrecision(3)],
      ["training done", `${(100 * progress[i]).toFixed(0)} %`],
    ];
    let y = sy + h + 52;
    for (const [name, value] of facts) {
      shapes.push(say(sx, y, name), say(sx + sw, y, value, "strong", "end"));
      y += 20;
    }
    this.show(
      Math.max(low + h + 24, y - 8),
      shapes,
      `The α-sigmoid at α ${alpha.toFixed(1)}, its slope, and the schedule of α over training. The gate learns while its logit is ${alpha > 1 ? `within ${(1 / (alpha - 1)).toFixed(3)} of zero` : "anywhere"}.`,
    );
    this.tell(
      alpha > 1
        ? `At *α = ${alpha.toFixed(1)}* a gate with |z| ≥ *${(1 / (alpha - 1)).toFixed(3)}* is exactly 0 or 1 and no gradient reaches it. Grey: α = ${this.data.family.map((f) => alphas[f]).join(", ")}.`
        : `At *α = 1* the gate is the logistic function: never quite shut, and every logit has a gradient. Grey: α = ${this.data.family.map((f) => alphas[f]).join(", ")}.`,
    );
  }
}
