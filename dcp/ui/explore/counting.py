"""How many tokens a text is, and its tail that fits. No torch, no streamlit."""

from __future__ import annotations

from dcp.errors import RequestError
from dcp.model.checkpoint import Checkpoint
from dcp.model.registry import find

__all__ = ["LastCount", "count", "tail"]


def count(model: str | None, text: str) -> int:
    """Tokens of ``text`` for a model. Raises ModelError or RequestError."""
    return Checkpoint.read(find(model)).tokenizer.count(text)


class LastCount:
    """`count`, with the last answer kept. One a session: a text is not to outlive its session."""

    def __init__(self) -> None:
        self._asked: tuple[Checkpoint, str] | None = None
        self._tokens = 0

    def __call__(self, model: str | None, text: str) -> int:
        # A replaced folder is another checkpoint.
        asked = Checkpoint.read(find(model)), text
        if asked != self._asked:
            self._asked, self._tokens = asked, asked[0].tokenizer.count(text)
        return self._tokens


def tail(model: str | None, text: str, limit: int) -> str:
    """The end of ``text`` that is at most ``limit`` tokens long, begun at a word.

    Cutting a word in two can change how the rest is tokenised, so the cut moves to the next space.
    The whole text is encoded once, and an end of it a few times. Raises RequestError where nothing
    fits.
    """
    tokenizer = Checkpoint.read(find(model)).tokenizer
    encoding = tokenizer.encode(text)

    def last(room: int) -> str:
        cut = encoding.truncate(room, "last").text
        whole = cut[:1].isspace() or len(cut) == len(text)
        return cut.lstrip() if whole else _from_next_word(cut)

    fits, too_many, found = encoding.specials, limit + 1, ""
    # The first try is nearly always right.
    room = limit
    while too_many - fits > 1:
        begun = last(room)
        if tokenizer.count(begun) > limit:
            too_many = room
        elif begun.strip():
            fits, found = room, begun
        else:
            # What is shorter is white space too.
            break
        room = (fits + too_many) // 2
    if not found:
        raise RequestError(f"nothing of the text fits into {limit} tokens")
    return found


def _from_next_word(text: str) -> str:
    parts = text.split(None, 1)
    # Text without spaces has no next word: it is cut where it must be.
    return parts[1] if len(parts) == 2 else text
