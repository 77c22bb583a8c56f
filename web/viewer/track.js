// The track under the scrubber: how many entries all layers drop at each step, the chosen layer's
// share of them in the colour of a drop. Its peaks are named by the token that was read (names.js).

export function paintTrack(view) {
  const { run, state, px, colour, counts, geo } = view,
    { Wd, from, to, starts } = px,
    h = Math.round(geo.trackH * geo.ratio),
    out = view.buffers.track.size(Wd, h),
    end = Math.min(to, run.Q),
    one = layerDrops(view, state.layer),
    height = (n) => (n ? Math.max(1, Math.round((n / counts.most) * h)) : 0);
  for (let t = from; t < end; ) {
    // Several steps of one pixel are as high as the highest of them: no peak is lost.
    const a = starts[t - from];
    let all = 0,
      own = 0;
    for (; t < end && starts[t - from] === a; t++)
      if (counts.drops[t] > all) {
        all = counts.drops[t];
        own = one[t];
      }
    const b = Math.max(a + 1, starts[t - from] - px.gap),
      y0 = h - height(all),
      y1 = h - height(own);
    for (let y = y0; y < h; y++)
      out.fill(y < y1 ? colour.rest : colour.drop, y * Wd + a, y * Wd + Math.min(b, Wd));
  }
  view.buffers.track.show();
}

/** [Q] entries that layer l drops at each step, of the tokens that the filter lets through. */
function layerDrops({ run, shown }, l) {
  const { T, Q, death } = run,
    out = new Int32Array(Q);
  for (let j = 0; j < Q; j++) if (shown[j] && death[l * T + j] < Q) out[death[l * T + j]]++;
  return out;
}

export function drawTrack(view, pen) {
  const { run, state, geo, counts, css } = view,
    { x0, x1, W, track, trackH, narrow } = geo;
  pen.blit(view.buffers.track, x0, track, x1 - x0, trackH, run.running ? 0 : 0.4);
  pen.line(x0, track + trackH + 0.5, x1, track + trackH + 0.5, css.line);
  pen.font(400, 11);
  pen.text(narrow ? "drops" : "drops here", x0 - 9, track + trackH / 2, "right");
  if (counts.most) pen.text(`most ${counts.most}`, W, track + 3, "right");
  pen.font(650);
  pen.text(String(counts.drops[state.step]), W, track + trackH - 5, "right", css.ink);
}
