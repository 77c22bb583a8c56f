// The next token, drawn as dcp/engine/sampling.py draws it: same seed, same uniforms, same tokens.
//
// The uniform of (seed, position) comes from a counter: Philox 4x32-10 (Salmon et al., Parallel Random
// Numbers: As Easy as 1, 2, 3, SC 2011). Tokens by inverse CDF over the vocabulary in float32.

const MASK = 0xffffffffn;

/** A number in [0, 1), a multiple of 2^-24. `seed`: a BigInt below 2^63. */
export function uniform(seed, position, row = 0) {
  let [c0, c1, c2, c3] = [BigInt(position), BigInt(row), 0n, 0n],
    k0 = seed & MASK,
    k1 = seed >> 32n;
  for (let i = 0; i < 10; i++) {
    const a = c0 * 0xd2511f53n,
      b = c2 * 0xcd9e8d57n;
    [c0, c1, c2, c3] = [(b >> 32n) ^ c1 ^ k0, b & MASK, (a >> 32n) ^ c3 ^ k1, a & MASK];
    k0 = (k0 + 0x9e3779b9n) & MASK;
    k1 = (k1 + 0xbb67ae85n) & MASK;
  }
  return Number(c0 >> 8n) * 2 ** -24;
}

/** Natural log of the model's own probability of `token`, before temperature. Never above 0. */
export function logProbability(logits, token) {
  let top = -Infinity,
    sum = 0;
  for (const v of logits) if (v > top) top = v;
  for (const v of logits) sum += Math.exp(v - top);
  return Math.min(0, logits[token] - top - Math.log(sum));
}

/** One token of `logits` [V] by the uniform `u`.

Temperature 0 takes the largest logit, the lowest id among equals. Otherwise temperature, then the
topK largest (0: all), then the fewest of those that hold topP of the probability. */
export function draw(logits, { temperature, topK = 0, topP = 1 }, u) {
  let best = 0;
  logits.forEach((v, i) => {
    if (v > logits[best]) best = i;
  });
  if (temperature === 0) return best;
  const weights = Float32Array.from(logits, (v) =>
    Math.exp(Math.fround(Math.fround(v - logits[best]) / temperature)),
  );
  if (topK || topP < 1) filter(weights, topK, topP);
  // Sums run in double precision and are rounded to float32 one by one, as torch does.
  const cdf = new Float32Array(weights.length);
  let sum = 0;
  weights.forEach((v, i) => {
    cdf[i] = sum += v;
  });
  const whole = cdf[cdf.length - 1],
    target = Math.fround(Math.fround(u) * whole);
  // u * whole can round up to the whole itself: then the last token that carries weight.
  const drawn = cdf.findIndex((v) => v > target);
  return drawn < 0 ? cdf.indexOf(whole) : drawn;
}

/** Set to 0 what top-k and top-p leave out. */
function filter(weights, topK, topP) {
  const order = Uint32Array.from(weights, (_, i) => i).sort(
    (a, b) => weights[b] - weights[a] || a - b,
  );
  const kept = topK ? Math.min(topK, order.length) : order.length;
  let whole = 0,
    before = 0,
    last = 0;
  for (let i = 0; i < kept; i++) whole += weights[order[i]];
  for (; last < kept && (last === 0 || topP >= 1 || before < topP * whole); last++)
    before += weights[order[last]];
  for (let i = last; i < order.length; i++) weights[order[i]] = 0;
}
