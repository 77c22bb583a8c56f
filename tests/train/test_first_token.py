"""The first token's gate key opens for every query, and no other key notices."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from dcp.model.masked import MaskedAttend
from dcp.model.weights import load
from dcp.train.first_token import hold_first_token, opened
from tests.helpers.checkpoints import VOCAB, make

D, R = 32, 8


def _logits(
    q: torch.Tensor, k: torch.Tensor, queries: torch.Tensor, keys: torch.Tensor
) -> torch.Tensor:
    return (queries @ q.T) @ (keys @ k.T).T / math.sqrt(len(q))


@pytest.mark.parametrize("margin", [4.0, 9.0])
def test_every_query_wants_the_first_token_more_and_the_others_as_before(margin: float) -> None:
    torch.manual_seed(0)
    # What layers read has a mean; a sink is far out on an axis of its own.
    others = torch.randn(4000, D) + 2 * torch.randn(D)
    first = torch.randn(100, D) * 0.1
    first[:, 3] += 60.0
    q, k = torch.randn(R, D), torch.randn(R, D)
    new = opened(first[:50], others[:2000], q, k, margin)
    gained = _logits(q, new, others[2000:], first[50:]) - _logits(q, k, others[2000:], first[50:])
    assert gained.mean() == pytest.approx(margin, rel=0.2)
    assert gained.min() > 0
    noise = _logits(q, new, others[2000::9], others[:500]) - _logits(
        q, k, others[2000::9], others[:500]
    )
    assert noise.std() < 0.03 * margin
    # One direction of the keys, and no more.
    assert torch.linalg.matrix_rank(new - k, rtol=1e-4) == 1


def test_only_the_gate_keys_of_the_layers_named_change(tmp_path: Path) -> None:
    transformer = load(make(tmp_path, "llama")).transformer
    before = {name: value.clone() for name, value in transformer.state_dict().items()}
    generator = torch.Generator().manual_seed(2)
    windows = [torch.randint(0, VOCAB, (length,), generator=generator) for length in (12, 12, 20)]
    hold_first_token(transformer, windows, 5.0, range(1, transformer.config.layers))
    changed = {
        name for name, value in transformer.state_dict().items() if not value.equal(before[name])
    }
    assert changed == {f"blocks.{n}.k_int.weight" for n in range(1, transformer.config.layers)}
    # No hook is left behind.
    assert not any(block.attn_norm._forward_hooks for block in transformer.blocks)
    ids = windows[2][None]
    positions = torch.arange(20)[None]
    off = MaskedAttend(prune=False)
    same = transformer(ids, positions, off)
    transformer.load_state_dict(before)
    assert same.equal(transformer(ids, positions, off))
