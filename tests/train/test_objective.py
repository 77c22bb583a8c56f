"""Soft-gated attention: the fused form against plain autograd, and both against the hard gate."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dcp.kernels.gates import Gates
from dcp.kernels.training import cpu, reference
from dcp.model.config import ModelConfig
from dcp.model.masked import MaskedAttend
from dcp.model.transformer import Transformer
from dcp.train.objective import (
    CausalAttend,
    SoftGateAttend,
    language_model_loss,
)


def inputs(length: int, alpha: float, batch: int = 3) -> list[Tensor]:
    torch.manual_seed(length)
    shapes = [(batch, 2, length, 16)] * 3 + [(batch, length, 8)] * 2
    beta = torch.full((1,), 0.3 if alpha > 2 else 2.0)
    return [x.requires_grad_() for x in [*(torch.randn(s) for s in shapes), beta]]


@pytest.mark.parametrize("alpha", [1.0, 1.5, 3.0, 8.0])
@pytest.mark.parametrize("length", [1, 17, 63, 300])
def test_fused_attention_equals_plain_autograd(alpha: float, length: int) -> None:
    args = inputs(length, alpha)
    pairs = torch.ones(length, length).tril(-1).expand(3, -1, -1)
    results = []
    for attention in (reference.soft_attention, cpu.soft_attention):
        out, kept = attention(*args[:3], Gates(*args[3:]), pairs, alpha)
        probe = torch.linspace(-1, 1, out.numel()).view_as(out)
        grads = torch.autograd.grad((out * probe).sum() + 0.3 * kept, args)
        results.append((out.detach(), kept.detach(), *grads))
    for plain, fused in zip(*results, strict=True):
        # Relative to the largest entry, since β's gradient is a sum that cancels.
        assert float((plain - fused).abs().max()) < 2e-4 * float(plain.abs().max()) + 1e-5


def tiny(interaction: int = 4, layers: int = 2) -> Transformer:
    config = ModelConfig(
        "llama", 61, 32, layers, 4, 2, 8, 48, 64, "rmsnorm", 1e-6, "rope", "silu", True, True
    )
    transformer = Transformer(config, interaction)
    transformer.initialise(3)
    return transformer


def forward(model: Transformer, ids: Tensor, attend: object) -> Tensor:
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    return model(ids, positions, attend)  # type: ignore[no-any-return]


def test_saturated_soft_gates_equal_the_hard_gate() -> None:
    model = tiny()
    for block in model.blocks:
        block.q_int.weight.data *= 60  # |z| far outside the band of α = 16
        block.beta.data.fill_(0.5)
    ids = torch.randint(61, (3, 33), generator=torch.Generator().manual_seed(0))
    real = torch.ones(3, 33, dtype=torch.bool)
    soft = forward(model, ids, SoftGateAttend(cpu.soft_attention, 16.0, real))
    hard = MaskedAttend()
    logits = forward(model, ids, hard)
    assert (hard.deaths < 33).float().mean() > 0.3
    assert torch.allclose(soft, logits, atol=1e-4)


def test_open_gates_equal_causal_attention_and_keep_everything() -> None:
    model = tiny()
    for block in model.blocks:
        block.beta.data.fill_(100.0)
    ids = torch.randint(61, (2, 31), generator=torch.Generator().manual_seed(0))
    attend = SoftGateAttend(cpu.soft_attention, 8.0, torch.ones(2, 31, dtype=torch.bool))
    assert torch.allclose(
        forward(model, ids, attend),
        forward(model, ids, CausalAttend(cpu.causal_attention)),
        atol=1e-5,
    )
    assert torch.stack(attend.kept).tolist() == pytest.approx([1.0, 1.0])


def test_padding_changes_neither_loss_nor_kept_share() -> None:
    model = tiny()
    ids = torch.randint(61, (2, 20), generator=torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(ids, (0, 13), value=-1)
    kept, losses = [], []
    for batch in (ids, padded):
        real = batch >= 0
        attend = SoftGateAttend(cpu.soft_attention, 2.0, real)
        logits = forward(model, batch.clamp(min=0), attend)[:, :-1]
        losses.append(float(language_model_loss(logits, batch[:, 1:]).detach()))
        kept.append(torch.stack(attend.kept).detach())
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert torch.allclose(kept[0], kept[1], atol=1e-5)


def test_the_sparsity_term_closes_gates() -> None:
    model, real = tiny(), torch.ones(4, 31, dtype=torch.bool)
    ids = torch.randint(61, (4, 31), generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    shares = []
    for _ in range(12):
        attend = SoftGateAttend(cpu.soft_attention, 2.0, real)
        forward(model, ids, attend)
        kept = torch.stack(attend.kept).mean()
        shares.append(float(kept.detach()))
        optimizer.zero_grad()
        kept.backward()
        optimizer.step()
    assert shares[-1] < 0.5 * shares[0]
