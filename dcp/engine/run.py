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

from dcp.deaths import ALIVE
from dcp.engine.ahead import Ahead
from dcp.engine.request import Finish, Memory, Reading, Request, RowStep, Start, Step
from dcp.engine.sampling import log_probabilities, sample
from dcp.kernels.row_bytes import entry_bytes
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
        config, dtype = model.config, model.dtype
        entry = entry_bytes(config.kv_heads, config.head_dim, dtype)
        self._dense_token_bytes = config.layers * entry
        self._tokens = [list(prompt) for prompt in request.prompts]
        self._read = [0] * len(request.prompts)
        shapes = [(config.layers, length) for length in request.lengths]
        self._death = [np.full(shape, ALIVE, dtype=np.int32) for shape in shapes]
        self._margin = [np.full(shape, np.nan, dtype=np.float32) for shape in shapes]
        self._steps = self._go()

    def __next__(self) -> Step:
        return next(self._steps)

    def lives(self, row: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """death and margin [L, tokens so far] of a row as of the last step; call between steps.

        margin is the gate logit at death, or the smallest so far; nan where no gate spoke. On a
        GPU the margins of the living may know of the few steps that are already under way.
        """
        self._cache.margins(row, self._margin[row])
        # Nothing has asked about the token read last, nor read the one after it.
        self._margin[row][:, max(0, self._read[row] - 1) :] = np.nan
        seen = self._joined(row)
        death = self._death[row][:, :seen].copy()
        # A policy frees an entry one step before the first that does not see it has been read.
        death[death >= self._read[row]] = ALIVE
        return death, self._margin[row][:, :seen].copy()

    def _joined(self, row: int) -> int:
        """Tokens of the row so far: of its prompt those that were read, then all."""
        prompt, read = len(self.request.prompts[row]), self._read[row]
        return read if read < prompt else len(self._tokens[row])

    def _go(self) -> Iterator[Step]:
        carried = [math.nan] * len(self._read)
        newest: dict[int, Tensor] = {}
        while unread := [r for r, p in enumerate(self.request.prompts) if self._read[r] < len(p)]:
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
        wanted = [0] * len(self._read)
        for row in rows:
            wanted[row] = asked.lengths[row] - len(self._tokens[row])
        start = Start(
            tokens=[tokens[-1] for tokens in self._tokens],
            positions=[len(tokens) - 1 for tokens in self._tokens],
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
        for row, token, score, ended in zip(
            reading.rows, reading.tokens, reading.scores, reading.ended, strict=True
        ):
            made = len(self._tokens[row]) - len(self.request.prompts[row])
            drawn = made >= len(self.request.continuations[row])
            self._read[row] += 1
            self._tokens[row].append(token)
            finish: Finish | None = None
            if ended:
                finish = "stop" if drawn and token in self.request.stop_ids else "length"
            parts.append(self._report(row, [token], [score], finish))
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
        spans = [(r, self._read[r], min(self._read[r] + chunk, len(prompts[r]))) for r in rows]
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
            parts.append(self._report(row, prompts[row][first:stop], scores[: stop - first], ended))
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
        at = [len(self._tokens[row]) for row in rows]
        streams = [self.request.streams[row] for row in rows]
        tokens = sample(logits, self.request.sampling, streams, at).tolist()
        drawn = [True] * len(rows)
        for i, row in enumerate(rows):
            made = at[i] - len(self.request.prompts[row])
            if made < len(self.request.continuations[row]):
                tokens[i], drawn[i] = self.request.continuations[row][made], False
        scores = log_probabilities(logits, self._ids(tokens)).tolist()
        parts = []
        for i, row in enumerate(rows):
            self._tokens[row].append(tokens[i])
            ended: Finish | None = None
            if drawn[i] and tokens[i] in self.request.stop_ids:
                ended = "stop"
            elif at[i] + 1 == self.request.lengths[row]:
                ended = "length"
            parts.append(self._report(row, [tokens[i]], [scores[i]], ended))
        return Step("generate", tuple(parts), time.perf_counter() - start)

    def _decode(self, rows: Sequence[int]) -> Tensor:
        """Read the token drawn last of each row -> logits [B, V]."""
        at = [self._read[row] for row in rows]
        if self._decode_call is None:
            spans = [(row, first, first + 1) for row, first in zip(rows, at, strict=True)]
            return self._transformer.head(self._hidden(spans))
        logits = self._decode_call(rows, [self._tokens[row][-1] for row in rows], at)
        for row in rows:
            self._read[row] += 1
        return logits

    def _hidden(self, spans: Sequence[tuple[int, int, int]]) -> Tensor:
        """Read positions first … stop - 1 of each (row, first, stop) -> hidden [N, D], flat."""
        ids = [token for row, first, stop in spans for token in self._tokens[row][first:stop]]
        positions = [p for _, first, stop in spans for p in range(first, stop)]
        self._cache.begin(spans)
        hidden = self._transformer.hidden(
            self._ids(ids)[None], self._ids(positions)[None], self._cache, self._cache.gated
        )
        for row, _, stop in spans:
            self._read[row] = stop
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

    def _report(
        self, row: int, tokens: Sequence[int], scores: Sequence[float], ended: Finish | None
    ) -> RowStep:
        drops = self._cache.take_drops(row)
        if len(drops.step):
            self._death[row][drops.layer, drops.position] = drops.step
            self._margin[row][drops.layer, drops.position] = drops.margin
        held = self._cache.memory(row)
        if ended is not None:
            self._cache.margins(row, self._margin[row])
            self._cache.release(row)
        return RowStep(
            row=row,
            tokens=np.asarray(tokens, dtype=np.int32),
            logprobs=np.asarray(scores, dtype=np.float32),
            drops=drops,
            memory=Memory(**vars(held), dense=self._joined(row) * self._dense_token_bytes),
            queries=self._read[row],
            finished=ended,
        )
