"""The α-sigmoid: two-class α-entmax, the soft gate of training, and its cumulative log.

σ_α(z) is the p that solves  p^(α-1) - (1-p)^(α-1) = (α-1) z  (arXiv 2305.15805, section 3.1): the
logistic at α = 1, the hard step as α grows, exactly 0 or 1 for |z| >= 1/(α-1). Its slope is
1 / (p^(α-2) + (1-p)^(α-2)) inside that band and 0 outside.

α is one number per training step and z millions of them, so the inverse is tabulated once per α in
float64 and read by linear interpolation. The table's abscissa is chosen so that p is smooth in it:
x = |z| for α < 2, x = ((α-1)|z|)^(1/(α-1)) above, where p runs like a root of z.
Knows nothing of layers, losses or data.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import threshold

__all__ = [
    "AlphaSigmoid",
    "alpha_sigmoid",
    "attention_bias",
    "exp_",
    "log_gate_and_slope",
    "log_interaction",
    "sum_later",
]

_CELLS = 65536
_FAR = 24.0  # the logistic is within 4e-11 of 1 here
_CLOSED = -20.0
_LEAST = 1e-35
_TINY = 1e-12  # an exactly closed gate in the log: it attends to nothing, its gradient is finite


@dataclass(frozen=True)
class AlphaSigmoid:
    """σ_α for one α: ``table`` [cells + 1] float64 holds p at x = 0 … ``reach``."""

    alpha: float
    reach: float
    table: Tensor

    @classmethod
    @lru_cache(maxsize=4)
    def of(cls, alpha: float) -> AlphaSigmoid:
        """Tabulate σ_α for 1 <= α <= 16. Within 1e-6 of the float64 solution."""
        if not 1.0 <= alpha <= 16.0:
            raise ValueError(f"alpha must be in [1, 16], not {alpha}")
        a = alpha - 1.0
        # Dense where p leaves 1/2 and where it meets 1, both of which can be very flat in z.
        ends = np.concatenate(([0.0], np.geomspace(1e-12, 0.25, 32768)))
        lower, upper = 0.5 + ends, 1.0 - ends[::-1]
        p = np.concatenate((lower, upper[1:]))
        q = np.concatenate((0.5 - ends, ends[::-1][1:]))
        with np.errstate(divide="ignore"):
            log_p, log_q = np.log(p), np.log(q)
        if a < 1e-9:
            z = log_p - log_q
        elif a < 0.5:  # the difference of powers near 1 cancels; expm1 does not
            z = (np.expm1(a * log_p) - np.expm1(a * log_q)) / a
        else:
            z = (p**a - q**a) / a
        x = z if a < 1 else (a * z) ** (1 / a)
        reach = min(1 / a if a > 1e-9 else _FAR, _FAR) if a < 1 else 1.0
        nodes = np.interp(np.linspace(0.0, reach, _CELLS + 1), x, p)
        return cls(alpha, reach, torch.from_numpy(nodes))

    def probability(self, z: Tensor) -> Tensor:
        """p = σ_α(z), elementwise; z float32 or float64 of any shape."""
        a = self.alpha - 1.0
        # exp(log) is ten times as fast as pow on a CPU, copysign and mul as where.
        x = z.abs() if a < 1 else (z.abs() * a).log_().mul_(1 / a).exp_()
        x = x.mul_(_CELLS / self.reach).clamp_(max=float(_CELLS)).flatten()
        cell = x.to(torch.int32).clamp_(max=_CELLS - 1)
        table = self.table.to(z)
        p = table.diff().index_select(0, cell).mul_(x - cell)
        p = p.add_(table.index_select(0, cell)).view(z.shape)
        return torch.copysign(p.sub_(0.5), z).add_(0.5)

    def slope(self, z: Tensor, p: Tensor) -> Tensor:
        """dp/dz = 1 / (p^(α-2) + (1-p)^(α-2)) inside the band, 0 outside. p as from z."""
        a = self.alpha - 1.0
        inside = (z.abs() * a < 1).to(z.dtype)
        # At p in {0, 1} and α < 2 the sum is as good as infinite and the slope rightly 0.
        powers = [exp_(side.clamp(min=_LEAST).log_().mul_(a - 1)) for side in (p, 1 - p)]
        return inside.div_(powers[0].add_(powers[1]))


class _AlphaSigmoidFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, alpha: float) -> Tensor:
        sigmoid = AlphaSigmoid.of(alpha)
        p = sigmoid.probability(z)
        ctx.save_for_backward(z, p)
        ctx.sigmoid = sigmoid
        return p

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        z, p = ctx.saved_tensors
        return grad * ctx.sigmoid.slope(z, p), None


def alpha_sigmoid(z: Tensor, alpha: float) -> Tensor:
    """σ_α(z) with its exact gradient; z float32 or float64 of any shape, 1 <= α <= 16."""
    return _AlphaSigmoidFunction.apply(z, alpha)  # type: ignore[no-any-return, no-untyped-call]


def exp_(x: Tensor) -> Tensor:
    """exp in place, at least 2e-35: on a CPU, results too small to be normal take 150 times as
    long."""
    return x.clamp_(min=-80.0).exp_()


def log_gate_and_slope(z: Tensor, sigmoid: AlphaSigmoid, past: Tensor) -> tuple[Tensor, Tensor]:
    """log σ_α(z) and its derivative in z; z, past [T, N] float32, past 1 where j < t, else 0.

    Both are 0 where ``past`` is. A closed gate counts as log 1e-12: gradients stay finite.
    """
    p = sigmoid.probability(z)
    slope = sigmoid.slope(z, p)
    slope.div_(p.clamp_(min=_TINY)).mul_(past)
    return p.log_().mul_(past), slope


def attention_bias(log_i: Tensor) -> Tensor:
    """log I [..., T, N] -> what is added to the scores: -inf in the future and where I < 2e-9.

    The T queries are the last of the N tokens.

    A closed gate must be out of reach. As a finite penalty, even exp(-27), it is one that the
    model learns to outbid with large scores, and the hard gate then takes away what it lives on.
    """
    first = log_i.shape[-1] - log_i.shape[-2]
    future = torch.full(log_i.shape[-2:], -torch.inf, device=log_i.device).triu(first + 1)
    return threshold(log_i, _CLOSED, -torch.inf) + future


def sum_later(grad: Tensor) -> Tensor:
    """Gradient of log I [..., T, T] -> gradient of log p: gate n reaches every t >= n.

    Summed from the end: total minus running sum would cancel where a closed gate has left only
    gradients of the order of its p, and the slope divides by that p.
    """
    return grad.flip(-2).cumsum(-2).flip(-2)


class _LogInteraction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, alpha: float) -> Tensor:
        sigmoid = AlphaSigmoid.of(alpha)
        out, slopes = torch.empty_like(z), torch.empty_like(z)
        past = torch.ones(z.shape[-2:], dtype=z.dtype, device=z.device).tril(-1)
        for gate, result, slope in zip(z, out, slopes, strict=True):
            log_p, slope[:] = log_gate_and_slope(gate, sigmoid, past)
            torch.cumsum(log_p, dim=0, out=result)
        ctx.save_for_backward(slopes)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (slopes,) = ctx.saved_tensors
        return sum_later(grad) * slopes, None


def log_interaction(z: Tensor, alpha: float) -> Tensor:
    """log I[t, j] = sum over n = j+1 … t of log σ_α(z[n, j]);  I[t, t] = 1 (paper, equation 5).

    z [B, T, T] float32, read only below the diagonal; the result is 0 on and above it.
    """
    return _LogInteraction.apply(z, alpha)  # type: ignore[no-any-return, no-untyped-call]
