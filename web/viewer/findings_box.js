// The sentences of findings.js on the page: each is a button that goes to its step.

import { node } from "./dom.js";
import { findings } from "./findings.js";

export function showFindings(view) {
  const found = findings(view.run, view.whole);
  view.findings.replaceChildren(
    ...found.map(({ parts, step, layer }) => {
      const b = node("button", "finding");
      b.type = "button";
      // The step comes second: where there is no room the end of the sentence goes.
      const [[claim], ...rest] = parts;
      b.append(node("b", "", claim), " ", node("span", "to", `step ${step}`), " ", ...rest);
      b.title = `${claim}${rest.join("")}`;
      b.onclick = () => {
        view.stop();
        if (layer !== undefined) view.setLayer(layer);
        view.go(step);
      };
      return b;
    }),
  );
}
