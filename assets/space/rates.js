// How soon words of each part of speech are dropped: Kaplan-Meier, as `dcp stats --by pos` counts.
//
// A word is dropped in a layer when its last living token is, and its age counts from its last token;
// one alive at the end is censored there. Words of one token; layers pooled.

import { ALIVE } from "./cache.js";

export const HORIZON = 32,
  FEWEST = 20;

/** Rows { group, words, at_risk, events, drop_rate } of the groups that occur; drop_rate null below 20 words.

source: "prompt", "generated" or "both": where the word was born. groups: { names, of }: of[tag] is the
row of a tag. */
export function rates(trace, words, { names, of }, source = "prompt", horizon = HORIZON) {
  const T = trace.token_ids.length,
    end = trace.n_queries - 1,
    lives = names.map(() => []),
    counts = names.map(() => 0);
  for (let w = 0; w < words.pos.length; w++) {
    const first = words.spans[4 * w + 2],
      last = words.spans[4 * w + 3],
      g = of[words.pos[w]];
    if (first !== last || (source !== "both" && last < trace.prompt !== (source === "prompt")))
      continue;
    let seen = false;
    for (let l = 0; l < trace.layers; l++) {
      const death = trace.death[l * T + last],
        event = death <= end && death !== ALIVE,
        duration = event ? death - last : end - last;
      if (duration < 1) continue;
      seen = true;
      lives[g].push({ duration, event });
    }
    if (seen) counts[g]++;
  }
  return names.flatMap((group, g) =>
    lives[g].length ? [{ group, words: counts[g], ...survival(lives[g], horizon, counts[g]) }] : [],
  );
}

function survival(lives, horizon, words) {
  let left = lives.length,
    kept = 1,
    events = 0;
  for (let age = 0; age <= horizon && left; age++) {
    const ending = lives.filter((life) => life.duration === age),
      drops = ending.filter((life) => life.event).length;
    kept *= 1 - drops / left;
    events += drops;
    if (age < horizon) left -= ending.length;
  }
  const seen = left > 0 || kept === 0;
  return { at_risk: left, events, drop_rate: seen && words >= FEWEST ? 1 - kept : null };
}
