"""A run under way: reads prompts in chunks, then draws a token a step; an iterator of its steps.

Knows the cache by its methods alone. On a GPU the steps after the first token come from
`dcp.engine.ahead`; on a CPU they are made here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcp.engine.ahead import Ahead
from dcp.engine.request import Finish, Reading, Request, Start, Step
from dcp.engine.row import Row
from dcp.engine.sampling import log_probabilities, sample
from dcp.kernels.row_bytes import entry_bytes
from dcp.model.cached import CachedAttention
from dcp.model.sequence_cache import SequenceCache
from dcp.model.weights import LoadedModel

__all__ = ["Run"]

Decode = Callable[[Sequence[int], Sequence[int], Sequence[int]], Tensor]
"""Sequences, the token that each reads, its position -> logits [B, V]."""

# Logits for scoring are made this many positions at a time: 128 * 50 k * 4 B = 26 MB.
_SCORED_AT_ONCE = 128


class Run(Iterator[Step]):
    """A run under way: an iterator over its steps, and the state between them."""

    def __init__(
        self,
        model: LoadedModel,
        cache: SequenceCache,
        request: Request,
        device: torch.device,
        ahead: Ahead | None = None,
        decode: Decode | None = None,
    ) -> None:
        """``ahead``: who makes the steps after the first token, where the host does not.
        ``decode``: who reads one token of each row in one call, where the model loop does not."""
        self.request, self._ahead, self._decode_call = request, ahead, decode
        self.interrupted = False
        self._transformer, self._cache, self._device = model.transformer, cache, device
        config = model.config
        entry = entry_bytes(config.kv_heads, config.head_dim, request.kv_dtype)
        asked = zip(request.prompts, request.lengths, strict=True)
        self._rows = [
            Row(row, prompt, length, config.layers, entry, cache)
            for row, (prompt, length) in enumerate(asked)
        ]
        self._steps = self._go()

    def __next__(self) -> Step:
        return next(self._steps)

    def lives(self, row: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """death and margin [L, tokens so far] of a row as of the last step; call between steps.

        margin is the gate logit at death, or the smallest so far; nan where no gate spoke. On a
        GPU the margins of the living may know of the few steps that are already under way.
        """
        return self._rows[row].lives()

    def take(self, other: Run) -> None:
        """Let every row stand where row 0 of ``other`` stands, which has read the beginning of each
        row's prompt: copies of what its cache holds, and nothing is read twice.

        Only before the first step, and on the host.
        """
        mine, theirs = self._cache, other._cache
        assert isinstance(mine, CachedAttention)
        assert isinstance(theirs, CachedAttention)
        for row in self._rows:
            row.take(other._rows[0])
            mine.copy_row(row.index, theirs, 0)

    def _go(self) -> Iterator[Step]:
        carried = [math.nan] * len(self._rows)
        newest: dict[int, Tensor] = {}
        while unread := [row.index for row in self._rows if row.read < len(row.prompt)]:
            if self._cancelled():
                return
            yield self._read_prompts(unread, carried, newest)
        rows = [row for row, new in enumerate(self.request.new_tokens) if new]
        while rows:
            if self._cancelled():
                return
            step = self._generate(rows, newest)
            rows = [part.row for part in step.rows if part.finished is None]
            yield step
            if self._ahead is not None:
                yield from self._follow(self._ahead, rows)
                return

    def _cancelled(self) -> bool:
        if not self.interrupted and self.request.cancel is not None:
            self.interrupted = self.request.cancel()
        return self.interrupted

    def _follow(self, ahead: Ahead, rows: list[int]) -> Iterator[Step]:
        """The steps of ``rows`` on the device."""
        if not rows:
            return
        asked = self.request
        wanted = [0] * len(self._rows)
        for row in rows:
            wanted[row] = asked.lengths[row] - len(self._rows[row].tokens)
        start = Start(
            tokens=[row.tokens[-1] for row in self._rows],
            positions=[len(row.tokens) - 1 for row in self._rows],
            wanted=wanted,
            # The first continued token has been taken already.
            continuations=[ids[1:] for ids in asked.continuations],
            streams=asked.streams,
            stop_ids=sorted(asked.stop_ids),
            sampling=asked.sampling,
        )
        for reading in ahead(start, self._cancelled):
            yield self._step_of(reading)

    @torch.inference_mode()
    def _step_of(self, reading: Reading) -> Step:
        parts = []
        for index, token, score, ended in zip(
            reading.rows, reading.tokens, reading.scores, reading.ended, strict=True
        ):
            row = self._rows[index]
            drawn = row.made >= len(self.request.continuations[index])
            row.read += 1
            row.tokens.append(token)
            finish: Finish | None = None
            if ended:
                finish = "stop" if drawn and token in self.request.stop_ids else "length"
            parts.append(row.report([token], [score], finish))
        return Step("generate", tuple(parts), reading.seconds)

    @torch.inference_mode()
    def _read_prompts(
        self, rows: Sequence[int], carried: list[float], newest: dict[int, Tensor]
    ) -> Step:
        """Read the next chunk of each row's prompt.

        ``carried`` keeps the log-prob of each row's next token, ``newest`` the hidden state of
        rows that have read all of their prompt.
        """
        start = time.perf_counter()
        prompts, chunk = self.request.prompts, self.request.chunk
        reads = [self._rows[row].read for row in rows]
        spans = [
            (row, first, min(first + chunk, len(prompts[row])))
            for row, first in zip(rows, reads, strict=True)
        ]
        pieces = torch.split(self._hidden(spans), [stop - first for _, first, stop in spans])
        parts = []
        for (row, first, stop), hidden in zip(spans, pieces, strict=True):
            following = prompts[row][first + 1 : stop + 1]
            scores = [carried[row], *self._scores(hidden, following)]
            carried[row] = scores[-1]
            ended: Finish | None = None
            if stop == len(prompts[row]):
                newest[row] = hidden[-1]
                ended = None if self.request.new_tokens[row] else "length"
            new = prompts[row][first:stop]
            parts.append(self._rows[row].report(new, scores[: stop - first], ended))
        return Step("prompt", tuple(parts), time.perf_counter() - start)

    @torch.inference_mode()
    def _generate(self, rows: Sequence[int], newest: dict[int, Tensor]) -> Step:
        """Read the token drawn last, unless the prompt step has just been, and draw the next."""
        start = time.perf_counter()
        if newest:
            logits = self._transformer.head(torch.stack([newest[row] for row in rows]))
            newest.clear()
        else:
            logits = self._decode(rows)
        at = [len(self._rows[row].tokens) for row in rows]
        streams = [self.request.streams[row] for row in rows]
        tokens = sample(logits, self.request.sampling, streams, at).tolist()
        drawn = [True] * len(rows)
        for i, row in enumerate(rows):
            continuation, made = self.request.continuations[row], self._rows[row].made
            if made < len(continuation):
                tokens[i], drawn[i] = continuation[made], False
        scores = log_probabilities(logits, self._ids(tokens)).tolist()
        parts = []
        for i, row in enumerate(rows):
            self._rows[row].tokens.append(tokens[i])
            ended: Finish | None = None
            if drawn[i] and tokens[i] in self.request.stop_ids:
                ended = "stop"
            elif at[i] + 1 == self.request.lengths[row]:
                ended = "length"
            parts.append(self._rows[row].report([tokens[i]], [scores[i]], ended))
        return Step("generate", tuple(parts), time.perf_counter() - start)

    def _decode(self, rows: Sequence[int]) -> Tensor:
        """Read the token drawn last of each row -> logits [B, V]."""
        at = [self._rows[row].read for row in rows]
        if self._decode_call is None:
            spans = [(row, first, first + 1) for row, first in zip(rows, at, strict=True)]
            return self._transformer.head(self._hidden(spans))
        logits = self._decode_call(rows, [self._rows[row].tokens[-1] for row in rows], at)
        for row in rows:
            self._rows[row].read += 1
        return logits

    def _hidden(self, spans: Sequence[tuple[int, int, int]]) -> Tensor:
        """Read positions first … stop - 1 of each (row, first, stop) -> hidden [N, D], flat."""
        ids = [token for row, first, stop in spans for token in self._rows[row].tokens[first:stop]]
        positions = [p for _, first, stop in spans for p in range(first, stop)]
        self._cache.begin(spans)
        hidden = self._transformer.hidden(
            self._ids(ids)[None], self._ids(positions)[None], self._cache, self._cache.gated
        )
        for row, _, stop in spans:
            self._rows[row].read = stop
        return hidden[0]

    def _ids(self, numbers: Sequence[int]) -> Tensor:
        return torch.tensor(numbers, device=self._device)

    def _scores(self, hidden: Tensor, following: Sequence[int]) -> list[float]:
        """Log-probs of the tokens that follow the first positions of hidden [n, D]."""
        if not self.request.score_prompt:
            return [math.nan] * len(following)
        scores: list[float] = []
        for start in range(0, len(following), _SCORED_AT_ONCE):
            wanted = self._ids(following[start : start + _SCORED_AT_ONCE])
            logits = self._transformer.head(hidden[start : start + len(wanted)])
            scores += log_probabilities(logits, wanted).tolist()
        return scores
