// A trace as the bytes of one safetensors file, which `dcp stats`, `dcp figure` and `dcp view` read.

const FORMAT = 1;

/** The `meta` of a finished run (SPEC section 2). */
export function metaOf(trace, { request, spec, impl, version, browser }) {
  const { counters: c } = trace,
    entry = 2 * spec.kv_heads * spec.head_dim * 4;
  return {
    format: FORMAT,
    text: trace.text,
    prompt_tokens: trace.prompt,
    n_queries: trace.n_queries,
    model: spec.name,
    weights_sha256: spec.sha256,
    gate_shift: request.gateShift,
    seed: request.seed,
    sampling: {
      temperature: request.temperature,
      top_k: request.topK ?? 0,
      top_p: request.topP ?? 1,
    },
    dtype: "float32",
    device: "browser",
    impl,
    versions: { dcp: version, browser },
    memory: {
      kv_bytes_live: c.live,
      kv_bytes_held: c.held,
      kv_bytes_peak: c.peak,
      kv_bytes_dense: c.dense,
      row_bytes: entry + 4 * spec.interaction,
      kv_bytes_per_entry: entry,
    },
    context: spec.context,
    offsets: "code points",
    truncated: null,
    interrupted: trace.interrupted,
    prompt_seconds: trace.promptSeconds,
    time_to_first_token_s: c.first,
    tokens_per_second: c.mean,
  };
}

/** `arrays`: name -> [shape, Int32Array or Float32Array]; `meta`: JSON text. A Uint8Array. */
export function safetensors(arrays, meta) {
  const header = { __metadata__: { meta } };
  let end = 0;
  for (const [name, [shape, array]] of Object.entries(arrays)) {
    header[name] = {
      dtype: array instanceof Int32Array ? "I32" : "F32",
      shape,
      data_offsets: [end, (end += array.byteLength)],
    };
  }
  const text = new TextEncoder().encode(JSON.stringify(header)),
    size = Math.ceil(text.length / 8) * 8;
  const out = new Uint8Array(8 + size + end).fill(0x20, 8 + text.length, 8 + size);
  new DataView(out.buffer).setBigUint64(0, BigInt(size), true);
  out.set(text, 8);
  for (const [name, [, array]] of Object.entries(arrays)) {
    out.set(
      new Uint8Array(array.buffer, array.byteOffset, array.byteLength),
      8 + size + header[name].data_offsets[0],
    );
  }
  return out;
}

/** The file of a trace: `traceJson` is its meta as JSON, in which the seed stands as a plain integer. */
export function traceFile(trace, meta) {
  const T = trace.token_ids.length,
    L = trace.layers;
  return safetensors(
    {
      token_ids: [[T], trace.token_ids],
      offsets: [[T, 2], trace.offsets],
      death: [[L, T], trace.death],
      margin: [[L, T], trace.margin],
      logprob: [[T], trace.logprob],
      step_seconds: [[T], trace.step_seconds],
    },
    json(meta),
  );
}

/** JSON with the BigInt `seed` written as an integer: it may be larger than a double can count. */
function json(meta) {
  const { seed, ...rest } = meta;
  return `${JSON.stringify(rest).slice(0, -1)},"seed":${seed}}`;
}
