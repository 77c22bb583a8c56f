// How soon words of each part of speech are dropped: Kaplan-Meier, as `dcp stats --by pos` counts.
//
// A word is dropped in a layer when its last living token is, and its age counts from its last token;
// one alive at the end is censored there. Words of one token; layers pooled.

import { ALIVE } from "./cache.js";
import { intervals } from "./intervals.js";

export const HORIZON = 32,
  FEWEST = 20;

/** Rows { group, words, at_risk, events, drop_rate, ci_low, ci_high } of the groups that occur.

drop_rate is null below 20 words; so are the ends of its 95 % interval, and where the text is too
short to give one. source: "prompt", "generated" or "both": where the word was born. groups: { names,
of }: of[tag] is the row of a tag. weights: see intervals.js; by default its own draws. */
export function rates(
  trace,
  words,
  { names, of },
  source = "prompt",
  horizon = HORIZON,
  weights = null,
) {
  const lives = observe(trace, words, { names, of }, source),
    between = intervals(lives, horizon, weights);
  return lives.flatMap(({ all, words: count }, g) => {
    if (!all.length) return [];
    const found = survival(all, horizon, count),
      [ci_low, ci_high] = (found.drop_rate !== null && between[g]) || [null, null];
    return [{ group: names[g], words: count, ...found, ci_low, ci_high }];
  });
}

/** For each group { words, all: [{ born, duration, event }] }, one entry for each word and layer. */
function observe(trace, words, { names, of }, source) {
  const T = trace.token_ids.length,
    end = trace.n_queries - 1,
    lives = names.map(() => ({ words: 0, all: [] }));
  for (let w = 0; w < words.pos.length; w++) {
    const first = words.spans[4 * w + 2],
      last = words.spans[4 * w + 3],
      group = lives[of[words.pos[w]]];
    if (first !== last || (source !== "both" && last < trace.prompt !== (source === "prompt")))
      continue;
    let seen = false;
    for (let l = 0; l < trace.layers; l++) {
      const death = trace.death[l * T + last],
        event = death <= end && death !== ALIVE,
        duration = event ? death - last : end - last;
      if (duration < 1) continue;
      seen = true;
      group.all.push({ born: last, duration, event });
    }
    if (seen) group.words++;
  }
  return lives;
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
