// The arithmetic of one decoder step on floats in linear memory, for WebAssembly with SIMD.
//
// kernels.js says the same in plain JavaScript; both are called with byte addresses. A product or a
// sum is taken in one fixed order whatever the number of tokens, so reading a text in chunks and
// reading it token by token give the same bits. No library, no allocation, no state.
//
// Built by build.py, which says how; vectors are four floats wide (`f4`).

typedef float f4 __attribute__((vector_size(16), aligned(4)));
typedef int i4 __attribute__((vector_size(16)));

#define EXPORT(name) __attribute__((export_name(#name))) void name
#define INLINE static inline __attribute__((always_inline))

enum { PAGE_BITS = 4, PAGE_MASK = 15 };  // rows of the cache lie in pages of 16: see cache.js

INLINE f4 load(const float *p) { return *(const f4 *)p; }
INLINE void store(float *p, f4 v) { *(f4 *)p = v; }
INLINE f4 all(float v) { return (f4){v, v, v, v}; }
INLINE float sum(f4 v) { return (v[0] + v[1]) + (v[2] + v[3]); }

INLINE float dot(const float *a, const float *b, int n) {
  f4 s = all(0);
  for (int i = 0; i < n; i += 4) s += load(a + i) * load(b + i);
  return sum(s);
}

// e^x, within two units in the last place for x <= 0 and wherever the result is a normal float
// (Cephes' expf: range reduction by ln 2 in two parts, a polynomial of degree five).
INLINE f4 exp4(f4 x) {
  x = __builtin_wasm_max_f32x4(__builtin_wasm_min_f32x4(x, all(88.0f)), all(-87.3f));
  f4 n = __builtin_wasm_floor_f32x4(x * 1.44269504088896341f + 0.5f);
  x = x - n * 0.693359375f - n * -2.12194440e-4f;
  f4 y = all(1.9875691500e-4f);
  y = y * x + 1.3981999507e-3f;
  y = y * x + 8.3334519073e-3f;
  y = y * x + 4.1665795894e-2f;
  y = y * x + 1.6666665459e-1f;
  y = y * x + 5.0000001201e-1f;
  y = y * x * x + x + 1.0f;
  i4 power = (__builtin_convertvector(n, i4) + 127) << 23;
  return y * (f4)power;
}

// TOKENS x OUTPUTS dot products at once, each with one accumulator of its own.
#define TILE(TOKENS, OUTPUTS)                                                              \
  INLINE void tile_##TOKENS##_##OUTPUTS(float *y, const float *x, const float *w, int n, int k) { \
    f4 s[TOKENS][OUTPUTS];                                                                 \
    for (int t = 0; t < TOKENS; t++)                                                       \
      for (int o = 0; o < OUTPUTS; o++) s[t][o] = all(0);                                  \
    for (int i = 0; i < k; i += 4)                                                         \
      for (int o = 0; o < OUTPUTS; o++) {                                                  \
        f4 v = load(w + o * k + i);                                                        \
        for (int t = 0; t < TOKENS; t++) s[t][o] += load(x + t * k + i) * v;               \
      }                                                                                    \
    for (int t = 0; t < TOKENS; t++)                                                       \
      for (int o = 0; o < OUTPUTS; o++) y[t * n + o] = sum(s[t][o]);                       \
  }

TILE(1, 8)
TILE(1, 1)
TILE(4, 2)

// y[m, n] = x[m, k] times w[n, k] transposed. k is a multiple of 4.
EXPORT(product)(float *y, const float *x, const float *w, int m, int n, int k) {
  int t = 0;
  // Weights in the outer loop: a pair of rows is read once for all tokens of a chunk.
  for (int o = 0; o + 2 <= n && m >= 4; o += 2)
    for (t = 0; t + 4 <= m; t += 4) tile_4_2(y + t * n + o, x + t * k, w + o * k, n, k);
  if (m >= 4 && n % 2)
    for (int u = 0; u < t; u++) tile_1_1(y + u * n + n - 1, x + u * k, w + (n - 1) * k, n, k);
  for (; t < m; t++) {
    int o = 0;
    for (; o + 8 <= n; o += 8) tile_1_8(y + t * n + o, x + t * k, w + o * k, n, k);
    for (; o < n; o++) tile_1_1(y + t * n + o, x + t * k, w + o * k, n, k);
  }
}

// y[m, n] = x / sqrt(mean(x^2) + eps) * w[n], a row at a time. y may be x.
EXPORT(norm)(float *y, const float *x, const float *w, int m, int n, float eps) {
  for (int t = 0; t < m; t++, x += n, y += n) {
    f4 scale = all(1.0f / __builtin_sqrtf(dot(x, x, n) / n + eps));
    for (int i = 0; i < n; i += 4) store(y + i, load(x + i) * scale * load(w + i));
  }
}

// Turn the pairs (i, i + d/2) of x[heads, d] by the angles of one position, cos and sin [d/2].
EXPORT(rotate)(float *x, const float *cos, const float *sin, int heads, int d) {
  for (int h = 0; h < heads; h++, x += d)
    for (int i = 0; i < d / 2; i += 4) {
      f4 a = load(x + i), b = load(x + i + d / 2), c = load(cos + i), s = load(sin + i);
      store(x + i, a * c - b * s);
      store(x + i + d / 2, b * c + a * s);
    }
}

EXPORT(add)(float *x, const float *y, int n) {
  for (int i = 0; i < n; i += 4) store(x + i, load(x + i) + load(y + i));
}

// y[m, f] = silu(gate) * up, of rows [gate | up] [m, 2 f].
EXPORT(swiglu)(float *y, const float *x, int m, int f) {
  for (int t = 0; t < m; t++, x += 2 * f, y += f)
    for (int i = 0; i < f; i += 4) {
      f4 g = load(x + i);
      store(y + i, g / (1.0f + exp4(-g)) * load(x + f + i));
    }
}

// The row of the cache with this number; `size` floats a row, `table` the addresses of its pages.
INLINE const float *row(float *const *table, int number, int size) {
  return table[number >> PAGE_BITS] + (number & PAGE_MASK) * size;
}

// Gate logits z[count] = <q, k_int> * scale + beta; k_int [r] lies `at` floats into each row.
EXPORT(gates)(float *z, const float *q, float *const *table, int count, int size, int at, int r,
              float scale, float beta) {
  for (int i = 0; i < count; i++) z[i] = dot(q, row(table, i, size) + at, r) * scale + beta;
}

// out[heads, d] = softmax(<q, k> / sqrt(d)) v over all rows; k and v [kv_heads, d] begin each row.
// `work` holds one float a row, in whole vectors.
EXPORT(attend)(float *out, const float *q, float *const *table, int count, int size, int heads,
               int kv_heads, int d, float *work) {
  float scale = 1.0f / __builtin_sqrtf((float)d);
  for (int h = 0; h < heads; h++, q += d, out += d) {
    int at = h / (heads / kv_heads) * d;
    float top = -__builtin_inff();
    for (int i = 0; i < count; i++) {
      work[i] = dot(q, row(table, i, size) + at, d) * scale;
      if (work[i] > top) top = work[i];
    }
    for (int i = count; i & 3; i++) work[i] = -__builtin_inff();
    f4 total = all(0);
    for (int i = 0; i < count; i += 4) {
      f4 e = exp4(load(work + i) - top);
      // What lies past the last row counts for nothing.
      for (int lane = 0; lane < 4; lane++)
        if (i + lane >= count) e[lane] = 0;
      store(work + i, e);
      total += e;
    }
    for (int i = 0; i < d; i += 4) store(out + i, all(0));
    float whole = 1.0f / sum(total);
    for (int i = 0; i < count; i++) {
      const float *v = row(table, i, size) + kv_heads * d + at;
      f4 weight = all(work[i] * whole);
      for (int j = 0; j < d; j += 4) store(out + j, load(out + j) + weight * load(v + j));
    }
  }
}
