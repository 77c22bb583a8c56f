// The page: a sample at once, the model as soon as it is here, then the visitor's own text.
//
// window.dcp is for scripts and tests: ready (a promise of the model), done (false while a run is on),
// trace() -> { token_ids, death (row-major [L, T]), n_queries, text } of what is shown, counters() -> its
// speed (tokens and seconds) and memory (bytes), null for the sample; putBack(token, layer), see after.js. Marks
// in the browser's performance timeline: "sample" (painted), "downloaded".

import { After } from "./after.js";
import { Engine } from "./engine.js";
import { Form } from "./form.js";
import { read, show, write } from "./link.js";
import { payload } from "./payload.js";
import { mount } from "./viewer.js";

const $ = (id) => document.getElementById(id);
const bytes = (n) =>
  n < 2 ** 20 ? `${(n / 2 ** 10).toFixed(0)} KiB` : `${(n / 2 ** 20).toFixed(1)} MiB`;
const fetched = async (name) => (await fetch(new URL(name, import.meta.url))).json();

const asked = read(location.hash);
let arrived;
const dcp = (window.dcp = {
  ready: new Promise((done) => {
    arrived = done;
  }),
  done: asked.text === null,
  trace: () => shown(sample),
  counters: () => null,
});

const [manifest, sample] = await Promise.all([
  fetched("manifest.json"),
  fetched("sample.json"),
]).catch(() => {
  $("loading").hidden = true;
  say("The page arrived in part only: the connection failed.", "Try again", () =>
    location.reload(),
  );
  return new Promise(() => {});
});
const spec = manifest.model;
const view = mount($("view"), sample, {
  title: "What each layer can still attend to",
  report: (at) => after.choose(at),
});
const form = new Form(spec, {
  run,
  stop: () => engine.stop(),
  count: (text) => engine?.count(text),
});
form.fill(asked);
$("new").max = spec.context - 1;
form.state("waiting");
requestAnimationFrame(() => performance.mark("sample"));
// The run asked for last: its number and request.
let current = null;

const engine = new Engine({
  progress,
  counted: (tokens) => form.counted(tokens),
  trace,
  effect: (found) => after.effect(found),
  failed,
});
const after = new After({ engine, sample, manifest, dcp });
// What was asked for before the model was here.
let waiting = asked.text !== null;
engine.ready.then((impl) => {
  say("");
  $("counts").textContent = "";
  form.state("ready");
  form.count();
  if (waiting) run(form.request());
  arrived(impl);
});

function progress(loaded, total) {
  $("bar").max = total;
  $("bar").value = loaded;
  $("loading").hidden = loaded >= total;
  if (loaded >= total) performance.mark("downloaded");
  $("loading-says").textContent =
    `The model is on its way into this page: ${(loaded / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB, once. Below, a run recorded earlier.`;
}

function run(request) {
  dcp.done = false;
  if (!engine.impl) {
    waiting = true;
    $("counts").textContent = "Runs as soon as the model is here.";
    return;
  }
  say("");
  form.state("running");
  current = { id: engine.run + 1, request, addressed: false };
  engine.start(request);
}

function trace(found, running, words) {
  const request = { ...current.request, sparsity: found.sparsity, gateShift: found.gateShift };
  // A request that was taken up can be an address: its text is Unicode, its seed a number.
  if (!current.addressed) show(write(request));
  current.addressed = true;
  view.update(
    payload(
      sample,
      `run-${current.id}`,
      found,
      { spec, impl: engine.impl, request, running },
      words,
    ),
  );
  count(found.counters, found, running);
  dcp.trace = () => shown(found);
  dcp.counters = () => found.counters;
  after.show(running ? null : { request, trace: found, words });
  if (running) return;
  form.state("ready");
  dcp.done = true;
}

/** One line of numbers under the box. */
function count(c, found, running) {
  const made = found.token_ids.length - found.prompt,
    speed = (running ? c.now : c.mean) ?? null;
  $("counts").textContent = [
    `${found.prompt} tokens read, ${made} written`,
    ...(speed ? [`${speed.toFixed(0)} tokens a second`] : []),
    `keys and values: ${bytes(c.live)} live, ${bytes(c.held)} allocated, ${bytes(c.dense)} dense`,
    `engine memory ${bytes(c.engine)}`,
  ].join(" · ");
}

function failed(what, message, beginning = null) {
  if (what === "load") {
    say(message, "Try again", () => {
      say("");
      form.state("waiting");
      engine.load();
    });
    $("loading").hidden = true;
    form.state("broken");
    return;
  }
  if (beginning === null) say(message);
  else
    say(message, "Use its beginning", () => {
      $("text").value = beginning;
      run(form.request());
    });
  form.state("ready");
  dcp.done = true;
}

/** One line that says what is wrong and how to mend it; `act` is what the button beside it does. */
function say(message, label = "", act = null) {
  $("problem").hidden = !message;
  $("problem-says").textContent = message;
  $("again").hidden = !act;
  $("again").textContent = label;
  $("again").onclick = act;
}

function shown(found) {
  if (found === sample) {
    const raw = Uint8Array.from(atob(sample.death), (c) => c.charCodeAt(0)),
      ids = sample.token_ids;
    return {
      token_ids: ids,
      death: Array.from(new Int32Array(raw.buffer)),
      n_queries: sample.queries,
      text: sample.text,
    };
  }
  return {
    token_ids: Array.from(found.token_ids),
    death: Array.from(found.death),
    n_queries: found.n_queries,
    text: found.text,
  };
}

addEventListener("hashchange", () => {
  const next = read(location.hash);
  if (next.text === null) return;
  form.fill(next);
  run(form.request());
});

// The second visit starts at once, and without network; where it is forbidden, the page works all the same.
navigator.serviceWorker?.register(new URL("../sw.js", import.meta.url)).catch(() => {});
