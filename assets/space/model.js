// The Llama family with gates: one decoder loop over a memory, its kernels and its cache.
//
// Tokens are read in chunks; within a layer each token in turn scores the living rows, drops those at
// or below 0, adds its own and attends, so that a chunk says the same as its tokens one by one.
// Method: Anagnostidis et al., arXiv 2305.15805. Knows no text.

import { Cache } from "./cache.js";
import { Memory, room } from "./memory.js";

export const CHUNK = 32;

export class Model {
  /** `spec`: the model's entry of manifest.json; `module`: the compiled kernels, or null. */
  constructor(spec, tensors, module) {
    const s = (this.spec = spec),
      { width: D, head_dim: d, interaction: r } = s;
    this.joint = (s.heads + 2 * s.kv_heads) * d + 2 * r;
    const weights = tensors.reduce((sum, [, size]) => sum + size, 0);
    const widths = {
      x: D,
      h: D,
      joint: this.joint,
      mixed: s.heads * d,
      up: 2 * s.ffn,
      act: s.ffn,
      hidden: D,
    };
    const sizes = {
      logits: CHUNK * s.vocab,
      z: s.context + 4,
      work: s.context + 4,
      cos: (s.context * d) / 2,
      sin: (s.context * d) / 2,
    };
    for (const [name, n] of Object.entries(widths)) sizes[name] = CHUNK * n;
    this.memory = new Memory(module, room([weights, ...Object.values(sizes), ...Cache.sizes(s)]));
    this.impl = this.memory.impl;
    let at = (this.weightsAt = this.memory.take(weights));
    this.at = {};
    for (const [name, size] of tensors) {
      this.at[name] = at;
      at += 4 * size;
    }
    this.work = Object.fromEntries(
      Object.entries(sizes).map(([name, n]) => [name, this.memory.take(n)]),
    );
    this.cache = new Cache(this.memory, s);
    this.#turn();
  }

  /** cos and sin of every position, rounded to float32 where the engine rounds. */
  #turn() {
    const { context, head_dim: d, inverse_frequencies: inverse } = this.spec,
      half = d / 2;
    const cos = this.memory.floats(this.work.cos, context * half),
      sin = this.memory.floats(this.work.sin, context * half);
    for (let p = 0; p < context; p++) {
      for (let i = 0; i < half; i++) {
        const angle = Math.fround(p * inverse[i]);
        cos[p * half + i] = Math.cos(angle);
        sin[p * half + i] = Math.sin(angle);
      }
    }
  }

  /** Read up to CHUNK `ids` at the positions `first` on. Their final hidden states stay in `work.hidden`.

  gated: false reads without pruning. shift: added to every beta. orders: see Cache.judge. */
  read(ids, first, { gated = true, shift = 0, orders = null } = {}) {
    const {
        spec: s,
        at,
        work: w,
        memory: { kernels: k },
      } = this,
      m = ids.length,
      D = s.width,
      last = first + m;
    ids.forEach((id, t) => {
      this.memory.f32.copyWithin(
        (w.x >> 2) + t * D,
        (at.embed >> 2) + id * D,
        (at.embed >> 2) + (id + 1) * D,
      );
    });
    for (let l = 0; l < s.layers; l++) {
      k.norm(w.h, w.x, at[`layers.${l}.attn_norm`], m, D, s.eps);
      k.product(w.joint, w.h, at[`layers.${l}.joint`], m, this.joint, D);
      for (let position = first, t = 0; position < last; position++, t++)
        this.#attend(l, t, position, gated, s.betas[l] + shift, orders);
      k.product(w.h, w.mixed, at[`layers.${l}.out`], m, D, s.heads * s.head_dim);
      k.add(w.x, w.h, m * D);
      k.norm(w.h, w.x, at[`layers.${l}.mlp_norm`], m, D, s.eps);
      k.product(w.up, w.h, at[`layers.${l}.up`], m, 2 * s.ffn, D);
      k.swiglu(w.act, w.up, m, s.ffn);
      k.product(w.h, w.act, at[`layers.${l}.down`], m, D, s.ffn);
      k.add(w.x, w.h, m * D);
    }
    k.norm(w.hidden, w.x, at.norm, m, D, s.eps);
  }

  #attend(l, t, position, gated, beta, orders) {
    const {
        spec: s,
        at,
        work: w,
        cache,
        memory: { kernels: k, f32 },
      } = this,
      d = s.head_dim,
      r = s.interaction;
    const q = w.joint + 4 * t * this.joint,
      key = q + 4 * s.heads * d,
      gate = key + 4 * cache.entry,
      half = 2 * d * position;
    if (s.qk_norm) {
      k.norm(q, q, at[`layers.${l}.q_norm`], s.heads, d, s.eps);
      k.norm(key, key, at[`layers.${l}.k_norm`], s.kv_heads, d, s.eps);
    }
    // Queries and keys lie side by side.
    k.rotate(q, w.cos + half, w.sin + half, s.heads + s.kv_heads, d);
    if (gated)
      k.gates(
        w.z,
        gate,
        cache.tables[l],
        cache.count[l],
        cache.size,
        cache.gateAt,
        r,
        r ** -0.5,
        beta,
      );
    if (gated || orders) cache.judge(l, position, gated ? w.z : 0, orders);
    const row = cache.append(l, position);
    f32.copyWithin(row, key >> 2, (key >> 2) + cache.entry);
    f32.copyWithin(row + cache.gateAt, (gate >> 2) + r, (gate >> 2) + 2 * r);
    k.attend(
      w.mixed + 4 * t * s.heads * d,
      q,
      cache.tables[l],
      cache.count[l],
      cache.size,
      s.heads,
      s.kv_heads,
      d,
      w.work,
    );
  }

  /** Logits [m, V] of the m hidden states from the `from`-th of the last chunk on: a view, valid until the next call. */
  logits(from, m) {
    const { spec: s, work: w, at } = this;
    this.memory.kernels.product(
      w.logits,
      w.hidden + 4 * from * s.width,
      s.tied ? at.embed : at.unembed,
      m,
      s.vocab,
      s.width,
    );
    return this.memory.floats(w.logits, m * s.vocab);
  }
}
