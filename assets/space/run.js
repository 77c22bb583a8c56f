// One run: a request, checked; the text read in chunks, then a token a step; a trace at any moment.

import { nearest, range, shiftFor } from "./dial.js";
import { CHUNK } from "./model.js";
import { draw, logProbability, uniform } from "./sampling.js";
import { TextStream } from "./tokenizer.js";
import { lone } from "./utf8.js";

/** What was asked for makes no sense or does not fit: the message is one line for the visitor.

`beginning`: as much of a text that is too long as does fit, to its last whole word. */
export class RequestError extends Error {
  constructor(message, beginning = null) {
    super(message);
    this.beginning = beginning;
  }
}

const RECENT = 16;

export class Run {
  /** text, newTokens, seed (BigInt), temperature, topK, topP, sparsity, gateShift: as of `dcp trace`;
  nearest: a share that was not measured becomes the nearest that was.

  ids: tokens to read in place of the text's own. orders: deaths decided in place of the gates, [L, T];
  gated false: no gate speaks. */
  constructor(model, tokenizer, request) {
    this.request = {
      temperature: 0.8,
      topK: 0,
      topP: 1,
      seed: 0n,
      gateShift: 0,
      sparsity: null,
      nearest: false,
      gated: true,
      orders: null,
      ids: null,
      ...request,
    };
    this.model = model;
    const { text, newTokens } = this.request;
    check(this.request);
    const { ids } = this.request,
      prompt = ids ? { ids, spans: [] } : tokenizer.encode(text),
      room = model.spec.context - newTokens;
    if (room < 1)
      throw new RequestError(
        `${newTokens} new tokens leave no room for text in a context of ${model.spec.context} tokens.`,
      );
    if (prompt.ids.length > room) {
      throw new RequestError(
        `The text is ${prompt.ids.length} tokens, but with ${newTokens} new tokens the context of ${model.spec.context} has room for ${room}: shorten it, or ask for fewer new ones.`,
        beginningOf(text, prompt.spans[2 * room]),
      );
    }
    this.stream = new TextStream(tokenizer, text, prompt);
    this.prompt = prompt.ids.length;
    this.total = this.prompt + newTokens;
    this.#shift();
    this.queries = 0;
    this.logprobs = [NaN];
    this.seconds = [];
    this.promptSeconds = 0;
    this.first = null;
    this.interrupted = false;
    model.cache.clear(this.total);
  }

  /** The gate shift of the share that was asked for, for as many tokens as will be read. */
  #shift() {
    const { request } = this,
      { spec } = this.model;
    if (request.sparsity === null) return;
    if (!spec.dial.length)
      throw new RequestError("This model has no dial: leave the share dropped out of the link.");
    const read = this.prompt + Math.max(0, request.newTokens - 1);
    if (request.nearest) request.sparsity = nearest(spec, request.sparsity, read);
    request.gateShift = shiftFor(spec, request.sparsity, read);
    if (Number.isNaN(request.gateShift)) {
      const [low, high] = range(spec, read);
      throw new RequestError(
        `The share dropped must lie between ${low.toFixed(2)} and ${high.toFixed(2)}: what this model was measured at, of texts of ${read} tokens.`,
      );
    }
  }

  /** A step at a time: a chunk of the text, then a token. Leave off iterating to stop. */
  *[Symbol.iterator]() {
    const begin = performance.now();
    while (this.queries < this.prompt) {
      this.#readPrompt();
      yield;
    }
    while (this.stream.ids.length < this.total) {
      const start = performance.now();
      if (this.stream.ids.length > this.prompt) this.#read(this.stream.ids.slice(-1));
      else this.logits = this.model.logits((this.prompt - 1) % CHUNK, 1);
      this.#next();
      this.seconds.push((performance.now() - start) / 1000);
      this.first ??= (performance.now() - begin) / 1000;
      yield;
    }
  }

  #readPrompt() {
    const start = performance.now(),
      ids = this.stream.ids.slice(this.queries, Math.min(this.queries + CHUNK, this.prompt));
    const {
      model,
      request: { gated, gateShift: shift, orders },
    } = this;
    model.read(ids, this.queries, { gated, shift, orders });
    const next = this.stream.ids.slice(this.queries + 1, this.queries + 1 + ids.length),
      V = model.spec.vocab;
    if (next.length) {
      const logits = model.logits(0, next.length);
      next.forEach((id, t) => {
        this.logprobs.push(logProbability(logits.subarray(t * V, (t + 1) * V), id));
      });
    }
    this.queries += ids.length;
    this.promptSeconds += (performance.now() - start) / 1000;
  }

  #read(ids) {
    const {
      model,
      request: { gated, gateShift: shift, orders },
    } = this;
    model.read(ids, this.queries, { gated, shift, orders });
    this.queries += 1;
    this.logits = model.logits(0, 1);
  }

  #next() {
    const at = this.stream.ids.length,
      token = draw(this.logits, this.request, uniform(this.request.seed, at));
    this.logprobs.push(logProbability(this.logits, token));
    this.stream.push(token);
  }

  /** Speed and memory at this moment. */
  counters() {
    const later = this.seconds.slice(1),
      recent = later.slice(-RECENT),
      rate = (times) => (times.length ? times.length / times.reduce((a, b) => a + b, 0) : null);
    const { layers, kv_heads, head_dim } = this.model.spec;
    return {
      now: rate(recent),
      mean: rate(later),
      first: this.first,
      engine: this.model.memory.buffer.byteLength,
      ...this.model.cache.bytes(),
      dense: 2 * layers * this.stream.ids.length * kv_heads * head_dim * 4,
    };
  }

  /** What has happened so far, as plain arrays: token_ids [T], offsets [2 T] code points, death and margin [L T], logprob, step_seconds [T]. */
  trace() {
    const T = this.stream.ids.length,
      { layers } = this.model.spec,
      { death, margin } = this.model.cache.lives();
    const cut = (rows, Type) => {
      const out = new Type(layers * T);
      for (let l = 0; l < layers; l++)
        out.set(rows.subarray(l * this.total, l * this.total + T), l * T);
      return out;
    };
    const seconds = new Float32Array(T).fill(NaN);
    seconds.set(this.seconds, this.prompt);
    const logprob = new Float32Array(T).fill(NaN);
    logprob.set(this.logprobs.slice(0, T));
    return {
      token_ids: Int32Array.from(this.stream.ids),
      offsets: Int32Array.from(this.stream.spans),
      death: cut(death, Int32Array),
      margin: cut(margin, Float32Array),
      logprob,
      step_seconds: seconds,
      text: this.stream.text,
      prompt: this.prompt,
      n_queries: this.queries,
      layers,
      planned: this.total,
      gateShift: this.request.gateShift,
      sparsity: this.request.sparsity,
      counters: this.counters(),
    };
  }
}

/** The first `length` code points of `text`, without the word that is cut through. */
function beginningOf(text, length) {
  const start = Array.from(text).slice(0, length).join("");
  return /\s/u.test(text[start.length]) ? start : start.replace(/\s+\S*$/u, "") || start;
}

function check({ text, newTokens, temperature, topK, topP, gateShift, seed }) {
  if (!text.trim()) throw new RequestError("There is no text: give at least one word.");
  const at = lone(text);
  if (at >= 0)
    throw new RequestError(
      `Character ${Array.from(text.slice(0, at)).length} of the text is a lone surrogate, which is not Unicode: remove it.`,
    );
  if (!Number.isInteger(newTokens) || newTokens < 0)
    throw new RequestError("The number of new tokens must be a whole number, 0 or more.");
  if (!(temperature >= 0 && Number.isFinite(temperature)))
    throw new RequestError("The temperature must be a number, 0 or more.");
  if (!Number.isInteger(topK) || topK < 0)
    throw new RequestError("top-k must be a whole number, 0 or more.");
  if (!(topP > 0 && topP <= 1)) throw new RequestError("top-p must lie above 0 and not above 1.");
  if (!Number.isFinite(gateShift))
    throw new RequestError("The gate shift must be a finite number.");
  if (typeof seed !== "bigint" || seed < 0n || seed >= 2n ** 63n)
    throw new RequestError("The seed must be a whole number from 0 to 2^63 - 1.");
}
