// The three planes of dcp/space/pack.py as floats again: bit by bit what was packed.

/** A gzip stream, given as its parts, unpacked. */
export async function unzip(parts) {
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Write the tensors, one after another, to `out` (a Uint32Array over floats).

tensors: [name, size] in order; wide: the names that have 16 more bits in `tails`. */
export function assemble(out, { tensors, wide }, { exponents, fractions, tails }) {
  for (let i = 0; i < exponents.length; i++) {
    const fraction = fractions[i];
    out[i] = ((fraction & 0x80) << 24) | (exponents[i] << 23) | ((fraction & 0x7f) << 16);
  }
  let at = 0,
    tail = 0;
  for (const [name, size] of tensors) {
    if (wide.includes(name))
      for (let i = at; i < at + size; i++, tail += 2)
        out[i] |= tails[tail] | (tails[tail + 1] << 8);
    at += size;
  }
}
