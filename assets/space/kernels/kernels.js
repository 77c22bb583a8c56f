// The arithmetic of kernels.c in plain JavaScript: the floor for browsers without WebAssembly SIMD.
//
// Called like the compiled module, with byte addresses into one memory. Sums are taken in double
// precision and rounded once, so it is the slower and the more exact of the two.

const PAGE_BITS = 4,
  PAGE_MASK = 15;

/** The functions of kernels.c over `buffer`, an ArrayBuffer. */
export function plainKernels(buffer) {
  const f = new Float32Array(buffer),
    u = new Uint32Array(buffer);

  function dot(a, b, n) {
    let s = 0,
      t = 0;
    for (let i = 0; i < n; i += 2) {
      s += f[a + i] * f[b + i];
      t += f[a + i + 1] * f[b + i + 1];
    }
    return s + t;
  }

  const row = (table, number, size) =>
    (u[table + (number >> PAGE_BITS)] >> 2) + (number & PAGE_MASK) * size;

  return {
    product(y, x, w, m, n, k) {
      y >>= 2;
      x >>= 2;
      w >>= 2;
      for (let o = 0; o < n; o++)
        for (let t = 0; t < m; t++) f[y + t * n + o] = dot(x + t * k, w + o * k, k);
    },

    norm(y, x, w, m, n, eps) {
      y >>= 2;
      x >>= 2;
      w >>= 2;
      for (let t = 0; t < m; t++, x += n, y += n) {
        const scale = 1 / Math.sqrt(dot(x, x, n) / n + eps);
        for (let i = 0; i < n; i++) f[y + i] = f[x + i] * scale * f[w + i];
      }
    },

    rotate(x, cos, sin, heads, d) {
      x >>= 2;
      cos >>= 2;
      sin >>= 2;
      const half = d >> 1;
      for (let h = 0; h < heads; h++, x += d) {
        for (let i = 0; i < half; i++) {
          const a = f[x + i],
            b = f[x + i + half];
          f[x + i] = a * f[cos + i] - b * f[sin + i];
          f[x + i + half] = b * f[cos + i] + a * f[sin + i];
        }
      }
    },

    add(x, y, n) {
      x >>= 2;
      y >>= 2;
      for (let i = 0; i < n; i++) f[x + i] += f[y + i];
    },

    swiglu(y, x, m, width) {
      y >>= 2;
      x >>= 2;
      for (let t = 0; t < m; t++, x += 2 * width, y += width) {
        for (let i = 0; i < width; i++) {
          const g = f[x + i];
          f[y + i] = (g / (1 + Math.exp(-g))) * f[x + width + i];
        }
      }
    },

    gates(z, q, table, count, size, at, r, scale, beta) {
      z >>= 2;
      q >>= 2;
      table >>= 2;
      for (let i = 0; i < count; i++) f[z + i] = dot(q, row(table, i, size) + at, r) * scale + beta;
    },

    attend(out, q, table, count, size, heads, kvHeads, d, work) {
      out >>= 2;
      q >>= 2;
      table >>= 2;
      work >>= 2;
      const scale = 1 / Math.sqrt(d),
        sums = new Float64Array(d);
      for (let h = 0; h < heads; h++, q += d, out += d) {
        const at = Math.floor(h / (heads / kvHeads)) * d;
        let top = -Infinity,
          total = 0;
        for (let i = 0; i < count; i++)
          top = Math.max(top, (f[work + i] = dot(q, row(table, i, size) + at, d) * scale));
        sums.fill(0);
        for (let i = 0; i < count; i++) {
          const weight = Math.exp(f[work + i] - top),
            v = row(table, i, size) + kvHeads * d + at;
          total += weight;
          for (let j = 0; j < d; j++) sums[j] += weight * f[v + j];
        }
        for (let j = 0; j < d; j++) f[out + j] = sums[j] / total;
      }
    },
  };
}
