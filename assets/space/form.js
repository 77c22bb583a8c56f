// The box, the dial and the buttons: what the visitor asks for, as a request.

import { lengthOf, nearest, reach, shareOf, shiftFor } from "./dial.js";

const $ = (id) => document.getElementById(id);
const percent = (share) => Math.round(100 * share);
// Milliseconds between a key and the count of tokens; characters beyond which none is asked for.
const PAUSE = 150,
  LONGEST = 50_000;

export class Form {
  /** `act` { run(request), stop(), count(text) }. Enabled once the model's dial is known. */
  constructor(spec, act) {
    this.spec = spec;
    this.act = act;
    const dial = $("dial");
    dial.closest("label").hidden = !spec.dial.length;
    // null is the model as it was trained, which no whole percentage says exactly.
    this.sparsity = null;
    // A share that a hand chose follows the text to what was measured; a link's is taken at its word.
    this.hand = false;
    // Tokens of the text; null while they are not counted.
    this.tokens = null;
    dial.addEventListener("input", () => {
      const own = shareOf(spec, 0, this.#read());
      this.hand = true;
      this.sparsity = Number(dial.value) === percent(own) ? null : Number(dial.value) / 100;
      this.#dial();
    });
    $("text").addEventListener("input", () => this.count());
    $("new").addEventListener("input", () => this.#dial());
    $("form").addEventListener("submit", (event) => {
      event.preventDefault();
      act.run(this.request());
    });
    $("stop").addEventListener("click", () => act.stop());
    $("text").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) act.run(this.request());
    });
    for (const chip of document.querySelectorAll("[data-example]")) {
      chip.addEventListener("click", () => {
        $("text").value = chip.dataset.example;
        this.count();
        act.run(this.request());
      });
    }
    this.#dial();
  }

  /** Have the tokens of the text counted, soon. */
  count() {
    clearTimeout(this.later);
    this.later = setTimeout(() => {
      const text = $("text").value;
      if (!text.trim() || text.length > LONGEST) this.counted(null);
      else this.act.count(text);
    }, PAUSE);
  }

  /** So many tokens has the text; null where nobody knows. */
  counted(tokens) {
    this.tokens = tokens;
    this.#dial();
  }

  /** Tokens that a run of what the fields say would read. */
  #read() {
    const written = Math.max(0, Number($("new").value) - 1 || 0);
    return lengthOf(this.spec, this.tokens === null ? null : this.tokens + written);
  }

  #dial() {
    const { spec } = this,
      { dial: points } = spec;
    if (!points.length) return;
    const dial = $("dial"),
      tokens = this.#read(),
      [low, high] = reach(spec, tokens);
    const own = this.sparsity === null,
      share = own
        ? shareOf(spec, 0, tokens)
        : this.hand
          ? nearest(spec, this.sparsity, tokens)
          : this.sparsity,
      shift = own ? 0 : shiftFor(spec, share, tokens);
    // A link may ask for more than a hand is offered.
    dial.min = Math.min(Math.ceil(100 * low), percent(share));
    dial.max = Math.max(Math.floor(100 * high), percent(share));
    dial.value = percent(share);
    if (Number.isNaN(shift)) {
      $("dial-says").textContent =
        `${percent(low)} to ${percent(high)} % can be dropped of a text of ${tokens} tokens`;
      return;
    }
    const near = points.reduce((a, b) => (Math.abs(b[1] - shift) < Math.abs(a[1] - shift) ? b : a));
    const cost =
      percent(near[2] - 1) < 1 ? "under 1 % worse" : `about ${percent(near[2] - 1)} % worse`;
    $("dial-says").textContent =
      `about ${percent(share)} % dropped, mean over a text of ${tokens} tokens; predictions ${cost}`;
    dial.setAttribute(
      "aria-valuetext",
      `${percent(share)} percent, gate shift ${shift.toFixed(1)}`,
    );
  }

  /** What the fields say now. A field that is no number stays one that the run refuses in a sentence. */
  request() {
    const seed = $("seed").value.trim(),
      number = (id) => ($(id).value.trim() === "" ? NaN : Number($(id).value));
    return {
      text: $("text").value,
      newTokens: number("new"),
      temperature: number("temperature"),
      sparsity: this.sparsity,
      seed: /^\d{1,20}$/.test(seed) ? BigInt(seed) : -1n,
      nearest: this.hand,
    };
  }

  /** Write what a link asks for into the fields; what it does not name stays. */
  fill({ text, newTokens, temperature, sparsity, seed }) {
    if (text !== null) $("text").value = text;
    if (newTokens !== null) $("new").value = newTokens;
    if (temperature !== null) $("temperature").value = temperature;
    if (seed !== null) $("seed").value = seed;
    this.sparsity = sparsity;
    this.hand = false;
    this.#dial();
    this.count();
  }

  /** "waiting" for the model, "broken" where it did not come, "ready", or "running". */
  state(name) {
    $("run").disabled = name === "broken";
    $("stop").hidden = name !== "running";
    $("form").setAttribute("aria-busy", String(name === "running"));
  }
}
