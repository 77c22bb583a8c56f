// Bytes and characters: where UTF-8 characters begin, end and break.

const encoder = new TextEncoder();

export function utf8(text) {
  return encoder.encode(text);
}

/** The place of the first lone surrogate, in UTF-16 units, or -1. */
export function lone(text) {
  return text.search(/\p{Surrogate}/u);
}

/** UTF-8 as characters, with the byte behind each, and whether the last one is incomplete.

Bytes that can never become a character are one U+FFFD for each longest beginning of one: as
Python's errors="replace" and the Unicode Standard (table 3-7) have it. */
export function characters(bytes) {
  const chars = [],
    ends = [];
  let at = 0,
    incomplete = false;
  while (at < bytes.length) {
    const lead = bytes[at],
      more =
        lead < 0x80
          ? 0
          : lead < 0xc2
            ? -1
            : lead < 0xe0
              ? 1
              : lead < 0xf0
                ? 2
                : lead < 0xf5
                  ? 3
                  : -1;
    let low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80,
      high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    let size = 1,
      code = more < 1 ? lead : lead & (0x3f >> more);
    while (size <= more && bytes[at + size] >= low && bytes[at + size] <= high) {
      code = (code << 6) | (bytes[at + size++] & 0x3f);
      low = 0x80;
      high = 0xbf;
    }
    const whole = size === more + 1;
    incomplete = more > 0 && !whole && at + size === bytes.length;
    chars.push(whole ? String.fromCodePoint(code) : "\ufffd");
    ends.push((at += size));
  }
  return { chars, ends, incomplete };
}
