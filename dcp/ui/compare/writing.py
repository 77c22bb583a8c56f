"""The same text written on twice at once, with the gates and with nothing dropped, as it happens.

The worker's thread takes a step of each in turn and leaves what there is in a `Race`; the page
looks at it a few times a second. The one that drops nothing has its gates off: of an
adapter that is its base. The browser shows all text as plain text.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import streamlit as st

from dcp.runs.request import TextRequest, as_dropped
from dcp.stats.compare import Pair
from dcp.stats.policies import title_of
from dcp.trace import Trace
from dcp.trace.amounts import size
from dcp.ui.put_back.continuations import tail
from dcp.ui.task import Report, Task

if TYPE_CHECKING:
    from dcp.model.registry import OpenModel

__all__ = ["NEW_TOKENS", "Lane", "Race", "drawn", "race", "watched"]

NEW_TOKENS = 80
_EVERY = 0.3
_CSS = """
.race { display: grid; grid-template-columns: max-content 1fr 4.5rem; gap: 0.3rem 0.7rem;
  align-items: center; font: 0.85rem/1.3 var(--st-font, sans-serif);
  font-variant-numeric: tabular-nums; margin-bottom: 0.7rem; }
.race b { font-weight: 400; text-align: right; }
.race i { display: block; height: 0.9rem; border-radius: 2px; box-sizing: border-box;
  background: rgba(120, 130, 143, 0.16); }
.race i[hidden] { display: none; }
.race i i { background: #2a8cc7; transition: width 0.25s linear; }
.race i i.all { background: rgba(120, 130, 143, 0.3); border: 1.5px solid #78828f; }
.boxes { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(18rem, 100%), 1fr));
  gap: 0.8rem; }
.boxes section { border: 1px solid rgba(120, 130, 143, 0.45); border-radius: 8px;
  padding: 0.7rem 0.9rem; min-height: 13rem; box-sizing: border-box; }
.boxes h3 { margin: 0 0 0.35rem; font: 600 0.875rem/1.3 var(--st-font, sans-serif); }
.boxes p { margin: 0; font: 1.02rem/1.6 "Source Serif", Georgia, serif; white-space: pre-wrap;
  overflow-wrap: anywhere; unicode-bidi: isolate; }
.boxes em { font-style: italic; }
@media (max-width: 40rem) { .boxes section { min-height: 21rem; } }
@media (prefers-reduced-motion: reduce) { .race i i { transition: none; } }
"""
_JS = """
export default function ({ parentElement, data }) {
  const make = (parent, name) => parent.appendChild(document.createElement(name));
  let race = parentElement.querySelector(".race");
  let boxes = parentElement.querySelector(".boxes");
  if (!race) {
    race = make(parentElement, "div");
    race.className = "race";
    race.setAttribute("role", "img");
    boxes = make(parentElement, "div");
    boxes.className = "boxes";
    for (const { kind } of data.lanes) {
      make(race, "span");
      make(make(race, "i"), "i").className = kind;
      make(race, "b");
      const box = make(boxes, "section");
      make(box, "h3");
      const text = make(box, "p");
      text.append("");
      make(text, "em");
    }
  }
  race.setAttribute("aria-label", data.label);
  data.lanes.forEach((lane, n) => {
    race.children[3 * n].textContent = lane.name;
    const bar = race.children[3 * n + 1].firstChild;
    bar.hidden = lane.width === 0;
    bar.style.width = lane.width + "%";
    race.children[3 * n + 2].textContent = lane.size;
    const [title, text] = boxes.children[n].children;
    title.textContent = lane.title;
    text.firstChild.nodeValue = data.opening;
    text.lastChild.textContent = lane.written;
  });
}
"""


@dataclass(frozen=True)
class Lane:
    """One of the two at one moment: what it wrote, and the live bytes of keys and values."""

    text: str = ""
    tokens: int = 0
    live: int = 0


@dataclass
class Race:
    """Both, written by the worker's thread and read by the page's.

    full  bytes that keys and values of all tokens will take at the end; 0 before anything is read
    """

    prompt: str
    planned: int
    names: tuple[str, str] = ("with its gates", "nothing dropped")
    full: int = 0
    lanes: tuple[Lane, Lane] = (Lane(), Lane())
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def put(self, which: int, lane: Lane) -> None:
        with self._lock:
            one, two = self.lanes
            self.lanes = (lane, two) if which == 0 else (one, lane)

    def look(self) -> tuple[Lane, Lane]:
        with self._lock:
            return self.lanes


def race(a: Trace) -> tuple[Race, Callable[[OpenModel, Report], Pair]]:
    """What the page watches, and the work for the worker: A's given text written on by A's seed."""
    given = min(a.prompt_tokens, a.n_queries) or a.n_queries
    prompt = a.text[: int(a.offsets[given - 1, 1])]
    who = a.meta.policy or "gates"
    first = "with its gates" if who == "gates" else f"with {title_of(who)}"
    found = Race(prompt, NEW_TOKENS, (first, "nothing dropped"))

    def write(model: OpenModel, report: Report) -> Pair:
        from dcp.runs.recorder import Recorder

        new = min(NEW_TOKENS, model.info.context - given)
        found.planned = max(new, 0)
        sampled = a.meta.sampling
        pruned = TextRequest(
            prompt,
            model=model,
            new_tokens=found.planned,
            seed=a.meta.seed,
            temperature=0.8 if sampled.temperature is None else sampled.temperature,
            top_k=sampled.top_k or 0,
            top_p=1.0 if sampled.top_p is None else sampled.top_p,
            kv_dtype=a.meta.kv_dtype,
            **as_dropped(a.meta),
        )
        dense = replace(pruned, gate_shift=0.0, policy="none", budget=None, policy_settings=None)
        recorders = [Recorder.begin(each, report.cancelled) for each in (pruned, dense)]
        going = {which: iter(recorder) for which, recorder in enumerate(recorders)}
        while going:
            report.check()
            for which, steps in list(going.items()):
                if next(steps, None) is None:
                    del going[which]
                    continue
                trace = recorders[which].trace()
                live = recorders[which].counters().kv_bytes_live
                # The last token that is written is never read.
                last = max(given + found.planned - 1, given)
                found.full = (trace.meta.memory.entry or 0) * trace.layers * last
                done = max(trace.tokens - trace.prompt_tokens, 0)
                found.put(which, Lane(trace.text[len(prompt) :], done, live))
                report.progress(done / max(new, 1), f"Writing: {done} of {new} tokens.")
        return Pair(recorders[0].trace(), recorders[1].trace())

    return found, write


def watched(found: Race, task: Task[Pair]) -> None:
    """Both texts and their memory; looks again until ``task`` has ended."""
    live = task.status().active
    st.fragment(_look, run_every=_EVERY if live else None)(found, task, live)


def _look(found: Race, task: Task[Pair], was_live: bool) -> None:
    if was_live and not task.status().active:
        st.rerun()
    _component()(data=drawn(found), key="writing-lanes")
    st.caption(
        "Bars: live keys and values; a whole bar is what all tokens take at the end. Same text, "
        "seed and sampling; the two take turns, a token each."
    )


def drawn(found: Race) -> dict[str, Any]:
    """What the component shows; a lane that has not read the text yet has no number."""
    lanes = found.look()
    said = [size(lane.live) if lane.live else "–" for lane in lanes]
    names = [f"{letter} · {name}" for letter, name in zip("AB", found.names, strict=True)]
    return {
        "opening": tail(found.prompt),
        "label": "Live keys and values: " + ", ".join(map(" ".join, zip(names, said, strict=True))),
        "lanes": [
            {
                "name": name,
                "kind": kind,
                "size": amount,
                "width": round(100 * min(lane.live / found.full, 1), 1) if found.full else 0,
                "title": f"{name} · {lane.tokens} token{'' if lane.tokens == 1 else 's'}",
                "written": lane.text,
            }
            for name, kind, amount, lane in zip(names, ("held", "all"), said, lanes, strict=True)
        ],
    }


@cache
def _component() -> Callable[..., Any]:
    made: Callable[..., Any] = st.components.v2.component("dcp_race", js=_JS, css=_CSS)
    return made
