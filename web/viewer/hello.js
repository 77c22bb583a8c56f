// What the browser brings to a page of the app: the run that a link or a reload asks for, and whether
// its reader has been shown around. It keeps both: the run for this tab, the tour for this browser.

const RUN = "dcp run",
  TOUR = "dcp tour";
/** What a link may name; the page checks the values. */
const KEYS = [
  ...["text", "model", "new", "temperature", "seed", "shift"],
  ...["policy", "budget", "settings", "instruction", "vocabulary", "kv_dtype"],
  ...["layer", "step", "token"],
];
let said = false;

/** Say it once a page; and keep what `data`, the payload, says is worth keeping. */
export function hello(data, tell) {
  if (!said) {
    said = true;
    tell({ toured: !!stored(() => localStorage.getItem(TOUR)), link: asked() });
  }
  if (data?.toured) stored(() => localStorage.setItem(TOUR, "1"));
  if (data?.link?.text)
    stored(() => sessionStorage.setItem(RUN, new URLSearchParams(data.link).toString()));
  else if (data && !data.running && !data.dimmed) stored(() => sessionStorage.removeItem(RUN));
}

/** A browser may keep nothing: links work, a reload begins anew. */
function stored(act) {
  try {
    return act();
  } catch {
    return null;
  }
}

function asked() {
  const link = named(location.hash.slice(1));
  if (link) return link;
  const [way] = performance.getEntriesByType("navigation");
  return way?.type === "reload" ? named(stored(() => sessionStorage.getItem(RUN))) : null;
}

function named(query) {
  const found = new URLSearchParams(query || "");
  if (!found.get("text")) return null;
  return Object.fromEntries(KEYS.flatMap((key) => (found.has(key) ? [[key, found.get(key)]] : [])));
}
