"""Early steps get a lower gate logit, by the logarithm of the step; nothing else moves much."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from dcp.model.weights import load
from dcp.train.early_steps import lean_on_early_steps, leaning
from tests.helpers.checkpoints import VOCAB, make

D, R, T = 32, 8, 200


def _read(windows: int) -> torch.Tensor:
    """States with a mean, the step's logarithm on an axis, and a first token far out on another."""
    read = torch.randn(windows, T, D) + torch.linspace(-1, 2, D)
    read[:, :, 5] += (torch.arange(T).clamp(min=1) / T).log()
    read[:, 0, 3] += 60.0
    return read


@pytest.mark.parametrize("slope", [0.5, -1.0])
def test_the_logarithm_of_the_step_is_added_to_every_key_but_the_first(slope: float) -> None:
    torch.manual_seed(0)
    known, other = _read(60), _read(20)
    q, k = torch.randn(R, D), torch.randn(R, D)
    change = leaning(known, q, k, slope, T) - q
    assert torch.linalg.matrix_rank(change, rtol=1e-4) == 1
    gained = (other @ change.T) @ (other @ k.T).transpose(1, 2) / math.sqrt(R)
    logs = (torch.arange(1, T) / T).log().clamp(min=-5)
    # The mean over windows and keys says the step; the first token stays as it was.
    mean = gained[:, 1:, 1:].mean((0, 2)) / slope
    assert float((mean * logs).sum() / (logs * logs).sum()) == pytest.approx(1, abs=0.35)
    assert float(torch.corrcoef(torch.stack((mean, logs)))[0, 1]) > 0.9
    assert float(gained[:, 1:, 0].abs().mean()) < 0.2 * float(gained[:, 1:, 1:].abs().mean())


def test_only_gate_queries_change(tmp_path: Path) -> None:
    transformer = load(make(tmp_path, "llama")).transformer
    before = {name: value.clone() for name, value in transformer.state_dict().items()}
    generator = torch.Generator().manual_seed(2)
    windows = [torch.randint(0, VOCAB, (20,), generator=generator) for _ in range(3)]
    lean_on_early_steps(transformer, windows, 0.5, 20, (0.0, -1.0))
    after = transformer.state_dict()
    changed = {name for name, value in after.items() if not value.equal(before[name])}
    assert changed == {f"blocks.{n}.q_int.weight" for n in range(transformer.config.layers)}
    assert not any(block.attn_norm._forward_hooks for block in transformer.blocks)
    # No slope, no change.
    transformer.load_state_dict(before)
    lean_on_early_steps(transformer, windows, 0.0, 20, (0.0,))
    assert all(value.equal(before[name]) for name, value in transformer.state_dict().items())
