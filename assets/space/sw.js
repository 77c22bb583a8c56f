// Keeps the page for the next visit and for no network. Filled in by dcp/space/static.py.
//
// All files but index.html have their version in their address, so a kept one is never stale.

const VERSION = "dcp-{{version}}";
const SHELL = ["{{shell}}"];
const KEPT = "dcp-weights";

addEventListener("install", (event) => {
  skipWaiting();
  event.waitUntil(caches.open(VERSION).then((store) => store.addAll(SHELL)));
});

addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys())
        if (name.startsWith("dcp-") && name !== VERSION && name !== KEPT) await caches.delete(name);
      await clients.claim();
    })(),
  );
});

addEventListener("fetch", (event) => {
  const { request } = event,
    url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  // Weights are kept by the page itself, once it has checked them.
  if (url.pathname.includes("/weights/")) return;
  event.respondWith(request.mode === "navigate" ? fresh(request) : kept(request));
});

async function fresh(request) {
  try {
    return await fetch(request);
  } catch (error) {
    const page = await caches.match("./", { ignoreSearch: true });
    if (page) return page;
    throw error;
  }
}

async function kept(request) {
  return (await caches.match(request, { ignoreSearch: true })) ?? fetch(request);
}
