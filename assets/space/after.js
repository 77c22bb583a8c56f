// What can be done with a finished run: its drop rates, one token put back, its file, its link.

import { answer, offer, showRates } from "./panels.js";
import { units } from "./payload.js";
import { metaOf, traceFile } from "./trace.js";

const $ = (id) => document.getElementById(id);
const picked = (name) => document.querySelector(`input[name="${name}"]:checked`).value;

export class After {
  /** dcp: window.dcp, which gets putBack(token, layer). */
  constructor({ engine, sample, manifest, dcp }) {
    Object.assign(this, { engine, manifest, dcp, run: null, chosen: null });
    this.groups = {
      group: { names: sample.group_names, of: sample.pos_group },
      pos: { names: sample.pos_labels, of: sample.pos_labels.map((_, i) => i) },
    };
    for (const input of document.querySelectorAll('input[name="source"], input[name="by"]'))
      input.addEventListener("change", () => this.#table());
    dcp.putBack = (token, layer = null) => this.#putBack(token, layer);
    $("back-all").addEventListener("click", () => this.#putBack(this.chosen.token, null));
    $("back-one").addEventListener("click", () =>
      this.#putBack(this.chosen.token, this.chosen.layer),
    );
    $("save").addEventListener("click", () => this.#save());
    $("copy").addEventListener("click", copy);
  }

  /** run: { request, trace, words }; null while there is none. */
  show(run) {
    this.run = run;
    $("after").hidden = !run;
    if (!run) return;
    $("back").hidden = true;
    $("copied").textContent = $("back-answer").textContent = "";
    $("back-most").replaceChildren();
    this.#table();
  }

  #table() {
    showRates(this.run.trace, this.run.words, this.groups[picked("by")], picked("source"));
  }

  /** A token as a sentence names it. */
  #named(token) {
    const { text, offsets } = this.run.trace,
      starts = units(text),
      part = text.slice(starts[offsets[2 * token]], starts[offsets[2 * token + 1]]);
    return `“${part.trim() || "␣"}”`;
  }

  /** The visitor has chosen a place in the view. Of a run stopped before its end not all was read. */
  choose({ layer, token }) {
    const trace = this.run?.trace;
    if (token === null || !trace || trace.interrupted) return;
    const T = trace.token_ids.length,
      gone = (l) => trace.death[l * T + token] < trace.n_queries,
      dropped = Array.from({ length: trace.layers }, (_, l) => gone(l)).filter(Boolean).length;
    this.chosen = { token, layer };
    offer(this.#named(token), token, dropped, layer, gone(layer));
  }

  /** Keep a dropped token alive in `layer` or (null) in all: a promise of { change, totals } (nats). */
  #putBack(token, layer) {
    this.dcp.done = false;
    $("back-answer").textContent = "Reading the same tokens again …";
    $("back-most").replaceChildren();
    this.engine.back(token, layer);
    return new Promise((done) => {
      this.answered = done;
    });
  }

  effect({ token, layer, change, totals, first }) {
    const names = change.map((_, i) => this.#named(first + 1 + i));
    answer(this.#named(token), layer === null ? "all layers" : `layer ${layer}`, {
      change,
      totals,
      names,
    });
    this.dcp.done = true;
    this.answered({ change, totals });
  }

  #save() {
    const { request, trace } = this.run,
      { model: spec, version } = this.manifest,
      made = { request, spec, version, impl: this.engine.impl, browser: navigator.userAgent },
      file = new Blob([traceFile(trace, metaOf(trace, made))]),
      link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = "run.safetensors";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
}

async function copy() {
  try {
    await navigator.clipboard.writeText(location.href);
    $("copied").textContent =
      "The link is copied: it carries the text and the settings, and runs when opened.";
  } catch {
    $("copied").textContent =
      "This browser does not let the page copy: the link is in the address bar.";
  }
}
