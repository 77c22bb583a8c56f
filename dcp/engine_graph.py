"""Decoding of a whole batch on the device: reading, sampling and bookkeeping, one graph a step.

After the prompts, a step of all sequences of a `PagedAttention` needs nothing from the host: the
token drawn is the next one read, positions count themselves, uniforms wait in a table. So a step is
captured once as a CUDA graph and replayed. On CPU tensors (the interpreter) the same step runs
without a graph. Every sequence goes on until the end: rows that stop early belong to the engine.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dcp.config import Sampling
from dcp.model.paged import PagedAttention
from dcp.model.transformer import Transformer
from dcp.sampling import draw, uniforms

__all__ = ["DecodeGraph"]

# The host looks at the pool this often: in between, a step waits for nobody.
_LOOK_EVERY = 16
_WARM_UP = 3


class DecodeGraph:
    """``tokens`` [B] are the last token of each sequence, not yet read; ``positions`` [B] theirs.

    drawn [steps, B] int64 on the device fills as `run` goes on.
    """

    def __init__(
        self,
        transformer: Transformer,
        attention: PagedAttention,
        tokens: Tensor,
        positions: Tensor,
        sampling: Sampling,
        steps: int,
        betas: list[float],
    ) -> None:
        """``betas`` [L]: the gates' offsets, shift included. ``steps``: the most that will run."""
        device = tokens.device
        batch = len(tokens)
        self.steps, self.done = steps, 0
        self.drawn = torch.zeros(steps, batch, dtype=torch.int64, device=device)
        self._transformer, self._attention, self._betas = transformer, attention, betas
        self._tokens = tokens.clone()
        self._positions = positions.to(torch.int64).clone()
        self._rows = torch.arange(batch, dtype=torch.int32, device=device)
        self._sampling = sampling
        first = positions.tolist()
        self._uniforms = torch.stack(
            [
                torch.from_numpy(
                    uniforms(sampling.seed, list(range(batch)), [p + 1 + i for p in first])
                )
                for i in range(steps)
            ]
        ).to(device)
        self._step = torch.zeros(1, dtype=torch.int64, device=device)
        self._graph: torch.cuda.CUDAGraph | None = None

    def run(self, steps: int) -> None:
        """Go on for ``steps``. Raises DeviceError before a step that the pool could not hold."""
        for i in range(steps):
            if i % _LOOK_EVERY == 0:
                self._attention.require(min(_LOOK_EVERY, steps - i))
            self.step()
        self._attention.touched()

    @torch.inference_mode()
    def step(self) -> None:
        """One step, without a look at the pool."""
        if self._tokens.device.type != "cuda":
            self._read_and_draw()
        elif self._graph is not None:
            self._graph.replay()
        elif self.done < _WARM_UP:
            # A side stream, as capture wants its libraries warmed up: these are real steps.
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                self._read_and_draw()
            torch.cuda.current_stream().wait_stream(side)
        else:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._read_and_draw()
            self._graph.replay()
        self.done += 1

    def _read_and_draw(self) -> None:
        steps = self._positions.to(torch.int32)

        def attend(
            layer: int, q: Tensor, k: Tensor, v: Tensor,
            q_int: Tensor | None, k_int: Tensor | None, beta: Tensor | None,
        ) -> Tensor:  # fmt: skip
            out: Tensor = self._attention.pool.decode(
                layer, self._rows, steps, q[0], k[0], v[0],
                None if q_int is None else q_int[0], None if k_int is None else k_int[0],
                self._betas[layer], self._attention.orders,
            )  # fmt: skip
            return out[None]

        hidden = self._transformer.hidden(
            self._tokens[None], self._positions[None], attend, self._attention.gated
        )
        logits = self._transformer.head(hidden[0])
        uniform = self._uniforms.index_select(0, self._step)[0]
        tokens = draw(logits, self._sampling, uniform)
        self.drawn.index_copy_(0, self._step, tokens[None])
        self._tokens.copy_(tokens)
        self._positions += 1
        self._step += 1
