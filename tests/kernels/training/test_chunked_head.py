"""The chunked loss of a frozen head equals the whole one, with its gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dcp.kernels.training.chunked_head import frozen_head_loss
from dcp.train.objective import distilled_loss, language_model_loss


def case(readings: int = 3, tokens: int = 23) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(tokens)
    hidden = torch.randn(readings, tokens, 16, requires_grad=True)
    targets = torch.randint(61, (tokens,))
    targets[tokens - tokens // 4 :] = -1
    return hidden, targets, torch.randn(61, 16), torch.randn(tokens, 12), torch.randn(61, 12)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("rows", [1, 7, 64])
def test_loss_and_gradient_equal_those_of_whole_logits(share: float, rows: int) -> None:
    hidden, targets, weight, taught, head = case()
    worth = torch.tensor([1.0, 0.5, 3.0])
    whole, text = [], []
    for h in hidden:
        logits = (h @ weight.T)[None]
        whole.append(distilled_loss(logits, targets[None], (taught @ head.T)[None], share))
        text.append(language_model_loss(logits.detach(), targets[None]))
    expected = torch.autograd.grad((torch.stack(whole) * worth).sum(), hidden)[0]
    loss, nats = frozen_head_loss(
        hidden, targets, weight, (taught, head) if share else None, share, rows
    )
    found = torch.autograd.grad((loss * worth).sum(), hidden)[0]
    # Sums of 61 products of size four, in another order.
    assert torch.allclose(loss, torch.stack(whole), atol=2e-5)
    assert torch.allclose(nats, torch.stack(text), atol=2e-5)
    assert torch.allclose(found, expected, atol=2e-6)
    assert not nats.requires_grad


def test_its_own_teacher_teaches_nothing() -> None:
    hidden, targets, weight, _, _ = case(readings=1)
    loss, _ = frozen_head_loss(hidden, targets, weight, (hidden[0].detach(), weight), 1.0)
    assert float(torch.autograd.grad(loss.sum(), hidden)[0].abs().max()) < 1e-6


def test_large_logits_stay_finite() -> None:
    hidden, targets, weight, taught, head = case()
    loss, text = frozen_head_loss(hidden * 300, targets, weight, (taught * 300, head), 0.5)
    gradient = torch.autograd.grad(loss.sum(), hidden)[0]
    assert bool(torch.isfinite(loss).all() & torch.isfinite(text).all())
    assert bool(torch.isfinite(gradient).all())


def test_a_share_needs_a_teacher() -> None:
    hidden, targets, weight, _, _ = case()
    with pytest.raises(ValueError, match="needs the teacher"):
        frozen_head_loss(hidden, targets, weight, None, 0.5)
