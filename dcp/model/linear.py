"""The float32 matrix product of inference: of torch's two CPU backends, the faster for the shape.

With one to three rows MKL reads the weights fastest; from four on oneDNN does (measured at GPT-2's
shapes: 1.3 to 2 times faster at 8 rows). Training and every other dtype and device take torch's
own choice. Knows nothing of what the weights are for.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Linear", "product"]

_ENOUGH_ROWS = 4
_HAS_ONEDNN = bool(torch._C._has_mkldnn)


class Linear(nn.Linear):
    """``nn.Linear`` through `product`; ``low`` is a change of its matrix that lies beside it."""

    def __init__(self, columns: int, rows: int, bias: bool = True) -> None:
        super().__init__(columns, rows, bias)
        self.low: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        y = product(x, self.weight, self.bias)
        return y if self.low is None else y + self.low(x)


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x [..., K] times weight [N, K] transposed, plus bias [N] -> [..., N]."""
    if (
        torch.is_inference_mode_enabled()
        and _HAS_ONEDNN
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and x.numel() >= _ENOUGH_ROWS * x.shape[-1]
    ):
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return y
    return F.linear(x, weight, bias)
