// Nodes of the page. Text is only ever set through textContent.

export function node(tag, className, ...children) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  for (const c of children) e.append(c);
  return e;
}

export function button(label, className, act) {
  const e = node("button", className, label);
  e.type = "button";
  e.onclick = act;
  return e;
}

export function group(role, className, name, ...children) {
  const e = node("div", className, ...children);
  e.setAttribute("role", role);
  e.setAttribute("aria-label", name);
  return e;
}

/** Make `buttons` one stop of the Tab key: arrow keys move among them, as in a radio group.

`move(button)` is called with the one that an arrow key reached; the first is the stop to begin with. */
export function oneStop(buttons, move) {
  for (const [i, b] of buttons.entries()) {
    b.tabIndex = i ? -1 : 0;
    b.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      const next = buttons[(i + by + buttons.length) % buttons.length];
      for (const other of buttons) other.tabIndex = other === next ? 0 : -1;
      next.focus();
      move(next);
    });
  }
}

/** A panel that lies over the page: it closes with Escape, and when the hand or the keys go elsewhere. */
export function panel(className, summary, ...children) {
  const e = node("details", className, summary, ...children),
    away = (event) => {
      if (!e.isConnected || !event.composedPath().includes(e)) e.open = false;
    };
  e.addEventListener("toggle", () => {
    const page = e.ownerDocument;
    if (e.open) page.addEventListener("pointerdown", away, true);
    else page.removeEventListener("pointerdown", away, true);
  });
  e.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !e.contains(event.relatedTarget)) e.open = false;
  });
  e.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !e.open) return;
    e.open = false;
    summary.focus();
    event.stopPropagation();
  });
  return e;
}

/** Set what has changed only: most counters stay as they are from one frame to the next. */
export function write(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

export function attribute(e, name, value) {
  if (e.getAttribute(name) !== value) e.setAttribute(name, value);
}
