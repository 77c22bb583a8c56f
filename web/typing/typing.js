// Tells Python what stands in the text box while it is being typed, a moment after each pause.
//
// It reads one textarea, found by its label, and shows nothing. The text goes to this session only.

const PAUSE = 350;
const watched = new WeakMap();

export default function component({ data, setStateValue, parentElement }) {
  const find = () => document.querySelector(`textarea[aria-label="${data.label}"]`);
  let state = watched.get(parentElement);
  if (!state) watched.set(parentElement, (state = { timer: 0, area: null, sent: null }));
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
