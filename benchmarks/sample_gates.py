"""Write the gate logits that the method page draws: the first tokens of a bundled trace.

    python -m benchmarks.sample_gates            # writes assets/traces/sample.gates.json

A trace keeps when a gate closed, not what every gate said. Run it again when the sample or the
bundled model has changed; it refuses a trace that the model's gates do not explain.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dcp.deaths import ALIVE
from dcp.kernels.gates import Gates
from dcp.method import GateLogits
from dcp.model.masked import MaskedAttend
from dcp.model.registry import open_model
from dcp.trace import Trace

TOKENS = 24
SAMPLE = Path(__file__).resolve().parent.parent / "assets" / "traces" / "sample.safetensors"


class _Listening(MaskedAttend):
    """The masked forward that also notes every gate logit."""

    def __init__(self, gate_shift: float) -> None:
        super().__init__(gate_shift)
        self.heard: list[Tensor] = []
        self._added = gate_shift

    def __call__(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        gates: Gates | None,
    ) -> Tensor:
        assert gates is not None
        self.heard.append(gates.logits(self._added)[0])
        return super().__call__(layer, q, k, v, gates)


def gate_logits(trace: Trace, tokens: int = TOKENS) -> GateLogits:
    """The gate logits of the first ``tokens`` tokens of a trace of a bundled model."""
    model = open_model(trace.meta.model)
    width = min(tokens, trace.n_queries)
    ids = torch.from_numpy(trace.token_ids[:width].astype(np.int64))[None]
    listening = _Listening(trace.meta.gate_shift)
    with torch.no_grad():
        model.loaded.transformer.hidden(ids, torch.arange(width)[None], listening)
    z = torch.stack(listening.heard).numpy()
    z[:, ~np.tril(np.ones((width, width), bool), -1)] = np.nan
    return GateLogits(z, trace.meta.weights_sha256)


def main(path: Path = SAMPLE) -> None:
    trace = Trace.load(path)
    gates = gate_logits(trace)
    width = gates.z.shape[1]
    seen = trace.death[:, :width]
    if (gates.death() != np.where(seen < width, seen, ALIVE)).any():
        sys.exit(f"{path.name} was not made by these gates: record it again, then run this")
    target = path.with_suffix("").with_suffix(".gates.json")
    gates.save(target)
    print(target)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
