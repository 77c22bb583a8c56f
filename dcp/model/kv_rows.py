"""How a cache keeps keys and values: as the model makes them, or rounded to fewer bits.

    float32, bfloat16, float16   the nearest number of that type (float16: within its range)
    int8                         x ~ step q of each head of each token: q int8 in -127..127, step a
                                 half float, the largest magnitude over 127; it lies behind the d
                                 numbers, in the place of two more

Every query reads the rounded rows, the one whose own key it is included, so reading a text step by
step and in chunks stays the same. Gate keys are never rounded. Knows no cache and no attention.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dcp.arguments import KV_DTYPES, one_of

__all__ = ["kv_dtype_of", "narrowed", "rounded", "widened"]

_LARGEST_HALF = 65504.0


def kv_dtype_of(name: str | None, dtype: torch.dtype) -> torch.dtype:
    """The type of cache rows called ``name``; None: ``dtype``, that of the model's own keys.

    Raises RequestError for a name that is none of `dcp.arguments.KV_DTYPES`.
    """
    if name is None:
        return dtype
    one_of("kv_dtype", name, KV_DTYPES)
    found: torch.dtype = getattr(torch, name)
    return found


def narrowed(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Keys or values x [..., d] as a cache of ``dtype`` keeps them: [..., d], int8 [..., d + 2]."""
    if x.dtype == dtype:
        return x
    if dtype == torch.float16:
        return x.clamp(-_LARGEST_HALF, _LARGEST_HALF).to(dtype)
    if dtype != torch.int8:
        return x.to(dtype)
    wide = x.float()
    step = (wide.abs().amax(-1, keepdim=True) / 127).to(torch.float16)
    # A step too small for a half float is 0, and so is then everything beside it.
    q = torch.nan_to_num(wide / step.float(), nan=0.0).round_().clamp_(-127, 127)
    q.masked_fill_(step == 0, 0.0)
    return torch.cat((q.to(torch.int8), step.view(torch.int8)), dim=-1)


def widened(rows: Tensor, dtype: torch.dtype) -> Tensor:
    """What rows of a cache stand for, [..., d] of ``dtype``: themselves where they are kept so."""
    if rows.dtype != torch.int8:
        return rows.to(dtype)
    step = rows[..., -2:].clone(memory_format=torch.contiguous_format).view(torch.float16)
    return (rows[..., :-2].float() * step.float()).to(dtype)


def rounded(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Keys or values x [..., d] as a query reads them from a cache of ``dtype``."""
    return widened(narrowed(x, dtype), x.dtype)
