// What a run is, as the fragment of the page's address: #text=…&seed=…&new=…&temperature=…&sparsity=…

/** The request that a fragment asks for: { text, seed, newTokens, temperature, sparsity }, each null where it says nothing. */
export function read(hash) {
  const found = new URLSearchParams(hash.replace(/^#/, "")),
    number = (key) => (found.has(key) ? Number(found.get(key) || NaN) : null);
  const seed = found.get("seed");
  return {
    text: found.get("text"),
    newTokens: number("new"),
    temperature: number("temperature"),
    sparsity: number("sparsity"),
    seed: seed === null ? null : /^\d{1,20}$/.test(seed) ? BigInt(seed) : -1n,
  };
}

export function write({ text, seed, newTokens, temperature, sparsity }) {
  const out = new URLSearchParams({ text, seed: String(seed), new: newTokens, temperature });
  if (sparsity !== null) out.set("sparsity", sparsity);
  return `#${out}`;
}

/** Put a fragment into the address bar: ours, and that of the hub when it shows us in a frame. */
export function show(hash) {
  history.replaceState(null, "", hash);
  if (window.parent !== window) window.parent.postMessage({ hash }, "https://huggingface.co");
}
