// The keys and values that live: pages of 16 rows from one pool, shared by all layers.
//
// A row is k [H_kv d], v [H_kv d], k_int [r], the token's position and its smallest gate logit so
// far. The rows of a layer are always its first `count`: a dropped row is overwritten by the last
// one, and a page that empties goes back to the pool. The order of rows is free.

export const ALIVE = 2147483647;
export const GATE = -1;
const PAGE_ROWS = 16;

export class Cache {
  constructor(memory, { layers, kv_heads, head_dim, interaction, context }) {
    this.memory = memory;
    this.layers = layers;
    this.entry = 2 * kv_heads * head_dim;
    this.gateAt = this.entry;
    this.positionAt = this.entry + interaction;
    this.marginAt = this.positionAt + 1;
    this.size = this.marginAt + 1;
    const perLayer = Math.ceil(context / PAGE_ROWS);
    this.pages = memory.take(layers * perLayer * PAGE_ROWS * this.size);
    this.tables = Array.from({ length: layers }, () => memory.take(perLayer));
    this.tableBytes = 4 * layers * perLayer;
    this.total = layers * perLayer;
    this.context = context;
    this.clear();
  }

  /** What the constructor takes from the memory, each piece. */
  static sizes({ layers, kv_heads, head_dim, interaction, context }) {
    const perLayer = Math.ceil(context / PAGE_ROWS);
    return [
      layers * perLayer * PAGE_ROWS * (2 * kv_heads * head_dim + interaction + 2),
      ...Array(layers).fill(perLayer),
    ];
  }

  /** Forget everything. `tokens`: how many the next run can reach. */
  clear(tokens = this.context) {
    this.count = new Int32Array(this.layers);
    // The page given back last is taken first: what memory was touched is used again.
    this.free = Array.from(
      { length: this.total },
      (_, i) => this.pages + 4 * i * PAGE_ROWS * this.size,
    ).reverse();
    this.used = this.peakPages = 0;
    this.tokens = tokens;
    this.death = new Int32Array(this.layers * tokens).fill(ALIVE);
    this.margin = new Float32Array(this.layers * tokens).fill(NaN);
  }

  /** Index into f32 and i32 of a row of a layer. */
  row(layer, number) {
    return (
      (this.memory.u32[(this.tables[layer] >> 2) + (number >> 4)] >> 2) + (number & 15) * this.size
    );
  }

  /** Index of a new row for the token at `position`; its keys and values are the caller's to write. */
  append(layer, position) {
    const number = this.count[layer]++;
    if (number % PAGE_ROWS === 0) {
      this.memory.u32[(this.tables[layer] >> 2) + (number >> 4)] = this.free.pop();
      this.peakPages = Math.max(this.peakPages, ++this.used);
    }
    const at = this.row(layer, number);
    this.memory.i32[at + this.positionAt] = position;
    this.memory.f32[at + this.marginAt] = NaN;
    return at;
  }

  /** The query at `step` has given the rows of a layer the gate logits at address `z`: drop those at or below 0.

  `orders` [L, T], if any, decides in place of a gate: ALIVE, a step, or GATE where the gate decides.
  With `z` 0 no gate speaks. */
  judge(layer, step, z, orders) {
    const { f32, i32 } = this.memory;
    // From the last to the first: what moves into a hole has been judged already.
    for (let i = this.count[layer] - 1; i >= 0; i--) {
      const at = this.row(layer, i),
        position = i32[at + this.positionAt],
        order = orders ? orders[layer * this.tokens + position] : GATE;
      let dies = order <= step;
      if (order === GATE) {
        if (!z) continue;
        const logit = f32[(z >> 2) + i];
        if (!(f32[at + this.marginAt] <= logit)) f32[at + this.marginAt] = logit;
        dies = logit <= 0;
      }
      if (!dies) continue;
      this.death[layer * this.tokens + position] = step;
      this.margin[layer * this.tokens + position] = f32[at + this.marginAt];
      this.#remove(layer, i, at);
    }
  }

  #remove(layer, number, at) {
    const last = --this.count[layer],
      from = this.row(layer, last);
    if (number !== last) this.memory.f32.copyWithin(at, from, from + this.size);
    if (last % PAGE_ROWS === 0) {
      this.free.push(this.memory.u32[(this.tables[layer] >> 2) + (last >> 4)]);
      this.used--;
    }
  }

  /** The smallest logits of the living, into `margin`. */
  lives() {
    const { f32, i32 } = this.memory;
    for (let layer = 0; layer < this.layers; layer++) {
      for (let i = 0; i < this.count[layer]; i++) {
        const at = this.row(layer, i);
        this.margin[layer * this.tokens + i32[at + this.positionAt]] = f32[at + this.marginAt];
      }
    }
    return { death: this.death, margin: this.margin };
  }

  /** Bytes: keys and values that can be seen; pages and tables kept for them; the most ever kept. */
  bytes() {
    const page = 4 * PAGE_ROWS * this.size;
    return {
      live: 4 * this.entry * this.count.reduce((a, b) => a + b, 0),
      held: this.used * page + this.tableBytes,
      peak: this.peakPages * page + this.tableBytes,
    };
  }
}
