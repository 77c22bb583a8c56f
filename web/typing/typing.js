// Tells Python what stands in the text box while it is being typed, a moment after each pause.
//
// It reads one textarea, found by its label, and shows nothing. The text goes to this session only.

const PAUSE = 350;
const watched = new WeakMap();

/** One ear for each place on the page: it outlives the calls that Streamlit makes at every rerun. */
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
    // Somebody was faster than this page: what is there may be news.
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

export default function component({ data, setStateValue, parentElement }) {
  let mine = watched.get(parentElement);
  if (!mine) {
    mine = ear();
    watched.set(parentElement, mine);
  }
  mine.set = setStateValue;
  mine.listen(data.label);
  const later = setTimeout(() => mine.listen(data.label), 500);
  // Streamlit may clean up after a call that a newer one has overtaken: only what has left the page
  // stops listening.
  return () => {
    clearTimeout(later);
    const host = parentElement.host ?? parentElement;
    if (!host.isConnected) mine.leave();
  };
}
