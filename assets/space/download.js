// Fetching what the model needs: from this origin alone, checked against its hash, kept for next time.

export const KEPT = "dcp-weights";

/** A download that failed or arrived damaged; the message is one line for the visitor. */
export class DownloadError extends Error {}

/** The bytes of `file` { name, bytes, sha256 } below `base`. `arrived(n)` hears of every n bytes more. */
export async function download(base, file, arrived) {
  const url = new URL(file.name, base).href,
    store = await kept();
  const before = await store?.match(url);
  if (before) {
    const bytes = new Uint8Array(await before.arrayBuffer());
    if (await sound(bytes, file)) {
      arrived(bytes.length);
      return bytes;
    }
    await store.delete(url);
  }
  const bytes = await fetched(url, file, arrived);
  if (!(await sound(bytes, file))) {
    arrived(-bytes.length);
    throw new DownloadError(
      `A part of the model arrived damaged (${file.name}): what came is not what was sent.`,
    );
  }
  // A full or forbidden store costs a download next time and nothing else.
  await store?.put(url, new Response(bytes)).catch(() => {});
  return bytes;
}

/** Drop stored files that this version no longer uses. */
export async function tidy(base, files) {
  const store = await kept(),
    wanted = new Set(files.map((file) => new URL(file.name, base).href));
  for (const request of (await store?.keys()) ?? [])
    if (!wanted.has(request.url)) await store.delete(request);
}

async function kept() {
  try {
    return await caches.open(KEPT);
  } catch {
    return null;
  }
}

async function fetched(url, file, arrived) {
  const bytes = new Uint8Array(file.bytes);
  let at = 0;
  try {
    // What the browser kept of a damaged download must not come back on a retry.
    const response = await fetch(url, { cache: "no-store" });
    if (!response.ok)
      throw new DownloadError(
        `The model is not where it should be: ${file.name} gave status ${response.status}.`,
      );
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      if (at + value.length > bytes.length) {
        at += value.length;
        break;
      }
      bytes.set(value, at);
      at += value.length;
      arrived(value.length);
    }
  } catch (error) {
    arrived(-Math.min(at, bytes.length));
    if (error instanceof DownloadError) throw error;
    throw new DownloadError("The model could not be downloaded: the connection failed.");
  }
  // Short or long: the hash says so.
  return at === bytes.length ? bytes : bytes.subarray(0, Math.min(at, bytes.length) - 1);
}

/** Whether these are the bytes of `file`. Pages without https have no hash function: there the checksum of gzip must do. */
async function sound(bytes, { bytes: length, sha256 }) {
  if (bytes.length !== length) return false;
  if (!globalThis.crypto?.subtle) return true;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (b) => b.toString(16).padStart(2, "0")).join("") === sha256;
}
