// Lifelines by age: x = step, y = age on a log scale.

import { pack, parse, share } from "./pixels.js";
import { clamp } from "./values.js";

/** x = step, y = age on a log scale; tint = share of that age range held at that step.

A row is a range of ages, so token j is in it for a range of steps: two marks on a line, then a sum. */
export function paintAges(view, bars, marks, h) {
  const { run, state, px, colour, shown, css } = view,
    { T, Q, death } = run,
    { Wd, from, to, starts } = px,
    l = state.layer,
    end = Math.min(to, Q);
  const top = Math.log2(1 + Math.max(1, Q)),
    row = (age) => clamp(Math.round((1 - Math.log2(1 + age) / top) * h), 0, h);
  const rows = Int32Array.from({ length: Q + 2 }, (_, age) => row(age));
  const held = new Int32Array(Q + 1),
    all = new Int32Array(Q + 1),
    line = new Uint32Array(Wd),
    ink = pack(parse(css.held)),
    aging = state.colour === "age";
  for (let young = 0; young < Q; ) {
    let old = young + 1;
    while (old < Q && rows[old] === rows[young]) old++;
    held.fill(0);
    all.fill(0);
    for (let j = 0; j < Q - young; j++) {
      if (!shown[j]) continue;
      const a = j + young,
        b = Math.min(Q, j + old),
        d = Math.min(b, death[l * T + j]);
      all[a]++;
      all[b]--;
      if (d > a) {
        held[a]++;
        held[d]--;
      }
    }
    const c = aging
      ? colour.age[Math.min(255, (255 * Math.log1p(young)) / Math.log1p(Q)) | 0]
      : ink;
    line.fill(0);
    for (let t = 0, n = 0, of = 0, x = -1, sumN = 0, sumOf = 0; t < end; t++) {
      n += held[t];
      of += all[t];
      if (t < from) continue;
      if (starts[t - from] !== x) {
        x = starts[t - from];
        sumN = sumOf = 0;
      }
      sumN += n;
      sumOf += of;
      if (sumN) {
        const last = Math.max(x + 1, starts[t - from + 1]);
        for (let i = x; i < last && i < Wd; i++) line[i] = share(c, sumN / sumOf);
      }
    }
    for (let y = Math.min(rows[young] - 1, rows[old]), y1 = rows[young]; y < y1; y++)
      if (y >= 0) bars.set(line, y * Wd);
    young = old;
  }
  for (let j = 0; j < Q; j++) {
    const d = death[l * T + j];
    if (d >= end || d < from || !shown[j]) continue;
    const a = starts[d - from],
      b = Math.max(a + 1, starts[d - from + 1] - px.gap),
      y = Math.max(0, rows[d - j] - 1);
    for (let k = 0; k < Math.round(view.geo.ratio) && y >= k; k++)
      for (let x = a; x < b && x < Wd; x++) marks[(y - k) * Wd + x] = colour.drop;
  }
}

export function drawAges(view, pen) {
  const { run, state, geo, css, buffers } = view,
    { Q } = run,
    { x0, x1, life, lifeH, narrow } = geo,
    w = x1 - x0,
    l = state.layer;
  pen.font();
  pen.text(
    narrow
      ? `layer ${l}: ages held`
      : `layer ${l}: how old are the tokens it holds, step by step (log scale; bands are windows, edges are resets)`,
    x0,
    life - 13,
  );
  pen.blit(buffers.bars, x0, life, w, lifeH, run.running ? 0 : 0.2);
  pen.blit(buffers.marks, x0, life, w, lifeH, 0);
  pen.font(400, 11);
  for (let age = 0; age < Q; age = age ? age * 10 : 1) {
    const y = life + lifeH * (1 - Math.log2(1 + age) / Math.log2(1 + Math.max(1, Q)));
    if (y > life + 4)
      pen.text(narrow ? String(age) : `age ${age}`, x0 - 9, Math.min(y, life + lifeH - 4), "right");
  }
  pen.line(x0, life + lifeH + 0.5, x1, life + lifeH + 0.5, css.line);
}
