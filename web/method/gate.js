// A gate: a query and a key to drag, and what the gate makes of them: z = <q, k>/√2 + β.

import { bound, line, path, rect, say, scales, shape, signed } from "./draw.js";
import { Picture } from "./picture.js";

/** A gate: a query and a key to drag, and what the gate makes of them. */
export class Gate extends Picture {
  constructor(root, data) {
    super(root, data);
    // The arrows' handles are sliders of their own: an image could hold none.
    this.svg.setAttribute("role", "group");
    Object.assign(this, { q: [...data.q], k: [...data.k], beta: data.beta });
    this.slider(
      "shift β",
      { min: -4, max: 4, step: 0.1, value: this.beta, label: (v) => signed(v, 1) },
      (v) => {
        this.beta = v;
      },
    );
  }

  draw() {
    const wide = this.width >= 520,
      size = Math.min(wide ? this.width * 0.52 : this.width, 330),
      shapes = [],
      reach = 3;
    const { q, k, beta } = this,
      at = scales([0, 0, size, size], [-reach, reach], [-reach, reach]);
    const product = (q[0] * k[0] + q[1] * k[1]) / Math.SQRT2,
      z = product + beta,
      p = 1 / (1 + Math.exp(-z)),
      keep = z > 0;
    shapes.push(rect(0.5, 0.5, size - 1, size - 1, "empty", { rx: 6 }));
    const dropped = clip(q, beta * Math.SQRT2, reach);
    if (dropped.length)
      shapes.push(
        shape("polygon", {
          points: dropped.map((v) => `${at.x(v[0])},${at.y(v[1])}`).join(" "),
          class: "shade",
        }),
      );
    shapes.push(
      line(at.x(-reach), at.y(0), at.x(reach), at.y(0), "axis"),
      line(at.x(0), at.y(-reach), at.x(0), at.y(reach), "axis"),
    );
    if (dropped.length)
      shapes.push(say(8, size - 10, "keys in the shade are dropped", "drop small"));
    for (const [name, v, label] of [
      ["q", q, "query"],
      ["k", k, "key"],
    ]) {
      shapes.push(
        shape("line", {
          x1: at.x(0),
          y1: at.y(0),
          x2: at.x(v[0]),
          y2: at.y(v[1]),
          class: `arrow ${name}`,
        }),
      );
      shapes.push(shape("circle", { cx: at.x(v[0]), cy: at.y(v[1]), r: 7, class: `tip ${name}` }));
      shapes.push(
        say(
          at.x(v[0]) + (v[0] > 2.2 ? -12 : 12),
          at.y(v[1]) - 9,
          label,
          name === "q" ? "held" : "key",
          v[0] > 2.2 ? "end" : "start",
        ),
      );
      shapes.push(this.handle(name, v, label, at, size, reach));
    }
    const left = wide ? size + 30 : 30,
      top = wide ? 8 : size + 16,
      w = this.width - left - 8,
      h = Math.max(130, Math.min(size - 150, 180));
    const to = scales([left, top, w, h], [-8, 8], [0, 1]);
    shapes.push(
      line(left, top + h, left + w, top + h, "axis"),
      line(to.x(0), top, to.x(0), top + h, "edge"),
    );
    for (const v of [0, 0.5, 1]) shapes.push(say(left - 7, to.y(v) + 4, String(v), "small", "end"));
    shapes.push(
      path(
        Array.from({ length: 129 }, (_, i) => {
          const v = -8 + i / 8;
          return [to.x(v), to.y(1 / (1 + Math.exp(-v)))];
        }),
        "curve",
      ),
    );
    const zx = to.x(bound(z, -8, 8));
    shapes.push(
      line(zx, top + h, zx, to.y(p), "rule"),
      shape("circle", { cx: zx, cy: to.y(p), r: 6, class: "dot" }),
    );
    for (const v of [-8, -4, 4, 8])
      shapes.push(say(to.x(v), top + h + 15, signed(v, 0), "small", "middle"));
    shapes.push(
      say(to.x(0), top + h + 15, "z = 0", "small", "middle"),
      say(left + 6, top + 12, "σ(z)", "small"),
    );
    let y = top + h + 44;
    for (const [name, value, kind] of [
      ["⟨q, k⟩ / √2", signed(product), "ink"],
      ["+ β", signed(beta), "ink"],
      ["= z", signed(z), "strong"],
      ["soft gate σ(z), at α = 1", p.toFixed(3), "strong"],
      ["hard gate, z > 0", keep ? "1: keep" : "0: drop", keep ? "held" : "drop"],
    ]) {
      shapes.push(say(left, y, name), say(left + w, y, value, kind, "end"));
      y += 20;
    }
    this.show(
      Math.max(size, y - 8),
      shapes,
      `A gate in two dimensions: query ${q.map((v) => signed(v, 1))}, key ${k.map((v) => signed(v, 1))}, shift ${signed(beta, 1)}. z is ${signed(z)}, the soft gate ${p.toFixed(3)}, the hard gate ${keep ? "keeps" : "drops"} the token.`,
    );
    this.tell(
      `Drag either arrow. The gate logit is *${signed(z)}*: this query *${keep ? "keeps" : "drops"}* the token with this key. Raising β moves the shade away: fewer drops.`,
    );
  }

  handle(name, v, label, at, size, reach) {
    const hit = shape("circle", {
      cx: at.x(v[0]),
      cy: at.y(v[1]),
      r: 20,
      class: "hit",
      tabindex: 0,
      role: "slider",
      "data-handle": name,
      "aria-label": `${label}: arrow keys move it`,
      "aria-valuenow": v[0].toFixed(1),
      "aria-valuetext": `${signed(v[0], 1)}, ${signed(v[1], 1)}`,
    });
    const put = (x, y) => {
      this[name] = [bound(x, -reach, reach), bound(y, -reach, reach)];
      this.draw();
    };
    hit.addEventListener("pointerdown", (down) => {
      down.preventDefault();
      // The drawing is made anew at every move, so the window is listened to.
      const move = (e) => {
        const box = this.svg.getBoundingClientRect();
        put(
          ((e.clientX - box.left) / size) * 2 * reach - reach,
          reach - ((e.clientY - box.top) / size) * 2 * reach,
        );
      };
      const end = () => {
        removeEventListener("pointermove", move);
        removeEventListener("pointerup", end);
        removeEventListener("pointercancel", end);
      };
      addEventListener("pointermove", move);
      addEventListener("pointerup", end);
      addEventListener("pointercancel", end);
    });
    hit.addEventListener("keydown", (e) => {
      const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[
        e.key
      ];
      if (!by) return;
      e.preventDefault();
      put(v[0] + by[0] / 10, v[1] + by[1] / 10);
      this.svg.querySelector(`[data-handle="${name}"]`).focus();
    });
    return hit;
  }
}

/** The part of the square [-reach, reach]² in which <q, k> + shift <= 0: one cut of a polygon. */
export function clip(q, shift, reach) {
  const corners = [
      [-reach, -reach],
      [reach, -reach],
      [reach, reach],
      [-reach, reach],
    ],
    out = [];
  const value = (v) => q[0] * v[0] + q[1] * v[1] + shift;
  corners.forEach((a, i) => {
    const b = corners[(i + 1) % 4],
      va = value(a),
      vb = value(b);
    if (va <= 0) out.push(a);
    if (va <= 0 !== vb <= 0) {
      const f = va / (va - vb);
      out.push([a[0] + f * (b[0] - a[0]), a[1] + f * (b[1] - a[1])]);
    }
  });
  return out;
}
