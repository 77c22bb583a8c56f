"""The same text written on twice at once, with the gates and with nothing dropped, as it happens.

The worker's thread takes a step of each in turn and leaves what there is in a `Race`; the page
looks at it a few times a second. The one that drops nothing runs on the same
weights, its gates unused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import streamlit as st

from dcp.runs.request import TextRequest, as_dropped
from dcp.stats.compare import Pair
from dcp.stats.policies import title_of
from dcp.trace import Trace
from dcp.trace.amounts import size
from dcp.ui.task import Report, Task

if TYPE_CHECKING:
    from dcp.model.registry import OpenModel

__all__ = ["NEW_TOKENS", "Race", "race", "watched"]

NEW_TOKENS = 80
_EVERY = 0.3
_CSS = """
<style>
.race { display: grid; grid-template-columns: 6.5rem 1fr 5.5rem; gap: 0.3rem 0.6rem;
  align-items: center; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
.race i { display: block; height: 0.9rem; border-radius: 2px; background: #2a8cc7; }
.race i.all { background: none; border: 1.5px solid #78828f; box-sizing: border-box; }
</style>
"""


@dataclass(frozen=True)
class Lane:
    """One of the two at one moment: what it wrote, and the live bytes of keys and values."""

    text: str = ""
    tokens: int = 0
    live: int = 0


@dataclass
class Race:
    """Both, written by the worker's thread and read by the page's."""

    prompt: str
    planned: int
    names: tuple[str, str] = ("with its gates", "nothing dropped")
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
                done = max(trace.tokens - trace.prompt_tokens, 0)
                found.put(which, Lane(trace.text[len(prompt) :], done, live))
                report.progress(done / max(new, 1), f"Writing: {done} of {new} tokens.")
        return Pair(recorders[0].trace(), recorders[1].trace())

    return found, write


def watched(found: Race, task: Task[Pair]) -> None:
    """Both texts and their memory; looks again until ``task`` has ended."""
    st.html(_CSS)
    live = task.status().active
    st.fragment(_look, run_every=_EVERY if live else None)(found, task, live)


def _look(found: Race, task: Task[Pair], was_live: bool) -> None:
    if was_live and not task.status().active:
        st.rerun()
    lanes = found.look()
    most = max(*(lane.live for lane in lanes), 1)
    names = found.names
    rows = "".join(
        f'<span>{name}</span><span><i class="{kind}" style="width:{100 * lane.live / most:.1f}%">'
        f"</i></span><span>{size(lane.live)}</span>"
        for name, kind, lane in zip(names, ("held", "all"), lanes, strict=True)
    )
    st.html(f'<div class="race" role="img" aria-label="{_alt(found)}">{rows}</div>')
    st.caption(
        "Live keys and values. Same text, seed and sampling; the two take turns, a token each."
    )
    for column, name, lane in zip(st.columns(2), names, lanes, strict=True):
        with column.container(border=True):
            st.text(f"{name[:1].upper()}{name[1:]} · {lane.tokens} tokens")
            st.text(f"… {found.prompt[-90:]}{lane.text}")


def _alt(found: Race) -> str:
    return ", ".join(
        f"{size(lane.live)} {name}" for name, lane in zip(found.names, found.look(), strict=True)
    )
