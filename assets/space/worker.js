// The engine's thread: downloads the model, runs it, tells the page what has happened so far.
//
//   in   { type: "load" }, { type: "run", id, request }, { type: "stop" }, { type: "back", id, token, layer },
//        { type: "count", id, text }
//   out  { type: "progress", loaded, total }, { type: "ready", impl }, { type: "trace", id, running, trace, words },
//        { type: "effect", id, token, layer, change, totals, first }, { type: "count", id, tokens },
//        { type: "failed", what: "load" | "run", id, message, beginning }

import { DownloadError, download, tidy } from "./download.js";
import { compile } from "./memory.js";
import { Model } from "./model.js";
import { change, firstOf, matched, orders, putBack } from "./plans.js";
import { RequestError, Run } from "./run.js";
import { Tokenizer } from "./tokenizer.js";
import { assemble, unzip } from "./weights.js";
import { wordsOf } from "./words.js";

const ROOT = new URL("..", import.meta.url);
// Milliseconds between two pictures for the page, and between two looks at its messages.
const PICTURE = 120,
  LISTEN = 25;

let model = null,
  tokenizer = null,
  tagger = null;
// The id of the run that the page wants, 0 for none; runs wait for one another in a queue.
let wanted = 0,
  queue = Promise.resolve();
// The last finished run's trace.
let told = null;

async function load() {
  const manifest = await (await fetch(new URL("manifest.json", import.meta.url))).json();
  const { planes, tokenizer: spelling, tagger: tags } = manifest,
    files = [spelling, tags, ...Object.values(planes).flat()];
  const total = files.reduce((sum, file) => sum + file.bytes, 0);
  let loaded = 0;
  const get = (file) =>
    download(ROOT, file, (n) => postMessage({ type: "progress", loaded: (loaded += n), total }));
  const plane = async (parts) =>
    parts.length ? await unzip(await Promise.all(parts.map(get))) : new Uint8Array(0);
  const [module, merges, table, exponents, fractions, tails] = await Promise.all([
    self.name === "plain" ? null : compile(fetch(new URL("kernels/kernels.wasm", import.meta.url))),
    get(spelling),
    plane([tags]),
    plane(planes.exponents),
    plane(planes.fractions),
    plane(planes.tails),
  ]);
  tokenizer = new Tokenizer(JSON.parse(new TextDecoder().decode(merges)));
  tagger = new Int8Array(table.buffer);
  model = new Model(manifest.model, manifest.tensors, module);
  assemble(model.memory.u32.subarray(model.weightsAt >> 2), manifest, {
    exponents,
    fractions,
    tails,
  });
  await tidy(ROOT, files);
  postMessage({ type: "ready", impl: model.impl });
}

/** Let messages in: a stop, above all. */
const breathe = () =>
  new Promise((done) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = done;
    port2.postMessage(0);
  });

async function run(id, request) {
  const run = new Run(model, tokenizer, request);
  let shown = 0,
    listened = performance.now();
  const tell = (running) => {
    const trace = {
      ...run.trace(),
      interrupted: run.interrupted,
      promptSeconds: run.promptSeconds,
    };
    postMessage({ type: "trace", id, running, trace, words: wordsOf(tagger, trace) });
    shown = performance.now();
  };
  for (const _ of run) {
    if (performance.now() - shown > PICTURE) tell(true);
    if (performance.now() - listened > LISTEN) {
      await breathe();
      listened = performance.now();
    }
    if (wanted !== id) {
      run.interrupted = run.queries < run.total - 1;
      break;
    }
  }
  tell(false);
  told = run.trace();
}

/** What the last run's own tokens would have been worth with one dropped token kept alive. */
async function back(id, token, layer) {
  const trace = told,
    plan = putBack(trace, token, layer),
    { plans, horizon } = matched(trace, plan),
    totals = [];
  const score = (one) => {
    const run = new Run(model, tokenizer, {
      text: trace.text,
      ids: trace.token_ids,
      newTokens: 0,
      gated: false,
      orders: orders(trace, one),
    });
    for (const _ of run);
    return change(trace, one, run.logprobs, horizon);
  };
  const own = score(plan);
  for (const one of plans) {
    await breathe();
    if (wanted !== id) return;
    totals.push(score(one).reduce((a, b) => a + b, 0));
  }
  postMessage({ type: "effect", id, token, layer, change: own, totals, first: firstOf(plan) });
}

/** Tokens of a text; null where it has none, as one that is not Unicode. */
function count(text) {
  try {
    return tokenizer.encode(text).ids.length;
  } catch {
    return null;
  }
}

const LINE = { load: "The model could not be started in this browser", run: "The run stopped" };

/** Failures that a visitor can do something about speak for themselves. */
function failed(what, id, error) {
  const known = error instanceof DownloadError || error instanceof RequestError;
  if (!known) console.error(error);
  postMessage({
    type: "failed",
    what,
    id,
    message: known ? error.message : `${LINE[what]}: ${error.message || error}`,
    beginning: error.beginning ?? null,
  });
}

addEventListener("message", async ({ data }) => {
  if (data.type === "load") await load().catch((error) => failed("load", null, error));
  if (data.type === "stop") wanted = 0;
  if (data.type === "count") postMessage({ type: "count", id: data.id, tokens: count(data.text) });
  if (data.type !== "run" && data.type !== "back") return;
  wanted = data.id;
  const act =
    data.type === "run"
      ? () => run(data.id, data.request)
      : () => back(data.id, data.token, data.layer);
  queue = queue.then(act).catch((error) => failed("run", data.id, error));
});
