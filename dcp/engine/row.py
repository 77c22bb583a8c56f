"""One row of a run: the tokens it has read and drawn, and what each layer has dropped of them.

Knows the cache by its methods alone; nothing of models, sampling or when a step is made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dcp.deaths import ALIVE
from dcp.engine.request import Finish, Memory, RowStep
from dcp.model.sequence_cache import SequenceCache

__all__ = ["Row"]


class Row:
    """Row ``index`` of a batch.

    tokens  prompt, then what was drawn or given
    read    how many of the tokens have been queries
    """

    def __init__(
        self,
        index: int,
        prompt: Sequence[int],
        length: int,
        layers: int,
        entry: int,
        cache: SequenceCache,
    ) -> None:
        """``length``: tokens the row can reach; ``entry``: bytes of a key and value in a layer."""
        self.index, self.prompt = index, prompt
        self.tokens, self.read = list(prompt), 0
        self._cache, self._dense_token_bytes = cache, layers * entry
        self._death = np.full((layers, length), ALIVE, dtype=np.int32)
        self._margin = np.full((layers, length), np.nan, dtype=np.float32)

    def take(self, other: Row) -> None:
        """Stand where ``other`` stands in the same tokens; what its cache holds is another's."""
        assert self.tokens[: other.read] == other.tokens[: other.read]
        assert not len(self._cache.take_drops(self.index).step)
        self.read = other.read
        self._death[:, : other.read] = other._death[:, : other.read]
        self._margin[:, : other.read] = other._margin[:, : other.read]

    @property
    def made(self) -> int:
        """Tokens after the prompt."""
        return len(self.tokens) - len(self.prompt)

    @property
    def _joined(self) -> int:
        """Tokens of the row so far: of its prompt those that were read, then all."""
        return self.read if self.read < len(self.prompt) else len(self.tokens)

    def lives(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """death and margin [L, tokens so far] as of the last step; see `Run.lives`."""
        self._cache.margins(self.index, self._margin)
        # Nothing has asked about the token read last, nor read the one after it.
        self._margin[:, max(0, self.read - 1) :] = np.nan
        seen = self._joined
        death = self._death[:, :seen].copy()
        # A policy frees an entry one step before the first that does not see it has been read.
        death[death >= self.read] = ALIVE
        return death, self._margin[:, :seen].copy()

    def report(
        self, tokens: Sequence[int], scores: Sequence[float], ended: Finish | None
    ) -> RowStep:
        """What a step brought, and what died in it; a row that has ended gives its memory back.

        tokens: those that joined; scores: their log-probabilities.
        """
        drops = self._cache.take_drops(self.index)
        if len(drops.step):
            self._death[drops.layer, drops.position] = drops.step
            self._margin[drops.layer, drops.position] = drops.margin
        held = self._cache.memory(self.index)
        if ended is not None:
            self._cache.margins(self.index, self._margin)
            self._cache.release(self.index)
        return RowStep(
            row=self.index,
            tokens=np.asarray(tokens, dtype=np.int32),
            logprobs=np.asarray(scores, dtype=np.float32),
            drops=drops,
            memory=Memory(**vars(held), dense=self._joined * self._dense_token_bytes),
            queries=self.read,
            finished=ended,
        )
