// Built from web/ by "make web"; sources 9924aba4c1f4299e.

// typing/typing.js
var PAUSE = 350;
var watched = /* @__PURE__ */ new WeakMap();
var HEARD = { input: "wait", focus: "enter", blur: "commit", keydown: "key" };
function ear() {
  const self = { timer: 0, area: null, sent: null, kept: null, set: null };
  self.tell = () => {
    const { value } = self.area;
    if (value === self.sent) return;
    self.sent = value;
    self.set("draft", value);
  };
  self.wait = () => {
    clearTimeout(self.timer);
    self.timer = setTimeout(self.tell, PAUSE);
  };
  self.enter = () => {
    self.kept = self.area.value;
  };
  self.commit = () => {
    clearTimeout(self.timer);
    const { value } = self.area;
    if (value === self.kept) self.tell();
    else self.sent = self.kept = value;
  };
  self.key = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) self.commit();
  };
  self.listen = (label) => {
    const area = document.querySelector(`textarea[aria-label="${label}"]`);
    if (!area || area === self.area) return;
    self.leave();
    self.area = area;
    self.sent = self.kept = area.value;
    for (const [name, heard] of Object.entries(HEARD)) area.addEventListener(name, self[heard]);
    if (area !== document.activeElement) return;
    self.sent = self.kept = null;
    self.wait();
  };
  self.leave = () => {
    clearTimeout(self.timer);
    for (const [name, heard] of Object.entries(HEARD)) {
      self.area?.removeEventListener(name, self[heard]);
    }
    self.area = null;
  };
  return self;
}
function component({ data, setStateValue, parentElement }) {
  let mine = watched.get(parentElement);
  if (!mine) {
    mine = ear();
    watched.set(parentElement, mine);
  }
  mine.set = setStateValue;
  mine.listen(data.label);
  const later = setTimeout(() => mine.listen(data.label), 500);
  return () => {
    clearTimeout(later);
    const host = parentElement.host ?? parentElement;
    if (!host.isConnected) mine.leave();
  };
}
export {
  component as default
};
