// A piece of text as it is named in a sentence.

const HIDING =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Blanks and control characters made visible: they would reorder or hide what a sentence says. */
export function legible(text) {
  const shown = text.replace(/\r?\n/g, "⏎").replace(/\t/g, "⇥").replace(HIDING, "�");
  return shown.trim() || (shown ? "␣" : "·");
}
