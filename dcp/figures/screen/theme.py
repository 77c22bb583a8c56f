"""What colours mean on the pages, once for all charts, and how a token is said in one.

The linked view, the text of "Put it back" and the pictures of the method use the same hues. Nothing
rests on colour alone: what shares a chart differs in dash, pattern, symbol or place as well.
"""

from __future__ import annotations

from html import escape
from typing import Any

from dcp.speech.tagger import GROUPS, group_of
from dcp.text.spans import isolated

__all__ = [
    "GONE",
    "GROUND",
    "HELD_SCALE",
    "LEGEND",
    "LOSS",
    "OTHER",
    "OVERHEAD",
    "REFERENCE",
    "RUN",
    "faded",
    "group_colour",
    "in_chart",
    "quoted",
]

RUN = "#2a8cc7"
"""The run that is shown, and what it holds: live bytes, pruned steps, A, a token made likelier."""
OTHER = "#14a97f"
"""The second of two runs: B."""
LOSS = "#d55e00"
"""Something lost: a drop, attention on dropped tokens, a token made less likely."""
REFERENCE = "#78828f"
"""No choice of the gates: dense, random and oldest-first eviction, shuffled labels, intervals."""
OVERHEAD = "#b8975f"
"""Gates asked and nothing dropped: what deciding costs by itself."""

GROUND = "rgba(128,138,152,0.10)"
"""Where nothing is: not read yet, no difference."""
GONE = "rgba(128,138,152,0.30)"
"""A dropped cell, and the band of ordinary drops."""
HELD_SCALE = [[0, "#e1e5ea"], [1, "#2c5f9b"]]
"""From nothing held to all held."""
LEGEND: dict[str, Any] = {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0}

# Kinds of words have hues of their own: blue is what is held, green the second run, orange a loss.
_VIOLET, _PINK, _OLIVE, _BROWN, _TEAL = "#7a5cc0", "#c2517f", "#8a8a1e", "#8f5b34", "#3f8f9f"
_GROUPS = {
    **dict(zip(GROUPS, (_VIOLET, _PINK, _OLIVE, _BROWN, _TEAL), strict=True)),
    "content": _VIOLET,
    "function": _OLIVE,
    "neither": _BROWN,
    "single": _VIOLET,
    "multi": _TEAL,
}


def group_colour(name: str) -> str:
    """Of a group of words, or of a tag: the one of its group."""
    return _GROUPS.get(name) or _GROUPS[group_of(name)]


def faded(colour: str, opacity: float = 0.16) -> str:
    """
    >>> faded("#2a8cc7")
    'rgba(42,140,199,0.16)'
    """
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def quoted(piece: str) -> str:
    """A token as a word in a sentence: in quotes, line breaks visible, never long, and
    turning no other word around.

    >>> quoted(" in")
    '“in”'
    """
    shown = piece.replace("\n", "↵").replace("\t", "⇥")
    shown = shown.strip() or shown.replace(" ", "␣")
    return f"“{isolated(shown[:40])}”"


def in_chart(piece: str) -> str:
    """A token as a chart says it: escaped, because plotly reads some HTML; never long."""
    return escape(isolated(piece.replace("\n", "↵")[:40]))
