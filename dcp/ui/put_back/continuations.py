"""Two continuations side by side, their differences marked; and the page's scroll to an answer.

The browser shows all text as plain text: nothing is put together as markup here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from functools import cache
from typing import Any

import streamlit as st

from dcp.figures.screen.theme import quoted
from dcp.runs.effects import Rewritten
from dcp.runs.plans import Plan
from dcp.stats.policies import in_words
from dcp.trace import Trace

__all__ = ["continuations", "marked", "tail", "to_here"]

_BEFORE = 90
"""Characters of the text before that are shown."""
_CSS = """
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: 0.8rem; }
.two section { border: 1px solid rgba(120, 130, 143, 0.45); border-radius: 8px;
  padding: 0.7rem 0.9rem; }
.two h3 { margin: 0 0 0.35rem; font: 600 0.875rem/1.3 var(--st-font, sans-serif); }
.two p { margin: 0; font: 1.02rem/1.6 "Source Serif", Georgia, serif; white-space: pre-wrap;
  overflow-wrap: anywhere; unicode-bidi: isolate; }
.two mark { background: rgba(42, 140, 199, 0.2); color: inherit; border-radius: 2px;
  border-bottom: 2px solid #2a8cc7; }
"""
_TWO = """
export default function ({ parentElement, data }) {
  parentElement.querySelector(".two")?.remove();
  const two = document.createElement("div");
  two.className = "two";
  for (const { title, opening, parts } of data.columns) {
    const box = two.appendChild(document.createElement("section"));
    box.appendChild(document.createElement("h3")).textContent = title;
    const text = box.appendChild(document.createElement("p"));
    text.append(opening);
    for (const [piece, differs] of parts) {
      if (differs) text.appendChild(document.createElement("mark")).textContent = piece;
      else text.append(piece);
    }
  }
  parentElement.appendChild(two);
}
"""
_SCROLL = """
let last = "";
export default function ({ parentElement, data }) {
  if (!data || data.id === last) return;
  last = data.id;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const host = parentElement.host || parentElement;
  host.scrollIntoView({ behavior: still ? "auto" : "smooth", block: "start" });
}
"""


def continuations(trace: Trace, plan: Plan, written: Rewritten) -> None:
    """What the model wrote, and what it would have written, with one seed."""
    name = quoted(trace.pieces()[plan.token])
    fate = "kept" if plan.kind == "put back" else "dropped"
    titles = ("What it writes, as it was", f"What it would have written, {name} {fate}")
    opening = tail("".join(trace.fragments()[: written.start]))
    columns = [
        {"title": title, "opening": opening, "parts": parts}
        for title, parts in zip(titles, marked(written.as_was, written.changed), strict=True)
    ]
    _component("dcp_continuations", _TWO, _CSS)(data={"columns": columns}, key="put-written")
    same = written.apart
    said = f"The same for {same} token{'' if same == 1 else 's'}; marked: what differs."
    if same is None:
        said = f"The next {len(written.as_was)} tokens are the same, word for word."
    at = "where the model began to write" if written.start <= trace.prompt_tokens else "at the drop"
    policy = trace.meta.policy
    st.caption(
        f"{said} Both begin {at}, with the recorded seed and sampling, so chance is the same; "
        f"{in_words(policy or 'gates')} decide{'' if policy in (None, 'gates') else 's'} the rest "
        f"anew{_beside(trace, plan)}. One draw that turns takes all after it along: how "
        "much more or less likely the words became is below."
    )


def tail(text: str) -> str:
    """The end of ``text``, from the beginning of a word.

    >>> tail("a" * 80 + " the lighthouse keeper's cat")
    "… the lighthouse keeper's cat"
    """
    end = text[-_BEFORE:]
    if len(end) == len(text):
        return text
    _, space, words = end.partition(" ")
    return f"… {words if space and words.strip() else end}"


def _beside(trace: Trace, plan: Plan) -> str:
    """Where a kept token lies under a budget, which it does not use up."""
    if trace.meta.budget is None or plan.kind == "drop now":
        return ""
    return f", and {quoted(trace.pieces()[plan.token])} has a place of its own beside the budget"


Parts = list[tuple[str, bool]]


def marked(one: Sequence[str], two: Sequence[str]) -> tuple[Parts, Parts]:
    """Both in parts: text, and whether the other has something else there.

    >>> marked(["a", " b"], ["a", " c"])
    ([('a', False), (' b', True)], [('a', False), (' c', True)])
    """
    left: Parts = []
    right: Parts = []
    matcher = SequenceMatcher(None, list(one), list(two), autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        for out, part in ((left, one[a:b]), (right, two[c:d])):
            if part:
                out.append(("".join(part), kind != "equal"))
    return left, right


def to_here(name: str) -> None:
    """Scroll the page to this place, once for each ``name``."""
    _component("dcp_scroll_here", _SCROLL)(data={"id": name}, key="put-here")


@cache
def _component(name: str, js: str, css: str | None = None) -> Callable[..., Any]:
    made: Callable[..., Any] = st.components.v2.component(name, js=js, css=css)
    return made
