"""The loss of a frozen language-model head, a few hundred rows at a time.

Cross-entropy against ``share`` · a teacher's distribution + the rest · the text, as
`dcp.train.objective.distilled_loss` has it, from final hidden states: no [T, V] of the student, of
its teacher or of a gradient is ever held. As the head learns nothing, all that goes back is the
gradient of the hidden states, and it is made on the way: loss and gradient share one product of
logits. Of the teacher only its final hidden states are kept, and several readings of one text (one
for each gate shift) share its distribution.

Knows nothing of layers, gates or data.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["frozen_head_loss"]

# Rows at a time; beside 49,152 words 128 are 25 MB a matrix, which a GPU would be through with
# before the next kernel is launched.
_ROWS, _ROWS_OF_A_GPU = 128, 1024


def frozen_head_loss(
    hidden: Tensor,
    targets: Tensor,
    weight: Tensor,
    taught: tuple[Tensor, Tensor] | None = None,
    share: float = 0.0,
    rows: int = 0,
) -> tuple[Tensor, Tensor]:
    """Mean loss of each reading, and its negative log-probability of the text alone.

    hidden [R, N, D] float32 or bfloat16, R readings of the same N tokens, after the final norm;
    targets [N] int64, -1 = none; weight [V, D] of hidden's dtype, taken as a constant; taught,
    needed where ``share`` > 0: the teacher's final hidden states [N, D'] and its head [V, D'].
    Returns loss [R] float32, with a gradient for ``hidden`` alone, and text [R] float32 in nats,
    without one. Sums run in float32 whatever the dtype. ``rows`` at a time; 0: as suits the device.
    """
    if share and taught is None:
        raise ValueError("a share of a teacher's distribution needs the teacher's hidden states")
    return _FrozenHeadLoss.apply(  # type: ignore[no-any-return, no-untyped-call]
        hidden, targets, weight, *(taught or (None, None)), share,
        rows or (_ROWS_OF_A_GPU if hidden.is_cuda else _ROWS),
    )  # fmt: skip


class _FrozenHeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        targets: Tensor,
        weight: Tensor,
        taught: Tensor | None,
        head: Tensor | None,
        share: float,
        rows: int,
    ) -> tuple[Tensor, Tensor]:
        counted = (targets >= 0).nonzero().squeeze(1)
        loss = hidden.new_zeros(len(hidden), dtype=torch.float32)
        text = torch.zeros_like(loss)
        gradient = torch.zeros_like(hidden)
        for some in torch.split(counted, rows):
            own = targets[some, None]
            wanted = None
            if share:
                assert taught is not None
                assert head is not None
                wanted = torch.softmax((taught[some] @ head.T).float(), dim=-1)
                wanted.mul_(share)
                wanted.scatter_add_(1, own, torch.full_like(wanted[:, :1], 1 - share))
            for reading, h in enumerate(hidden):
                logits = (h[some] @ weight.T).float()
                text_logit = logits.gather(1, own)
                # A logit less the logarithm of its share, at the largest: none is too small there.
                largest, at = logits.max(dim=-1, keepdim=True)
                expected = text_logit if wanted is None else _dot(wanted, logits)
                p = torch.softmax(logits, dim=-1)
                total = largest - p.gather(1, at).log()
                loss[reading] += (total - expected).sum()
                text[reading] += (total - text_logit).sum()
                if wanted is None:
                    p.scatter_add_(1, own, torch.full_like(own, -1, dtype=p.dtype))
                else:
                    p -= wanted
                gradient[reading, some] = p.to(weight.dtype) @ weight
        n = max(1, len(counted))
        ctx.save_for_backward(gradient.div_(n))
        text = text / n
        ctx.mark_non_differentiable(text)
        return loss / n, text

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return (gradient * grad[:, None, None].to(gradient.dtype), *[None] * 6)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """[N, V] and [N, V] -> the rows' products summed, [N, 1], without a third [N, V]."""
    return torch.bmm(one[:, None], other[:, :, None])[:, 0]
