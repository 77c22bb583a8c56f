"""A text that grows by tokens, with the span of each. Knows the bytes of tokens alone."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Protocol

import numpy as np

from dcp.text.encoding import Encoding, Ints
from dcp.text.spans import REPLACEMENT, decode_bytes

__all__ = ["TextStream"]


class _Bytes(Protocol):
    def token_bytes(self, token: int) -> bytes: ...


class TextStream:
    """A prompt and the tokens that follow it, as text and spans at any moment.

    The rule for streaming: what ``text`` has shown stays, except that while the last character's
    bytes are still incomplete it is shown as one U+FFFD, which the following tokens replace. Bytes
    that can never become a character stay U+FFFD. So ``text`` is always the prompt's text plus the
    bytes of the continuation decoded with errors="replace".
    """

    def __init__(self, tokenizer: _Bytes, prompt: Encoding) -> None:
        self._tokenizer = tokenizer
        self._settled = [prompt.text]
        self._chars = len(prompt.text)
        self._ids = prompt.ids.tolist()
        self._spans: list[tuple[int, int]] = [(int(a), int(b)) for a, b in prompt.offsets]
        # Bytes of a character that is not complete yet. Complete or broken, it will be one
        # character, so no span ever changes.
        self._pending = b""

    def __len__(self) -> int:
        return len(self._ids)

    def append(self, ids: Iterable[int]) -> None:
        """Add generated tokens."""
        for token in ids:
            self._append(int(token))

    def _append(self, token: int) -> None:
        data = self._pending + self._tokenizer.token_bytes(token)
        chars, ends, incomplete = decode_bytes(data)
        # The token's first byte lies in the first character that ends behind the pending bytes.
        first = bisect_right(ends, len(self._pending))
        self._ids.append(token)
        self._spans.append((self._chars + first, self._chars + len(chars)))
        settled = len(chars) - incomplete
        self._settled.append(chars[:settled])
        self._chars += settled
        self._pending = data[ends[settled - 1] if settled else 0 :]

    @property
    def text(self) -> str:
        """Prompt and continuation so far."""
        if len(self._settled) > 1:
            self._settled = ["".join(self._settled)]
        return self._settled[0] + (REPLACEMENT if self._pending else "")

    @property
    def ids(self) -> Ints:
        """[T] int32."""
        return np.array(self._ids, np.int32)

    @property
    def offsets(self) -> Ints:
        """[T, 2] int32: the span of each token in ``text``."""
        return np.array(self._spans, np.int32).reshape(-1, 2)
