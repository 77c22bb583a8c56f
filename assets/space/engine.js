// The page's side of the worker: one model, one run at a time.

export class Engine {
  /** `hear` { progress(loaded, total), counted(tokens), trace(trace, running, words), effect(answer),
  failed(what, message, beginning) }. */
  constructor(hear) {
    this.hear = hear;
    this.impl = null;
    this.run = 0;
    this.asked = 0;
    this.ready = new Promise((done) => {
      this.#ready = done;
    });
    // "plain" for comparison and for tests: plain JavaScript, as where there is no WebAssembly. Told
    // by the worker's name: of an address that the service worker answers, the query is lost.
    const name = new URLSearchParams(location.search).has("plain") ? "plain" : "";
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module", name });
    this.worker.onmessage = ({ data }) => this.#receive(data);
    this.worker.onerror = (event) => {
      event.preventDefault();
      hear.failed(
        "load",
        "The engine could not be started: this browser is too old, or a file of the page is missing.",
      );
    };
    this.load();
  }

  #ready;

  load() {
    this.worker.postMessage({ type: "load" });
  }

  /** Start this run in place of any that is on. */
  start(request) {
    this.run += 1;
    this.worker.postMessage({ type: "run", id: this.run, request });
  }

  /** Put a token of the last run back, in `layer` or (null) in all layers. */
  back(token, layer) {
    this.run += 1;
    this.worker.postMessage({ type: "back", id: this.run, token, layer });
  }

  /** Count the tokens of `text`; the newest question alone is answered. */
  count(text) {
    this.asked += 1;
    if (this.impl) this.worker.postMessage({ type: "count", id: this.asked, text });
  }

  stop() {
    this.worker.postMessage({ type: "stop" });
  }

  #receive(data) {
    if (data.type === "progress") this.hear.progress(data.loaded, data.total);
    if (data.type === "ready") {
      this.impl = data.impl;
      this.#ready(data.impl);
    }
    if (data.type === "failed" && (data.what === "load" || data.id === this.run))
      this.hear.failed(data.what, data.message, data.beginning);
    if (data.type === "count" && data.id === this.asked) this.hear.counted(data.tokens);
    if (data.type === "effect" && data.id === this.run) this.hear.effect(data);
    if (data.type === "trace" && data.id === this.run)
      this.hear.trace(data.trace, data.running, data.words);
  }
}
