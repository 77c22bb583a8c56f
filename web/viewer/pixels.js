// Colours as 32-bit pixels, and offscreen pictures painted pixel by pixel.

// Colours are 32-bit pixels, ready for a buffer.

export const parse = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

export const pack = ([r, g, b], a = 255) => ((a << 24) | (b << 16) | (g << 8) | r) >>> 0;

export const between = (a, b, f) => a.map((v, i) => Math.round(v + (b[i] - v) * f));

export const ramp = (a, b) =>
  Uint32Array.from({ length: 256 }, (_, i) => pack(between(a, b, i / 255)));

export const tint = (colour, alpha) =>
  ((colour & 0xffffff) | (Math.round(alpha * 255) << 24)) >>> 0;

/** The tint of a pixel that stands for several tokens: one in a hundred still shows. */
export const share = (colour, part) => tint(colour, 0.15 + 0.85 * part);

/** An offscreen picture, painted pixel by pixel. */
export class Pixels {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.ctx = this.canvas.getContext("2d");
    this.image = null;
  }

  /** The pixels [h, w] of this size: cleared, unless all of them are to be written anyway. */
  size(w, h, clear = true) {
    w = Math.max(1, w);
    h = Math.max(1, h);
    if (!this.image || this.image.width !== w || this.image.height !== h) {
      this.canvas.width = w;
      this.canvas.height = h;
      this.image = this.ctx.createImageData(w, h);
      this.out = new Uint32Array(this.image.data.buffer);
    } else if (clear) this.out.fill(0);
    return this.out;
  }

  show(rows = this.canvas.height) {
    this.ctx.putImageData(this.image, 0, 0, 0, 0, this.canvas.width, rows);
  }
}
