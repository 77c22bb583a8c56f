// The box, the dial and the buttons: what the visitor asks for, as a request.

import { own, shiftFor } from "./link.js";

const $ = (id) => document.getElementById(id);
const percent = (share) => Math.round(100 * share);

export class Form {
  /** `act` { run(request), stop() }. Enabled once the model's dial is known. */
  constructor(spec, act) {
    this.spec = spec;
    const shares = spec.dial.map(([share]) => share),
      dial = $("dial");
    dial.closest("label").hidden = !shares.length;
    this.own = own(spec.dial);
    // null is the model as it was trained, which no whole percentage says exactly.
    this.sparsity = null;
    dial.min = Math.ceil(100 * Math.min(...shares));
    dial.max = Math.floor(100 * Math.max(...shares));
    dial.addEventListener("input", () => {
      this.sparsity =
        this.own && Number(dial.value) === percent(this.own[0]) ? null : Number(dial.value) / 100;
      this.#dial();
    });
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
        act.run(this.request());
      });
    }
    this.#dial();
  }

  #dial() {
    if (!this.spec.dial.length) return;
    const share = this.sparsity ?? this.own?.[0],
      { dial } = this.spec;
    $("dial").value = percent(share);
    const shift = this.sparsity === null ? 0 : shiftFor(dial, share),
      near = dial.reduce((a, b) => (Math.abs(b[0] - share) < Math.abs(a[0] - share) ? b : a));
    const cost =
      percent(near[2] - 1) < 1 ? "under 1 % worse" : `about ${percent(near[2] - 1)} % worse`;
    $("dial-says").textContent =
      `about ${percent(share)} % dropped, mean over a text of ${this.spec.context} tokens; predictions ${cost}`;
    $("dial").setAttribute(
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
      gateShift: this.sparsity === null ? 0 : shiftFor(this.spec.dial, this.sparsity),
    };
  }

  /** Write what a link asks for into the fields; what it does not name stays. */
  fill({ text, newTokens, temperature, sparsity, seed }) {
    if (text !== null) $("text").value = text;
    if (newTokens !== null) $("new").value = newTokens;
    if (temperature !== null) $("temperature").value = temperature;
    if (seed !== null) $("seed").value = seed;
    this.sparsity = sparsity;
    this.#dial();
  }

  /** "waiting" for the model, "broken" where it did not come, "ready", or "running". */
  state(name) {
    $("run").disabled = name === "broken";
    $("stop").hidden = name !== "running";
    $("form").setAttribute("aria-busy", String(name === "running"));
  }
}
