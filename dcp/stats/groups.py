"""Groups of words: by their tag, and by how many tokens carry them. Names, order, labels, once.

A word of no known tag belongs to no group. Knows no lives and no rates.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from dcp.speech.tagger import CLASSES, GROUPS, UPOS, class_of, group_of

__all__ = [
    "BY",
    "PIECES",
    "SPACES",
    "TAGGED",
    "By",
    "group_label",
    "group_names",
    "group_of_tag",
    "groups_of_tags",
    "trigger_groups",
    "trigger_names",
]

By = Literal["pos", "group", "class", "pieces", "layer", "position", "frequency"]
"""What words can be grouped by; the first four have groups that are the same for every text."""
BY: tuple[By, ...] = get_args(By)

TAGGED: tuple[By, ...] = ("pos", "group", "class")
"""Groupings that rest on the tagger; their words are of one token unless asked otherwise."""

PIECES = ("single", "multi")
"""Words of one token and of several."""

SPACES = ("newline", "space", "end", "untagged")
"""What a token can be that belongs to no tagged word: a line break, other white space, the end of a
text, anything else."""

_NAMES: dict[By, tuple[str, ...]] = {
    "pos": UPOS,
    "group": tuple(GROUPS),
    "class": tuple(CLASSES),
    "pieces": PIECES,
}
_LABELS = {
    "naming": "nouns, adjectives",
    "verbal": "verbs, adverbs",
    "content": "content words",
    "function": "function words",
    "number-other": "number, other",
    "neither": "punctuation, other",
    "single": "one token",
    "multi": "several tokens",
    "newline": "line break",
    "space": "white space",
    "end": "end of text",
    "untagged": "no tag",
}


def group_names(by: By) -> tuple[str, ...]:
    """The groups of "pos", "group", "class" or "pieces", in the order charts show them."""
    return _NAMES[by]


def group_label(name: str) -> str:
    """A group's name as it is shown.

    >>> group_label("number-other"), group_label("NOUN")
    ('number, other', 'NOUN')
    """
    return _LABELS.get(name, name)


def group_of_tag(by: By, pos: str) -> str:
    """The group of a tag by "pos", "group" or "class".

    >>> group_of_tag("class", "DET")
    'function'
    """
    return {"group": group_of, "class": class_of}.get(by, str)(pos)


def groups_of_tags(by: By) -> npt.NDArray[np.int64]:
    """[17] int64: for each tag of ``UPOS``, where its group stands in `group_names`."""
    names = group_names(by)
    return np.array([names.index(group_of_tag(by, pos)) for pos in UPOS], np.int64)


def trigger_names(by: By) -> tuple[str, ...]:
    """What is read, in the order charts show it: the groups of ``by``, then `SPACES`."""
    return (*group_names(by), *SPACES)


def trigger_groups(by: By) -> npt.NDArray[np.int64]:
    """[21] int64: for each tag of ``UPOS`` and then of `SPACES`, its place in `trigger_names`."""
    names = group_names(by)
    return np.concatenate([groups_of_tags(by), len(names) + np.arange(len(SPACES))])
