// Built from web/ by "make web"; sources 464b72fcedf49f9e.

// typing/typing.js
var PAUSE = 350;
var watched = /* @__PURE__ */ new WeakMap();
function ear() {
  const self = { timer: 0, area: null, sent: null, set: null };
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
  self.listen = (label) => {
    const area = document.querySelector(`textarea[aria-label="${label}"]`);
    if (!area || area === self.area) return;
    self.leave();
    self.area = area;
    self.sent = area.value;
    area.addEventListener("input", self.wait);
    if (area !== document.activeElement) return;
    self.sent = null;
    self.wait();
  };
  self.leave = () => {
    clearTimeout(self.timer);
    self.area?.removeEventListener("input", self.wait);
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
