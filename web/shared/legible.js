// A piece of text as it is named in a sentence.

const HIDING =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

const RIGHT_TO_LEFT =
  /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

/** Text inside a sentence, so that its direction does not turn the words around it. */
export const isolate = (text) => (RIGHT_TO_LEFT.test(text) ? `\u2068${text}\u2069` : text);

/** Blanks and control characters made visible: they would reorder or hide what a sentence says. */
export function legible(text) {
  const shown = text.replace(/\r?\n/g, "⏎").replace(/\t/g, "⇥").replace(HIDING, "�");
  return shown.trim() || (shown ? "␣" : "·");
}
