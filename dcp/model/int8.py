"""Linear layers with int8 weights: a quarter of the bytes that a decode step reads.

Each output channel of a weight has one scale (symmetric, round to nearest). Activations go through
the integer product as two 8-bit digits, 16 bits together, so that what is lost is lost to the
weights alone; integer sums are exact, so a row comes out the same in every batch. The digits are
made by numpy, which for a few rows takes a fraction of the time that torch needs to start. Gates
are left in float32. Knows nothing of attention or files.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcp.model.transformer import Transformer

__all__ = ["Int8Linear", "quantise"]

_DIGIT = np.float32(127)
# Digits are unsigned around 128: without AMX, oneDNN takes signed ones 300 times more slowly.
_ZERO = np.float32(128)
# The rest after rounding to the first digit is at most half a step: 254 times finer fills int8.
_FINER = np.float32(254)
_TINY = np.float32(1e-30)


class Int8Linear(nn.Module):
    """y = x W^T + b with W [N, K] in int8 and scales [N]. x [..., K] float32 -> y [..., N]."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        scale = weight.abs().amax(dim=1).clamp_min(float(_TINY)) / 127
        whole = (weight / scale[:, None]).round().to(torch.int8)
        self.bias = None if bias is None else bias.detach().numpy()
        self.scale = scale
        self.features = len(weight)
        self._native = has_int8_dot()
        self._zeros = torch.zeros(len(weight), dtype=torch.int64)
        self._weight = torch.ops.onednn.qlinear_prepack(whole, None) if self._native else whole

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1]).numpy()
        rows = len(flat)
        largest = np.maximum(np.abs(flat).max(axis=1, keepdims=True), _TINY)
        steps = flat * (_DIGIT / largest)
        steps += _ZERO
        digits = np.empty((2 * rows, flat.shape[1]), dtype=np.uint8)
        np.rint(steps, out=digits[:rows], casting="unsafe")
        steps -= digits[:rows]
        steps *= _FINER
        steps += _ZERO
        np.rint(steps, out=digits[rows:], casting="unsafe")
        product = self._product(torch.from_numpy(digits))
        y, fine = product.numpy()[:rows], product.numpy()[rows:]
        fine /= _FINER
        y += fine
        y *= largest / _DIGIT
        if self.bias is not None:
            y += self.bias
        return product[:rows].view(*x.shape[:-1], self.features)

    def _product(self, digits: Tensor) -> Tensor:
        """digits [M, K] uint8 -> (digits - 128) W^T [M, N] float32, weight scales applied."""
        if not self._native:
            return F.linear(digits.float() - int(_ZERO), self._weight.float()).mul_(self.scale)
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            digits, 1.0, int(_ZERO), self._weight, self.scale, self._zeros, None,
            1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return product


def has_int8_dot() -> bool:
    """Whether this CPU multiplies int8 without overflow on the way (VNNI); else it is emulated."""
    return torch._C._has_mkldnn and bool(torch.cpu._is_vnni_supported())


def quantise(transformer: Transformer) -> None:
    """Turn every linear layer but the gates to int8, in place."""
    for block in transformer.blocks:
        for owner, name in ((block, "qkv"), (block, "out"), (block.mlp, "up"), (block.mlp, "down")):
            linear = getattr(owner, name)
            setattr(owner, name, Int8Linear(linear.weight, linear.bias))
    transformer.set_submodule("unembed", Int8Linear(transformer.unembed.weight, None))
