// The sparsity dial for the length of the text at hand: a gate shift drops a larger share of a long
// text than of a short one. As dcp/model/dial.py, whose `shift_at` and `share_at` these are; without a
// table of shares the one length that the model was calibrated at counts for all.

/** As numpy.interp: ys at x between rising xs, the ends beyond them. */
function between(x, xs, ys) {
  const j = xs.findLastIndex((at) => at <= x);
  if (j < 0) return ys[0];
  if (j === xs.length - 1) return ys[j];
  return ((ys[j + 1] - ys[j]) / (xs[j + 1] - xs[j])) * (x - xs[j]) + ys[j];
}

/** { shares, shifts } of a text of `tokens` tokens, from what keeps most to what keeps least. */
function settings({ dial, shares }, tokens) {
  if (!shares)
    return { shares: dial.map(([share]) => share), shifts: dial.map(([, shift]) => shift) };
  const at = Math.log(Math.max(tokens, 1)),
    lengths = shares.tokens.map(Math.log),
    found = { shares: [], shifts: [] };
  let most = 0;
  for (const [shift, ...row] of shares.rows.slice().reverse()) {
    most = Math.max(most, between(at, lengths, row));
    found.shares.push(most);
    found.shifts.push(shift);
  }
  return found;
}

/** The smallest and largest share that the model was measured at, of texts as long. */
export function range(spec, tokens) {
  const { shares } = settings(spec, tokens);
  return [shares[0], shares.at(-1)];
}

/** The gate shift that drops the share `sparsity` of a text of `tokens` tokens; NaN out of range. */
export function shiftFor(spec, sparsity, tokens) {
  const { shares, shifts } = settings(spec, tokens);
  if (!(shares[0] <= sparsity && sparsity <= shares.at(-1))) return NaN;
  // Of shifts that drop as much the highest: what lies below it gains nothing.
  const end = shares.indexOf(shares.at(-1)) + 1;
  return between(sparsity, shares.slice(0, end), shifts.slice(0, end));
}

/** The share that a gate shift drops of a text of `tokens` tokens. */
export function shareOf(spec, shift, tokens) {
  const { shares, shifts } = settings(spec, tokens);
  return between(shift, shifts.slice().reverse(), shares.slice().reverse());
}

/** The shares that a hand can choose: between those whose cost was measured. */
export function reach(spec, tokens) {
  const { dial } = spec;
  return [shareOf(spec, dial[0][1], tokens), shareOf(spec, dial.at(-1)[1], tokens)];
}

/** The share nearest to `sparsity` that a hand can choose, to four digits. */
export function nearest(spec, sparsity, tokens) {
  const [low, high] = reach(spec, tokens);
  return Math.min(Math.max(sparsity, Math.ceil(1e4 * low) / 1e4), Math.floor(1e4 * high) / 1e4);
}

/** The length, in tokens, that the dial speaks of: that of the text, as far as it was measured. */
export function lengthOf({ shares, context }, tokens) {
  if (!shares || tokens === null) return context;
  return Math.min(Math.max(tokens, shares.tokens[0]), shares.tokens.at(-1));
}
