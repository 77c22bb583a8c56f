// Tells Python what stands in the text box while it is being typed, a moment after each pause.
//
// It reads one textarea, found by its label, and shows nothing. The text goes to this session only.

const PAUSE = 350;
const watched = new WeakMap();
const HEARD = { input: "wait", focus: "enter", blur: "commit", keydown: "key" };

/** One ear for each place on the page: it outlives the calls that Streamlit makes at every rerun. */
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
  // The box is about to send its text by itself. A report after that could reach the server while
  // the page that a press of "Generate" asked for is on its way here, and Streamlit drops what is
  // left of a page when a part of it is asked for anew. Text that is as it was is not sent.
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
    // Somebody was faster than this page: what is there may be news.
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
