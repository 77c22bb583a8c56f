"""A text and its tokens, with the span of each in the text. Knows no tokenizer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dcp.errors import RequestError

__all__ = ["Encoding", "Ints"]

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Encoding:
    """A text and its tokens.

    text            exactly as given (or cut, by `truncate`)
    ids      [T]    int32
    offsets  [T, 2] int32, span of each token in ``text`` in Unicode code points; empty for a
                    special token that the tokenizer put in front
    specials        how many such tokens lead
    """

    text: str
    ids: Ints
    offsets: Ints
    specials: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def truncate(self, limit: int, keep: str) -> Encoding:
        """At most ``limit`` tokens: the ``keep="first"`` or ``keep="last"`` ones, and their text.

        Leading special tokens stay. No character is cut: where the limit falls inside one whose
        bytes are several tokens, all of them go. Raises RequestError when nothing would be left.
        """
        if len(self) <= limit:
            return self
        room = max(limit - self.specials, 0)
        head, starts, ends = self.specials, self.offsets[:, 0], self.offsets[:, 1]
        if keep == "last":
            first = max(len(self) - room, head)
            while first < len(self) and starts[first] < ends[first - 1]:
                first += 1
            kept, begin, end = np.r_[:head, first : len(self)], ends[first - 1], len(self.text)
        else:
            last = head + room
            while last > head and starts[last] < ends[last - 1]:
                last -= 1
            kept, begin, end = np.r_[:last], 0, ends[last - 1] if last else 0
        if len(kept) == head:
            raise RequestError(f"no text is left when only {limit} tokens may stay")
        offsets = np.clip(self.offsets[kept] - begin, 0, None).astype(np.int32)
        return Encoding(self.text[begin:end], self.ids[kept], offsets, head)
