// Built from web/ by "make web"; sources 0fbfd24f8fc0d4b6.

// typing/typing.js
var PAUSE = 350;
var watched = /* @__PURE__ */ new WeakMap();
function component({ data, setStateValue, parentElement }) {
  const find = () => document.querySelector(`textarea[aria-label="${data.label}"]`);
  let state = watched.get(parentElement);
  if (!state) watched.set(parentElement, state = { timer: 0, area: null, sent: null });
  const tell = () => {
    const value = state.area.value;
    if (value !== state.sent) {
      state.sent = value;
      state.set("draft", value);
    }
  };
  const wait = () => {
    clearTimeout(state.timer);
    state.timer = setTimeout(tell, PAUSE);
  };
  state.set = setStateValue;
  const attach = () => {
    const area = find();
    if (!area || area === state.area) return;
    if (state.area) state.area.removeEventListener("input", wait);
    state.area = area;
    state.sent = area.value;
    area.addEventListener("input", wait);
  };
  attach();
  const later = setTimeout(attach, 500);
  return () => {
    clearTimeout(state.timer);
    clearTimeout(later);
    if (state.area) state.area.removeEventListener("input", wait);
  };
}
export {
  component as default
};
