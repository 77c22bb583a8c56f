"""Decoding on the device: a step of all sequences is one CUDA graph, read by the host behind it.

After the prompts a step needs nothing from the host: the token drawn is the next one read,
positions count themselves, uniforms and continuations wait in tables, a row that drew a stop token
or its last token reads no more. So a step (reading, gates, cache, attention, sampling, and what to
tell of it) is captured once for each number of lanes and replayed. The host launches `AHEAD` steps
beyond the one it reads: each leaves its tokens, counts and deaths in pinned memory. On CPU tensors
(the interpreter) the same steps run without a graph. Knows nothing of text or of traces.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dcp.engine.request import Reading, Start
from dcp.engine.sampling import draw, log_probabilities, uniform_table
from dcp.model.paged import PagedAttention
from dcp.model.transformer import Transformer

__all__ = ["AHEAD", "DecodeGraph"]

AHEAD = 4
"""Steps under way beyond the one that the host reads; fewer than a page of the pool has rows."""

# Steps without a graph before it is captured: libraries and kernels load what they need.
_WARM_UP = 2
_TOKEN, _POSITION, _MADE, _OPEN = range(4)


@dataclass(eq=False)
class _Lanes:
    """The rows that one graph serves, ``index`` [m] int64 on the device, and what it reports."""

    rows: list[int]
    index: Tensor
    report: Tensor
    steps: int = 0
    graph: torch.cuda.CUDAGraph | None = None


@dataclass(frozen=True, eq=False)
class _Flight:
    """A step that was launched and not yet read."""

    lanes: _Lanes
    report: Tensor
    begun: torch.cuda.Event | None
    over: torch.cuda.Event | None
    seconds: float


class DecodeGraph:
    """Steps of the open rows of ``attention``, whose prompts have been read."""

    @torch.inference_mode()
    def __init__(self, transformer: Transformer, attention: PagedAttention, start: Start) -> None:
        self._transformer, self._attention = transformer, attention
        self._sampling = start.sampling
        self._device: torch.device = attention.pool.device
        self._on_gpu = self._device.type == "cuda"
        batch, most = len(start.tokens), max(1, *start.wanted)
        # One row more than there are: lanes without a row write there.
        state = np.zeros((4, batch + 1), dtype=np.int64)
        state[:, :batch] = (start.tokens, start.positions, [0] * batch, np.sign(start.wanted))
        continued = np.full((batch + 1, most), -1, dtype=np.int64)
        for row, ids in enumerate(start.continuations):
            continued[row, : len(ids)] = ids[:most]
        uniform = uniform_table(
            start.sampling.seed, [*start.streams, 0], [p + 1 for p in [*start.positions, 0]], most
        )
        self._state, self._continued, self._uniform, self._wanted, self._stops = (
            torch.from_numpy(np.asarray(x)).to(self._device)
            for x in (
                state,
                continued,
                uniform,
                np.asarray([*start.wanted, 0], dtype=np.int64),
                np.asarray(start.stop_ids, dtype=np.int64),
            )
        )
        self._flights: deque[_Flight] = deque()
        self._pool = torch.cuda.graph_pool_handle() if self._on_gpu else None
        self._counted = attention.pool.counts.numel()
        self._slots = [self._slot(4 * batch + self._counted + 3) for _ in range(AHEAD)]
        self._launched = 0
        self._batch = batch
        self.rows: list[int] = []
        self.choose([row for row, wanted in enumerate(start.wanted) if wanted])

    @property
    def in_flight(self) -> int:
        """Steps launched and not yet read."""
        return len(self._flights)

    @property
    def more(self) -> list[int]:
        """The most rows that each sequence can have gained when one step more is over."""
        more = [0] * self._batch
        for row in self.rows:
            more[row] = self.in_flight + 1
        return more

    @torch.inference_mode()
    def choose(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone; the graph has a power of two of lanes, or one a row."""
        self.rows = list(rows)
        size = min(self._batch, 1 << max(0, len(rows) - 1).bit_length())
        index = torch.tensor(self.rows + [self._batch] * (size - len(rows)), device=self._device)
        report = torch.zeros(4 * size + self._counted + 3, dtype=torch.int64, device=self._device)
        self._lanes = _Lanes(self.rows, index, report)

    def shrink(self, rows: Sequence[int]) -> None:
        """`choose` the rows that are left where they need half the lanes or fewer."""
        if rows and 2 * len(rows) <= len(self._lanes.index):
            self.choose(rows)

    def forget(self) -> None:
        """The pool has moved: what was captured is void."""
        self._lanes.graph = None

    @torch.inference_mode()
    def launch(self) -> None:
        """One step more. Waits for nobody; the pool must have room for `more`, and fewer than
        `AHEAD` steps may be in flight."""
        lanes, begun, over = self._lanes, None, None
        slot = self._slots[self._launched % len(self._slots)][: len(lanes.report)]
        started = time.perf_counter()
        if self._on_gpu:
            begun, over = _event(), _event()
            begun.record()
            self._replay(lanes)
        else:
            self._step(lanes)
        slot.copy_(lanes.report, non_blocking=True)
        if over is not None:
            over.record()
        lanes.steps += 1
        self._launched += 1
        seconds = time.perf_counter() - started
        self._flights.append(_Flight(lanes, slot, begun, over, seconds))

    def read(self) -> Reading:
        """The oldest step in flight: waits for it, and for none that came after."""
        flight = self._flights.popleft()
        seconds = flight.seconds
        if flight.begun is not None and flight.over is not None:
            flight.over.synchronize()
            seconds = flight.begun.elapsed_time(flight.over) / 1000
        report = flight.report
        counts = report[-3 - self._counted : -3].view_as(self._attention.pool.counts).int()
        taken, given, logged = report[-3:].tolist()
        self._attention.note(counts.to("cpu", copy=True), given - taken, logged)
        tokens, bits, read, ended = report[: -3 - self._counted].view(4, -1)
        scores = bits.int().view(torch.float32).tolist()
        own = [i for i, did in enumerate(read.tolist()) if did]
        return Reading(
            [flight.lanes.rows[i] for i in own],
            [int(tokens[i]) for i in own],
            [scores[i] for i in own],
            [bool(ended[i]) for i in own],
            seconds,
        )

    def _replay(self, lanes: _Lanes) -> None:
        if lanes.graph is None and lanes.steps >= _WARM_UP:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool):
                self._step(lanes)
            lanes.graph = graph
        if lanes.graph is None:
            self._step(lanes)
        else:
            lanes.graph.replay()

    def _step(self, lanes: _Lanes) -> None:
        token, position, made, is_open = self._state.index_select(1, lanes.index)
        reads = is_open > 0
        rows = torch.where(reads, lanes.index, -1).int()
        attention = self._attention
        attention.begin_step(rows, position.int())
        hidden = self._transformer.hidden(token[None], position[None], attention, attention.gated)
        logits = self._transformer.head(hidden[0])
        drawn = draw(logits, self._sampling, self._at(self._uniform, lanes.index, made))
        continued = self._at(self._continued, lanes.index, made)
        chosen = torch.where(continued >= 0, continued, drawn)
        scores = log_probabilities(logits, chosen)
        stops = (continued < 0) & (chosen[:, None] == self._stops).any(dim=1)
        ends = reads & (stops | (made + 1 >= self._wanted.index_select(0, lanes.index)))
        after = torch.stack((chosen, position + 1, made + 1, (~ends).long()))
        before = torch.stack((token, position, made, is_open))
        self._state.index_copy_(1, lanes.index, torch.where(reads, after, before))
        pool = attention.pool
        torch.cat(
            (
                chosen, scores.view(torch.int32).long(), reads.long(), ends.long(),
                pool.counts.flatten().long(), pool.ends, pool.logged,
            ),
            out=lanes.report,
        )  # fmt: skip

    def _at(self, table: Tensor, index: Tensor, made: Tensor) -> Tensor:
        """table [B + 1, S] at (index, made) [m]; a row that has ended has no more to look up."""
        column = made.clamp(max=table.shape[1] - 1)
        return table.index_select(0, index).gather(1, column[:, None])[:, 0]

    def _slot(self, size: int) -> Tensor:
        return torch.zeros(size, dtype=torch.int64, pin_memory=self._on_gpu)


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
