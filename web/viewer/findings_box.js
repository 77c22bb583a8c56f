// The sentences of findings.js on the page: each is a button that goes to its step.

import { node } from "./dom.js";
import { findings } from "./findings.js";

export function showFindings(view) {
  const found = findings(view.run, view.whole);
  view.findings.replaceChildren(
    ...found.map(({ parts, step, layer }) => {
      const b = node("button", "finding");
      b.type = "button";
      const sentence = node("span", "sentence");
      for (const part of parts)
        sentence.append(Array.isArray(part) ? node("b", "", part[0]) : part);
      b.title = sentence.textContent;
      b.append(sentence, node("span", "to", `step ${step}`));
      b.onclick = () => {
        view.stop();
        if (layer !== undefined) view.setLayer(layer);
        view.go(step);
      };
      return b;
    }),
  );
}
