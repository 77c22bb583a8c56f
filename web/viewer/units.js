// The text of a run cut into units that fade and are struck as one. Knows no page.

/** The text as units of a grain, "token", "word" or "sentence": a unit fades and is struck as one.

A unit is { gap, start, end, parts, key }: its text is [start, end), the blank before it [gap, start);
a part is a run of text with its tokens first..last. */
export function cut(run, grain) {
  const words = cutWords(run),
    named = (gap, start, end, parts) => ({
      gap,
      start,
      end,
      parts,
      key: `${gap},${start},${end},${parts.map((q) => `${q.first}-${q.last}`)}`,
    });
  if (grain === "token")
    return words.flatMap(({ gap, parts }) =>
      parts.map((q, i) => named(i ? parts[i - 1].end : gap, q.start, q.end, [q])),
    );
  if (grain === "word")
    return words.map(({ gap, start, end, parts }) => named(gap, start, end, parts));
  const out = [];
  for (let from = 0, u = 0; u < words.length; u++) {
    const { end } = words[u],
      next = words[u + 1],
      gap = next ? run.text.slice(end, next.start) : "\n";
    const stop = /[.!?…。！？]["'”’)\]]*$/u.test(
      run.text.slice(Math.max(words[from].start, end - 4), end),
    );
    const seam = next && words[u].parts[0].first < run.prompt && next.parts[0].first >= run.prompt;
    if (!/\n/.test(gap) && !(stop && /\s/.test(gap)) && !seam) continue;
    const inside = words.slice(from, u + 1);
    out.push(
      named(
        inside[0].gap,
        inside[0].start,
        end,
        inside.flatMap((w) => w.parts),
      ),
    );
    from = u + 1;
  }
  return out;
}

/** Tagged words where there are any, runs of non-space elsewhere. */
function cutWords(run) {
  const { text, spans, T, words, wordPos } = run,
    units = [];
  let at = 0,
    token = 0,
    gap = 0;
  const unit = (start, end) => {
    while (token < T - 1 && spans[2 * token + 1] <= start) token++;
    const parts = [];
    for (let j = token; j < T && spans[2 * j] < end; ) {
      // Tokens that share a character, whole or with a blank before it, are one part.
      let k = j,
        last = spans[2 * j + 1];
      while (k + 1 < T && spans[2 * k + 2] < last && spans[2 * k + 2] < end) {
        k++;
        last = Math.max(last, spans[2 * k + 1]);
      }
      const a = Math.max(start, spans[2 * j]),
        b = Math.min(end, last);
      if (b > a) parts.push({ start: a, end: b, first: j, last: k });
      j = k + 1;
    }
    if (!parts.length) return;
    units.push({ gap, start, end, parts });
    gap = end;
  };
  const loose = (start, end) => {
    for (const m of text.slice(start, end).matchAll(/\S+/gu))
      unit(start + m.index, start + m.index + m[0].length);
  };
  for (let w = 0; w < wordPos.length; w++) {
    if (words[4 * w] < at) continue;
    loose(at, words[4 * w]);
    unit(words[4 * w], words[4 * w + 1]);
    at = words[4 * w + 1];
  }
  loose(at, text.length);
  return units;
}
