// Built from web/ by "make web"; sources 9924aba4c1f4299e.

// put_back/words.js
var shown = /* @__PURE__ */ new WeakMap();
function build(host, data) {
  host.textContent = "";
  const box = document.createElement("div");
  box.className = "words";
  const run = document.createElement("div");
  run.className = "run";
  run.setAttribute("role", "group");
  run.setAttribute("aria-label", data.label);
  const tokens = data.fragments.map((text, j) => {
    if (j === data.prompt && j) {
      const seam = document.createElement("span");
      seam.className = "seam";
      seam.textContent = "the model wrote";
      run.append(seam);
    }
    const span = document.createElement("span");
    span.textContent = text;
    span.dataset.j = j;
    run.append(span);
    return span;
  });
  box.append(run);
  host.append(box);
  return { run, tokens, cursor: -1 };
}
function paint(view, data) {
  view.tokens.forEach((span, j) => {
    span.className = "t";
    if (j >= data.prompt) span.classList.add("gen");
    if (data.can[j]) span.classList.add("can");
    span.style.removeProperty("--size");
    span.style.setProperty("--share", data.gone[j]);
    const change = data.change ? data.change[j] : null;
    if (change === null)
      span.classList.add(data.change ? "before" : data.gone[j] > 0 ? "gone" : "held");
    else if (change !== 0) {
      span.classList.add(change > 0 ? "up" : "down");
      span.style.setProperty("--size", Math.abs(change));
    }
    if (data.gone[j] === 1) span.classList.add("all");
    if (j === data.chosen) span.classList.add("chosen");
    if (span.lastElementChild) span.lastElementChild.remove();
    const mark = data.marks[j];
    if (mark) {
      const sign = document.createElement("sup");
      sign.textContent = mark > 0 ? "▲" : "▼";
      span.append(sign);
    }
    span.title = data.notes[j];
  });
}
function component({ data, setTriggerValue, parentElement }) {
  const host = parentElement;
  let view = shown.get(host);
  if (!view || view.id !== data.id || !view.run.isConnected) {
    let home = host.querySelector(".words-home");
    if (!home) {
      home = document.createElement("div");
      home.className = "words-home";
      host.append(home);
    }
    view = build(home, data);
    view.id = data.id;
    shown.set(host, view);
  }
  paint(view, data);
  const choose = (j) => {
    if (j >= 0 && data.can[j]) setTriggerValue("token", j);
  };
  const move = (by) => {
    let j = view.cursor < 0 ? data.chosen ?? -1 : view.cursor;
    do
      j += by;
    while (j >= 0 && j < data.can.length && !data.can[j]);
    if (j < 0 || j >= data.can.length) return;
    view.cursor = j;
    for (const [i, span] of view.tokens.entries()) span.classList.toggle("cursor", i === j);
    view.tokens[j].scrollIntoView({ block: "nearest" });
  };
  view.run.tabIndex = 0;
  view.run.onclick = (event) => {
    const span = event.target.closest("[data-j]");
    if (span) choose(Number(span.dataset.j));
  };
  view.run.onkeydown = (event) => {
    if (event.key === "ArrowRight") move(1);
    else if (event.key === "ArrowLeft") move(-1);
    else if (event.key === "Enter" || event.key === " ") choose(view.cursor);
    else return;
    event.preventDefault();
  };
}
export {
  component as default
};
