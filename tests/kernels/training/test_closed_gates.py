"""No score is large enough to look through a closed gate in training."""

from __future__ import annotations

import pytest
import torch

from dcp.kernels.gates import Gates
from dcp.kernels.training import cpu, reference


@pytest.mark.parametrize("attention", [cpu.soft_attention, reference.soft_attention])
def test_scores_cannot_outbid_a_closed_gate(attention) -> None:  # type: ignore[no-untyped-def]
    length = 9
    q = torch.full((1, 1, length, 4), 30.0)
    k, v = torch.zeros(1, 1, length, 4), torch.zeros(1, 1, length, 4)
    k[0, 0, 2], v[0, 0, 2] = 30.0, 1.0  # token 2 is wanted with a score of 1800 …
    gate_q, gate_k = torch.ones(1, length, 1), torch.ones(1, length, 1)
    gate_k[0, 2] = -9.0  # … and every later query closes its gate
    pairs = torch.ones(1, length, length).tril(-1)
    out, _ = attention(q, k, v, Gates(gate_q, gate_k, torch.zeros(1)), pairs, 8.0)
    assert (out[0, 0, 2] == 1).all()
    assert (out[0, 0, 3:] == 0).all()
