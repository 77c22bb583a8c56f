"""The rows behind a pruned `transformers` cache, and what became of every token.

They lie in a cache of `dcp.model`, each layer of each sequence with a length of its own, and are
freed when a token is dropped. Padding is never a row. Knows hooks, models and `transformers` not at
all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcp.deaths import ALIVE
from dcp.errors import RequestError
from dcp.kernels.gates import Gates
from dcp.model.sequence_cache import SequenceCache

__all__ = ["CopiedCache", "Home", "Rows"]


class CopiedCache(SequenceCache, Protocol):
    """A cache whose sequences can be taken over, as beams and copies ask for."""

    def copy_row(self, row: int, source: Any, taken: int) -> None:
        """Make the empty sequence ``row`` what sequence ``taken`` of ``source`` is."""


@dataclass(frozen=True, eq=False)
class Home:
    """Where rows lie and who makes their cache.

    make      prompt length of each sequence, dtype of keys and values -> an empty cache
    layers    L
    context   the most tokens of a sequence
    device    where the cache computes; what it reads is moved there
    chunk     queries of a prompt that are read at once, compaction between
    """

    make: Callable[[Sequence[int], torch.dtype], CopiedCache]
    layers: int
    context: int
    device: torch.device
    chunk: int


@dataclass(frozen=True, eq=False)
class _Part:
    """What is read at once: spans of the sequences, and where their tokens lie in the batch."""

    spans: list[tuple[int, int, int]]
    rows: Tensor
    places: Tensor


class Rows:
    """The rows of B sequences.

    ids      [B] lists: tokens read so far, padding left out
    death    [B] of [L, context] int32; margin: the gate logit at each death, float32
    scores   [B] lists: log-probability of each token where its logits were seen, nan elsewhere
    last     [B, V] float32: logits of the token that comes next, nan where nobody saw them
    padded   tokens seen, padding included: what `transformers` counts positions from
    reading  whether a forward is under way
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.clear()

    def clear(self) -> None:
        """As new: nothing read, no memory held."""
        self._cache: CopiedCache | None = None
        self._prompts: list[int] = []
        self._places: list[Tensor] = []
        self._parts: list[_Part] = []
        self._length = 0
        self.dtype = torch.float32
        self.padded = 0
        self.reading = False
        self.ids: list[list[int]] = []
        self.scores: list[list[float]] = []
        self.death: list[npt.NDArray[np.int32]] = []
        self.margin: list[npt.NDArray[np.float32]] = []
        self.last: Tensor | None = None

    @property
    def cache(self) -> CopiedCache:
        """Where the rows lie; RequestError before anything has been read."""
        if self._cache is None:
            raise RequestError("nothing has been read yet: call the model first")
        return self._cache

    def start(self, prompts: Sequence[int], dtype: torch.dtype) -> None:
        """Make room for ``len(prompts)`` sequences, whose prompts have so many tokens."""
        self._prompts, self.dtype = list(prompts), dtype
        with torch.inference_mode():
            self._cache = self.home.make(self._prompts, dtype)
        self.ids = [[] for _ in prompts]
        self.scores = [[] for _ in prompts]
        shape = (self.home.layers, self.home.context)
        self.death = [np.full(shape, ALIVE, dtype=np.int32) for _ in prompts]
        self.margin = [np.full(shape, np.nan, dtype=np.float32) for _ in prompts]

    def begin(self, ids: Tensor, mask: Tensor | None, dtype: torch.dtype) -> None:
        """Say what the next forward reads: ids [B, T], mask [B, at least T] or None, 1 for tokens.

        ``dtype`` of keys and values counts for the first forward. Raises RequestError before
        anything has changed.
        """
        batch, length = ids.shape
        if self.reading:
            raise RequestError(
                "the last call on this cache was cut off in the middle: make a new one with "
                "dcp.hf.cache(model)"
            )
        if self._cache is not None and batch != len(self.ids):
            raise RequestError(f"this cache holds {len(self.ids)} sequences, not {batch}")
        own = torch.ones(batch, length, dtype=torch.bool)
        if mask is not None:
            if mask.ndim != 2 or len(mask) != batch or mask.shape[1] < length:
                raise RequestError(
                    f"a pruned model takes an attention mask of padding, {batch} x {length} or "
                    f"longer, not {tuple(mask.shape)}"
                )
            own = mask[:, -length:].to("cpu", torch.bool)
        places = [row.nonzero()[:, 0] for row in own]
        before = [len(row) for row in self.ids] or [0] * batch
        longest = max((n + len(new) for n, new in zip(before, places, strict=True)), default=0)
        if longest > self.home.context:
            raise RequestError(
                f"{longest} tokens do not fit the model's context of {self.home.context}"
            )
        if self._cache is None:
            self.start([len(new) for new in places], dtype)
        read = ids.to("cpu")
        for row, new in enumerate(places):
            self.ids[row] += read[row, new].tolist()
        self._length, self._places, self.reading = length, places, True
        self._parts = [_part(places, before, at, self.home.chunk) for at in self._starts(places)]

    def _starts(self, places: Sequence[Tensor]) -> range:
        return range(0, max(map(len, places), default=0), self.home.chunk)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, gates: Gates | None) -> Tensor:
        """q [B, T, H, d], k and v [B, T, H_kv, d], gates of [B, T, r] -> [B, T, H, d]; 0 where
        there is padding."""
        out, device = torch.zeros_like(q), self.home.device
        for part in self._parts:
            if layer == 0 or len(self._parts) > 1:
                self.cache.begin(part.spans)
            rows, places = part.rows.to(q.device), part.places.to(q.device)
            ours, keys, values = (x[rows, places][None].to(device, self.dtype) for x in (q, k, v))
            given = None
            if gates is not None:
                q_int, k_int = (
                    x[rows, places][None].to(device) for x in (gates.q_int, gates.k_int)
                )
                given = Gates(q_int, k_int, gates.beta)
            read = self.cache(layer, ours, keys, values, given)
            out[rows, places] = read[0].to(out.device, out.dtype)
        if layer == self.home.layers - 1:
            self._take_drops()
        return out

    def end(self) -> None:
        """The forward is over: only now are its tokens seen, for positions count from them."""
        self.padded += self._length
        self.reading = False

    def told(self, logits: Tensor) -> None:
        """Note how likely the tokens were: logits [B, kept, V] of the last positions read."""
        kept, length = logits.shape[1], self._length
        last = torch.full((len(logits), logits.shape[2]), math.nan)
        for row, places in enumerate(self._places):
            scores, ids = self.scores[row], self.ids[row]
            begun = len(ids) - len(places)
            scores += [math.nan] * (begun - len(scores))
            # The first token just read was foretold by the call before, the others by this one.
            for at in range(len(scores), len(ids)):
                before = int(places[at - begun - 1]) - (length - kept) if at > begun else None
                if before is not None and before >= 0:
                    scores.append(float(logits[row, before].float().log_softmax(-1)[ids[at]]))
                elif before is None and self.last is not None:
                    scores.append(float(self.last[row].log_softmax(-1)[ids[at]]))
                else:
                    scores.append(math.nan)
            newest = int(places[-1]) - (length - kept) if len(places) else -1
            if newest >= 0:
                last[row] = logits[row, newest].float().cpu()
            elif not len(places) and self.last is not None:
                last[row] = self.last[row]
        self.last = last

    def select(self, rows: Sequence[int]) -> None:
        """Keep these sequences, in this order; one may be taken twice."""
        if self._cache is None:
            return
        prompts = [self._prompts[row] for row in rows]
        with torch.inference_mode():
            made = self.home.make(prompts, self.dtype)
            for new, old in enumerate(rows):
                made.copy_row(new, self._cache, old)
        self._cache, self._prompts = made, prompts
        self.ids = [list(self.ids[row]) for row in rows]
        self.scores = [list(self.scores[row]) for row in rows]
        self.death = [self.death[row].copy() for row in rows]
        self.margin = [self.margin[row].copy() for row in rows]
        if self.last is not None:
            self.last = self.last[list(rows)]

    def __deepcopy__(self, memo: dict[int, Any]) -> Rows:
        """Rows of its own: a prompt that was read once can be continued in several ways."""
        other = Rows(self.home)
        vars(other).update(vars(self))
        other.select(range(len(self.ids)))
        return other

    def _take_drops(self) -> None:
        for row, death in enumerate(self.death):
            drops = self.cache.take_drops(row)
            death[drops.layer, drops.position] = drops.step
            self.margin[row][drops.layer, drops.position] = drops.margin


def _part(places: Sequence[Tensor], before: Sequence[int], at: int, chunk: int) -> _Part:
    """The chunk that begins ``at`` tokens into what is new, of every sequence that has one."""
    spans, rows, found = [], [], []
    for row, (own, first) in enumerate(zip(places, before, strict=True)):
        some = own[at : at + chunk]
        if len(some):
            spans.append((row, first + at, first + at + len(some)))
            rows += [row] * len(some)
            found.append(some)
    return _Part(spans, torch.tensor(rows), torch.cat(found))
