"""Attention in blocks: causal as torch has it, hard gates as autograd and the mask in use do."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dcp.kernels.gates import Gates
from dcp.kernels.training import cpu, reference
from dcp.model.config import ModelConfig
from dcp.model.masked import MaskedAttend
from dcp.model.transformer import Transformer
from dcp.policies.windows import policy_deaths
from dcp.train.objective import (
    CausalAttend,
    HardGateAttend,
    distilled_loss,
    language_model_loss,
)

# Sums of at most 1000 float32 products of size one, in another order.
CLOSE = 3e-5


def heads(length: int, batch: int = 3, queries: int = 2) -> list[Tensor]:
    """q of ``queries`` heads, k and v of two."""
    torch.manual_seed(length)
    sizes = (queries, 2, 2)
    return [torch.randn(batch, size, length, 16, requires_grad=True) for size in sizes]


def gates(length: int, batch: int = 3) -> list[Tensor]:
    q_int, k_int = (torch.randn(batch, length, 8, requires_grad=True) for _ in range(2))
    beta = torch.linspace(1.0, 3.0, batch, requires_grad=True)
    return [q_int, k_int, beta]


def compare(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).abs().max()) < CLOSE * (1 + float(other.abs().max()))


@pytest.mark.parametrize("length", [1, 63, 128, 300])
@pytest.mark.parametrize("policy", ["", "local", "sink", "strided"])
def test_causal_attention_equals_torchs_with_its_gradient(length: int, policy: str) -> None:
    args = heads(length, batch=11)
    death = torch.from_numpy(policy_deaths(policy, length, 7)).long() if policy else None
    steps = torch.arange(length)[:, None]
    mask = steps >= steps.T
    if death is not None:
        mask &= steps < death
    results = []
    for out in (
        cpu.causal_attention(*args, death),
        reference.causal_attention(*args, death),
        F.scaled_dot_product_attention(*args, attn_mask=mask),
    ):
        probe = torch.linspace(-1, 1, out.numel()).view_as(out)
        results.append((out.detach(), *torch.autograd.grad((out * probe).sum(), args)))
    compare(results[0], results[2])
    compare(results[1], results[2])


@pytest.mark.parametrize("queries", [2, 6])
@pytest.mark.parametrize("length", [1, 2, 63, 300])
def test_hard_gates_equal_straight_through_autograd(length: int, queries: int) -> None:
    args = [*heads(length, queries=queries), *gates(length)]
    price = torch.rand(3, length) * 2
    price[1, length // 2 :] = 0
    results = []
    for attention in (cpu.hard_attention, reference.hard_attention):
        out, kept = attention(*args[:3], Gates(*args[3:]), price)
        probe = torch.linspace(-1, 1, out.numel()).view_as(out)
        loss = (out * probe).sum() + (kept * torch.tensor([0.3, -0.2, 0.1])).sum()
        grads = torch.autograd.grad(loss, args)
        results.append((out.detach(), kept.detach(), *grads))
    compare(*results)
    if length > 2:
        assert 0.05 < float(results[0][1].sum() / (2.25 * length**2 / 2)) < 0.95


@pytest.mark.parametrize("attention", [cpu.hard_attention, reference.hard_attention])
def test_a_depth_changes_no_result_and_spares_shallow_margins_their_gradient(
    attention: Any,
) -> None:
    args, depth = [*heads(300, batch=1), *gates(300, batch=1)], 1.0
    price = torch.ones(1, 300)

    def at(depth: float) -> tuple[Tensor, Tensor]:
        return attention(*args[:3], Gates(*args[3:]), price, depth=depth)

    whole, part = at(math.inf), at(depth)
    assert torch.allclose(whole[0], part[0], atol=CLOSE)
    assert torch.equal(whole[1], part[1])
    # A pair is spared where the token's margin is -depth or less as its block of 128 begins.
    q_int, k_int, beta = args[3:]
    z = (q_int @ k_int.transpose(1, 2))[0] / 8**0.5 + beta
    margin = (z + torch.ones(300, 300).triu() * 1e4).cummin(0).values
    ahead = torch.cat((torch.full((1, 300), 1e4), margin[127:128], margin[255:256]))
    counts = (ahead[torch.arange(300) // 128] > -depth) & (margin < 5e3)
    assert 0.3 < float(counts.sum() / (margin < 5e3).sum()) < 0.8
    slopes = counts / (2 * (1 + margin.abs()) ** 2)
    expected = torch.autograd.grad((margin * slopes.detach()).sum(), args[3:])
    compare(torch.autograd.grad(part[1].sum(), args[3:]), expected)
    # What the heads get is exact: weights of 0 have no gradient.
    probe = torch.linspace(-1, 1, whole[0].numel()).view_as(whole[0])
    exact, cut = (torch.autograd.grad((at(d)[0] * probe).sum(), args[:3]) for d in (math.inf, 1.0))
    compare(cut, exact)


def test_bfloat16_loses_no_more_than_torchs_own_attention_does() -> None:
    exact = heads(300)
    truth = F.scaled_dot_product_attention(*exact, is_causal=True)
    q, k, v = (x.bfloat16() for x in exact)
    budget = 2 * (F.scaled_dot_product_attention(q, k, v, is_causal=True) - truth).abs().max()
    zeros = torch.zeros(3, 300, 8)
    wide = Gates(zeros, zeros, torch.full((3,), 1e3))
    assert (cpu.causal_attention(q, k, v) - truth).abs().max() < budget
    assert (cpu.hard_attention(q, k, v, wide, torch.ones(3, 300))[0] - truth).abs().max() < budget


def tiny(qk_norm: bool = False) -> Transformer:
    config = ModelConfig(
        "llama", 61, 32, 2, 4, 2, 8, 48, 64, "rmsnorm", 1e-6, "rope", "silu", True, True,
        qk_norm=qk_norm,
    )  # fmt: skip
    transformer = Transformer(config, 4)
    transformer.initialise(3)
    transformer.initialise_gates(3, beta=1.0)
    return transformer


def causal() -> CausalAttend:
    return CausalAttend(cpu.causal_attention)


def hard_gates(real: Tensor, shifts: Tensor) -> HardGateAttend:
    return HardGateAttend(cpu.hard_attention, real, shifts)


def forward(model: Transformer, ids: Tensor, attend: object) -> Tensor:
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    return model(ids, positions, attend)  # type: ignore[no-any-return]


@pytest.mark.parametrize("shift", [-1.0, 0.0, 0.7])
def test_training_sees_what_is_in_use(shift: float) -> None:
    model = tiny()
    ids = torch.randint(61, (3, 47), generator=torch.Generator().manual_seed(0))
    real, shifts = torch.ones(3, 47, dtype=torch.bool), torch.full((3,), shift)
    pairs = HardGateAttend(cpu.hard_attention, real, shifts)
    steps = HardGateAttend(cpu.hard_attention, real, shifts, by="steps")
    hard = MaskedAttend(shift)
    expected = forward(model, ids, hard)
    for attend in (pairs, steps):
        assert torch.allclose(forward(model, ids, attend), expected, atol=1e-5)
    # [L, B, T, T]: who is seen at each step, the token itself apart.
    t = torch.arange(47)[:, None]
    seen = ((t > t.T) & (t < hard.deaths[:, :, None, :])).double()
    share = seen.sum((2, 3)) / (47 * 46 / 2 * 3)
    assert torch.allclose(torch.stack(pairs.kept).double(), share, atol=1e-6)
    assert 0.02 < float(share.sum(1).mean()) < 0.98
    of_steps = (seen.sum(3)[:, :, 1:] / torch.arange(1, 47)).mean(2) / 3
    assert torch.allclose(torch.stack(steps.kept).double(), of_steps, atol=1e-6)


def test_padding_counts_for_nothing_by_steps_too() -> None:
    model = tiny()
    ids = torch.randint(61, (2, 20), generator=torch.Generator().manual_seed(0))
    kept = []
    for batch in (ids, F.pad(ids, (0, 13), value=-1)):
        attend = HardGateAttend(cpu.hard_attention, batch >= 0, torch.zeros(2), by="steps")
        forward(model, batch.clamp(min=0), attend)
        kept.append(torch.stack(attend.kept))
    assert torch.allclose(*kept)


def test_the_way_of_computing_can_be_chosen_and_changes_nothing() -> None:
    model, real = tiny(), torch.ones(2, 20, dtype=torch.bool)
    ids = torch.randint(61, (2, 20), generator=torch.Generator().manual_seed(0))
    asked = []

    def plain(*args: Any) -> tuple[Tensor, Tensor]:
        asked.append(len(args))
        return reference.hard_attention(*args)

    usual = forward(model, ids, hard_gates(real, torch.zeros(2)))
    other = forward(model, ids, HardGateAttend(plain, real, torch.zeros(2)))
    assert torch.allclose(usual, other, atol=1e-5)
    assert asked == [6, 6]


def test_each_window_has_its_own_shift_and_padding_counts_for_nothing() -> None:
    model = tiny()
    ids = torch.randint(61, (2, 20), generator=torch.Generator().manual_seed(0))
    kept = []
    for batch in (ids, F.pad(ids, (0, 13), value=-1)):
        attend = hard_gates(batch >= 0, torch.tensor([1e3, -1e3]))
        logits = forward(model, batch.clamp(min=0), attend)
        kept.append(torch.stack(attend.kept))
        assert torch.allclose(logits[:1, :20], forward(model, ids[:1], causal()), atol=1e-5)
    assert torch.allclose(kept[0], kept[1])
    assert kept[0].detach().tolist() == [pytest.approx([0.5, 0.0])] * 2


@pytest.mark.filterwarnings("ignore:Mismatch dtype")  # a norm of bfloat16 by float32 weights
@pytest.mark.parametrize("qk_norm", [False, True])
def test_both_ways_of_attending_train_under_autocast(qk_norm: bool) -> None:
    model = tiny(qk_norm)
    ids = torch.randint(61, (2, 30), generator=torch.Generator().manual_seed(0))
    attends = (
        causal(),
        hard_gates(ids >= 0, torch.zeros(2)),
    )
    for attend in attends:
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = forward(model, ids, attend)
        language_model_loss(logits[:, :-1], ids[:, 1:]).backward()
        assert float(model.embed.weight.grad.abs().sum()) > 0
    assert float(model.blocks[0].beta.grad.abs()) > 0


def test_a_closed_layer_can_open_again() -> None:
    model = tiny()
    for block in model.blocks:
        block.beta.data.fill_(-6.0)
    ids = torch.randint(61, (4, 31), generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW([b.beta for b in model.blocks], lr=0.5)
    for _ in range(40):
        attend = HardGateAttend(
            cpu.hard_attention, torch.ones(4, 31, dtype=torch.bool), torch.zeros(4)
        )
        forward(model, ids, attend)
        kept = torch.stack(attend.kept).sum()
        optimizer.zero_grad()
        (-kept).backward()
        optimizer.step()
    assert float(kept.detach()) > 0.5


def test_the_distilled_gradient_is_that_of_the_divergence_and_the_text() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 9, 13, requires_grad=True)
    teacher = torch.randn(2, 9, 13)
    targets = torch.randint(13, (2, 9))
    targets[1, 4:] = -1
    counted = targets >= 0
    divergence = F.kl_div(
        logits.log_softmax(-1)[counted],
        teacher.log_softmax(-1)[counted],
        log_target=True,
        reduction="batchmean",
    )
    both = 0.3 * divergence + 0.7 * language_model_loss(logits, targets)
    expected = torch.autograd.grad(both, logits)[0]
    found = torch.autograd.grad(distilled_loss(logits, targets, teacher, 0.3), logits)[0]
    assert torch.allclose(found, expected, atol=1e-7)
    plain = distilled_loss(logits, targets, teacher, 0.0).detach()
    assert torch.allclose(plain, language_model_loss(logits, targets).detach(), atol=1e-6)
