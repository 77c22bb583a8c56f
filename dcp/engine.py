"""Token ids in, an iterator of `Step` out. Blind to text, files and screens.

    engine = Engine(load(folder))
    run = engine.run([[5, 9, 2], [7]], new_tokens=20, sampling=Sampling(temperature=0))
    for step in run:
        for part in step.rows:
            print(part.row, part.tokens, part.drops.position)
    death, margin = run.lives(0)

Prompts go in chunks with compaction between them, the rows of a batch together and without padding;
then one token a step. A step first reads (its queries score, drop and attend), then draws. The
token drawn last is never read: it has no life yet.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcp.config import Sampling
from dcp.engine_request import Finish, Memory, Request, RowStep, Step
from dcp.forced import ForcedDeaths
from dcp.kernels import ALIVE, api
from dcp.model.cached import CachedAttention
from dcp.model.paged import PagedAttention
from dcp.model.weights import LoadedModel
from dcp.sampling import log_probabilities, sample

__all__ = ["Engine", "Memory", "RowStep", "Run", "Step"]

# Logits for scoring are made this many positions at a time: 128 * 50 k * 4 B = 26 MB.
_SCORED_AT_ONCE = 128


class Engine:
    """A loaded model and the implementation it runs on."""

    def __init__(self, model: LoadedModel, impl: str = "auto") -> None:
        """Raises DeviceError when ``impl`` cannot run here. A GPU gets a copy of the weights."""
        device = api.device_of(impl)
        self.kernels = api.kernels(impl, device)
        if device != "cpu":
            moved = copy.deepcopy(model.transformer).to(device)
            model = dataclasses.replace(model, transformer=moved)
        self.model, self.device = model, torch.device(device)
        model.transformer.fuse()

    @property
    def impl(self) -> str:
        return self.kernels.name

    def run(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        new_tokens: int | Sequence[int],
        sampling: Sampling | None = None,
        gate_shift: float = 0.0,
        stop_ids: Sequence[int] = (),
        forced: Sequence[Sequence[int]] | None = None,
        deaths: Sequence[ForcedDeaths | None] | None = None,
        prune: bool = True,
        chunk: int = 128,
        score_prompt: bool = True,
        streams: Sequence[int] | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> Run:
        """Start a run of B rows; iterate over what comes back.

        prompts       [B] lists of ids, each of at least one
        new_tokens    how many to add to each row, one number for all or one per row
        gate_shift    added to every layer's beta
        stop_ids      a row ends after it drew one of these
        forced        [B] continuations taken in place of drawn tokens, as far as they go
        deaths        [B] orders that overrule the gates, or None for a row left to them
        prune         False turns the gates off: nothing dies but by order
        chunk         prompt tokens of a row that are read at once, compaction between
        score_prompt  False leaves the log-probs of prompt tokens nan, which is faster
        streams       [B] names of the rows for sampling, 0, 1, … by default: under its name a row
                      draws the same tokens in every batch
        cancel        asked before each step; True ends the run there

        Raises RequestError in one line for anything that does not fit the model.
        """
        batch = len(prompts)
        request = Request(
            prompts=tuple(tuple(prompt) for prompt in prompts),
            new_tokens=(new_tokens,) * batch if isinstance(new_tokens, int) else tuple(new_tokens),
            sampling=sampling or Sampling(),
            gate_shift=gate_shift,
            stop_ids=frozenset(stop_ids),
            forced=((),) * batch if forced is None else tuple(tuple(ids) for ids in forced),
            deaths=(None,) * batch if deaths is None else tuple(deaths),
            prune=prune,
            chunk=chunk,
            score_prompt=score_prompt,
            streams=tuple(range(batch)) if streams is None else tuple(streams),
            cancel=cancel,
        )
        request.check(self.model.config)
        return Run(self, request)


class Run(Iterator[Step]):
    """A run under way: an iterator over its steps, and the state between them."""

    def __init__(self, engine: Engine, request: Request) -> None:
        self.request = request
        self.interrupted = False
        self._transformer = engine.model.transformer
        config, gates, dtype = engine.model.config, engine.model.gates, engine.model.dtype
        self._device = engine.device
        interaction = gates.interaction if gates and request.prune else 0
        self._cache: CachedAttention | PagedAttention
        if engine.kernels.pool is None:
            self._cache = CachedAttention(
                config, engine.kernels, dtype, request.lengths, interaction=interaction,
                gate_shift=request.gate_shift, forced=request.deaths,
            )  # fmt: skip
        else:
            self._cache = PagedAttention(
                config, engine.kernels, dtype, engine.device, request.lengths,
                interaction=interaction, gate_shift=request.gate_shift, forced=request.deaths,
            )  # fmt: skip
        self._dense_token_bytes = (
            2 * config.layers * config.kv_heads * config.head_dim * dtype.itemsize
        )
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

        margin is the gate logit at death, or the smallest so far; nan where no gate spoke.
        """
        self._cache.margins(row, self._margin[row])
        seen = self._joined(row)
        return self._death[row][:, :seen].copy(), self._margin[row][:, :seen].copy()

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

    def _cancelled(self) -> bool:
        self.interrupted = self.request.cancel is not None and self.request.cancel()
        return self.interrupted

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
            hidden = torch.stack([newest[row] for row in rows])
            newest.clear()
        else:
            hidden = self._hidden([(r, self._read[r], self._read[r] + 1) for r in rows])
        logits = self._transformer.head(hidden)
        at = [len(self._tokens[row]) for row in rows]
        streams = [self.request.streams[row] for row in rows]
        tokens = sample(logits, self.request.sampling, streams, at).tolist()
        drawn = [True] * len(rows)
        for i, row in enumerate(rows):
            made = at[i] - len(self.request.prompts[row])
            if made < len(self.request.forced[row]):
                tokens[i], drawn[i] = self.request.forced[row][made], False
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
        bytes_of = self._cache.memory(row)
        if ended is not None:
            self._cache.margins(row, self._margin[row])
            self._cache.release(row)
        return RowStep(
            row=row,
            tokens=np.asarray(tokens, dtype=np.int32),
            logprobs=np.asarray(scores, dtype=np.float32),
            drops=drops,
            memory=Memory(
                bytes_of.live,
                bytes_of.held,
                bytes_of.peak,
                self._joined(row) * self._dense_token_bytes,
            ),
            queries=self._read[row],
            finished=ended,
        )
