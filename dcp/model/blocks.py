"""Linear layers whose weights stay in blocks of 8 or 4 bits: what is read is what is stored.

Inputs are rounded to 16 bits within each block of 32, so that what is lost is lost to the weights
alone; a model dequantised from a GGUF of the same format loses nothing (`dcp.kernels.native.pack`).
Gates stay as they are. Needs the native kernels. Knows nothing of attention or files.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from dcp.errors import DeviceError
from dcp.kernels import api
from dcp.kernels.native.decoder import product
from dcp.kernels.native.pack import Bits, PackedLow, pack, pack_low, quantise
from dcp.model import int8
from dcp.model.linear import Linear
from dcp.model.transformer import Transformer

__all__ = ["BlockLinear", "narrow", "to_blocks"]


class BlockLinear(nn.Module):
    """y = x W^T + b with W [N, K] in blocks. x [..., K] float32 -> y [..., N] float32.

    A change that the layer has beside W stays beside the blocks: W alone is on their grid."""

    def __init__(self, linear: nn.Linear, bits: Bits) -> None:
        super().__init__()
        self.packed = pack(quantise(linear.weight.detach(), bits))
        # Named so that whoever counts a model's bytes finds them, or shares them: one tensor.
        self.register_buffer("blocks", self.packed.data)
        self.bias = None if linear.bias is None else linear.bias.detach()
        self.low: PackedLow | None = None
        change: Any = linear.low if isinstance(linear, Linear) else None
        if change is not None:
            self.low = pack_low(change.a, change.b)
            self.register_buffer("low_a", self.low.a)
            self.register_buffer("low_b", self.low.b)

    def forward(self, x: Tensor) -> Tensor:
        return product(x, self.packed, self.bias, self.low)


def to_blocks(transformer: Transformer, bits: Bits) -> None:
    """Turn every linear layer but the gates to blocks, in place; the last one to 8 bits always.

    That is how llama.cpp mixes its 4-bit files: what decides the token stays at 8.
    """
    for block in transformer.blocks:
        for owner, name in ((block, "qkv"), (block, "out"), (block.mlp, "up"), (block.mlp, "down")):
            setattr(owner, name, BlockLinear(getattr(owner, name), bits))
    transformer.set_submodule("unembed", BlockLinear(transformer.unembed, 8))


def narrow(transformer: Transformer, bits: Bits) -> None:
    """`to_blocks`; without the native kernels, 8 bits come in rows (`dcp.model.int8`).

    Raises DeviceError for 4 bits without them.
    """
    reason = api.native_missing()
    if reason is None:
        to_blocks(transformer, bits)
    elif bits == 8:
        int8.quantise(transformer)
    else:
        raise DeviceError(f"int4 weights need the native kernels: {reason}")
