"""The structures and functions of the compiled step as Python sees them (ctypes)."""

from __future__ import annotations

import ctypes
import functools
from ctypes import POINTER, Structure, c_double, c_float, c_int32, c_int64, c_void_p
from typing import Any

import numpy as np

from dcp.kernels.native import build

__all__ = [
    *("BF16", "DROP", "F32", "KV_FORMATS", "PHASES", "Q4", "Q8", "ROWS"),
    *("Layer", "Low", "Model", "Norm", "Weight", "functions"),
]

F32, BF16, Q8, Q4 = range(4)

KV_FORMATS = ("float32", "float16", "bfloat16", "int8")
"""How cache rows can be kept: the place of a name is its number in kv.h."""

PHASES = ("products", "norms", "gates", "attention", "upkeep", "waiting")

ROWS = np.dtype(
    [
        *((name, np.uint64) for name in ("k", "v", "k_int", "positions", "margins", "orders")),
        *(("count", np.int64), ("capacity", np.int64)),
    ]
)
"""One layer's cache rows of one sequence: addresses of its tables, rows in use, rows there are."""

DROP = np.dtype(
    [("layer", np.int32), ("position", np.int32), ("step", np.int32), ("margin", np.float32)]
)


class Low(Structure):
    _fields_ = (
        *((name, c_int32) for name in ("format", "rank", "stride", "unused")),
        *(("a", c_void_p), ("b", c_void_p)),
    )


class Weight(Structure):
    _fields_ = (
        *((name, c_int32) for name in ("format", "rows", "columns", "group_bytes")),
        *(("data", c_void_p), ("bias", c_void_p), ("low", Low)),
    )


class Norm(Structure):
    _fields_ = (("weight", c_void_p), ("bias", c_void_p))


class Layer(Structure):
    _fields_ = (
        *((name, Norm) for name in ("attn_norm", "mlp_norm", "q_norm", "k_norm")),
        *((name, Weight) for name in ("qkv", "gates", "out", "gate", "up", "down")),
    )


class Model(Structure):
    _fields_ = (
        *((name, c_int32) for name in ("layers", "width", "heads", "kv_heads", "head_dim")),
        *((name, c_int32) for name in ("ffn", "vocab", "interaction", "activation", "unused")),
        *(("norm_eps", c_float), ("q_norm_eps", c_float)),
        *((name, c_void_p) for name in ("embed", "position", "cos", "sin")),
        *(("layer", POINTER(Layer)), ("norm", Norm), ("unembed", Weight)),
    )


@functools.cache
def functions() -> Any:
    """The library with its argument types set; raises DeviceError where there is none."""
    lib = build.library()
    sizes = (c_int32 * 5)()
    lib.dcp_sizes(sizes)
    ours = [*(ctypes.sizeof(kind) for kind in (Weight, Layer, Model)), ROWS.itemsize, DROP.itemsize]
    assert list(sizes) == ours, "table.py and step.cpp disagree"
    lib.dcp_open.restype = c_void_p
    lib.dcp_open.argtypes = (POINTER(Model), c_int32, c_int32)
    lib.dcp_close.restype = None
    lib.dcp_close.argtypes = (c_void_p,)
    lib.dcp_step.restype = c_int32
    lib.dcp_step.argtypes = (
        *(c_void_p, c_int32, c_void_p, c_void_p, c_void_p),
        *(c_void_p, c_int32, c_void_p),
    )
    lib.dcp_drops.restype = c_int64
    lib.dcp_drops.argtypes = (c_void_p, c_int32, POINTER(c_void_p))
    lib.dcp_seconds.restype = None
    lib.dcp_seconds.argtypes = (c_void_p, POINTER(c_double))
    lib.dcp_product.restype = c_int32
    lib.dcp_product.argtypes = (POINTER(Weight), c_void_p, c_int32, c_void_p, c_int32)
    return lib
