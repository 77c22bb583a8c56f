"""What makes a trace valid: one pass over its arrays beside its meta, one clear TraceError.

Pure numpy; knows neither files nor what a trace is used for. The meta alone is checked where it is
made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dcp.deaths import ALIVE
from dcp.errors import TraceError
from dcp.trace.file import short
from dcp.trace.meta import Meta

__all__ = ["check"]

# name -> (shape in letters, dtype, optional)
_FIELDS: Mapping[str, tuple[str, str, bool]] = {
    "token_ids": ("T", "int32", False),
    "offsets": ("T2", "int32", False),
    "death": ("LT", "int32", False),
    "margin": ("LT", "float32", False),
    "logprob": ("T", "float32", False),
    "step_seconds": ("T", "float32", False),
    "gates_off_logprob": ("T", "float32", True),
    "kl": ("T", "float32", True),
    "lost_attention": ("LT", "float32", True),
    "settled": ("T", "int32", True),
    "exits": ("3T", "int32", True),
}
# A log-softmax in float32 may round a probability of one to a hair above zero.
_ROUNDING = 1e-3


def check(arrays: Mapping[str, Any], meta: Meta) -> None:
    """Raise TraceError unless ``arrays`` and ``meta`` are one valid trace."""
    _check_shapes(arrays)
    layers, tokens = arrays["death"].shape
    queries, prompt = meta.n_queries, meta.prompt_tokens
    _require(0 <= queries <= tokens, f"n_queries {short(queries)} is not within 0..{tokens}")
    _require(0 <= prompt <= tokens, f"prompt_tokens {short(prompt)} is not within 0..{tokens}")
    sink = meta.lost_attention_on_token_0
    _require(
        sink is None or len(sink) == layers,
        "lost_attention_on_token_0 has another number of layers than the trace",
    )
    _require(int(arrays["token_ids"].min()) >= 0, "token_ids has a negative id")

    offsets = arrays["offsets"]
    inside = offsets.min() >= 0 and offsets.max() <= len(meta.text)
    _require(bool(inside), "offsets point outside of the text")
    _require(bool((offsets[:, 0] <= offsets[:, 1]).all()), "offsets end before they start")
    _require(bool((np.diff(offsets, axis=0) >= 0).all()), "offsets do not run from left to right")

    death = arrays["death"]
    dead = death != ALIVE
    sound = (death > np.arange(tokens)) & (death <= queries - 1)
    _require(
        bool((sound | ~dead).all()), "death is out of range: j < death <= n_queries - 1, or ALIVE"
    )

    margin = arrays["margin"]
    _require(not bool((margin[dead] > 0).any()), "margin of a dropped token is above 0")
    _require(math.isnan(arrays["logprob"][0]), "logprob of the first token must be nan")
    _require(_below(arrays["logprob"], _ROUNDING), "logprob is above 0")
    _require(_above(arrays["step_seconds"], 0), "step_seconds is negative")
    _require(
        bool(np.isnan(arrays["step_seconds"][:prompt]).all()),
        "step_seconds of the prompt must be nan",
    )
    if "gates_off_logprob" in arrays:
        _require(_below(arrays["gates_off_logprob"], _ROUNDING), "gates_off_logprob is above 0")
    if "kl" in arrays:
        _require(_above(arrays["kl"], -_ROUNDING), "kl is below 0")
    if "lost_attention" in arrays:
        lost = arrays["lost_attention"]
        within = _above(lost, -_ROUNDING) and _below(lost, 1 + _ROUNDING)
        _require(within, "lost_attention is a share: it must be within 0..1")
    for name in ("settled", "exits"):
        if name in arrays:
            read, unread = arrays[name][..., :queries], arrays[name][..., queries:]
            inside = bool(((read >= 0) & (read < layers)).all() and (unread == -1).all())
            _require(inside, f"{name} must name a layer for every query, and -1 past them")


def _check_shapes(arrays: Mapping[str, Any]) -> None:
    unknown = sorted(set(arrays) - set(_FIELDS))
    _require(not unknown, f"trace has an unknown field: {short(unknown[0]) if unknown else ''}")
    sizes = {"2": 2, "3": 3}
    for name, (letters, dtype, optional) in _FIELDS.items():
        if name not in arrays:
            _require(optional, f"trace lacks {name!r}")
            continue
        array = arrays[name]
        _require(isinstance(array, np.ndarray), f"{name} must be a numpy array")
        _require(array.dtype == np.dtype(dtype), f"{name} has dtype {array.dtype}, not {dtype}")
        _require(
            array.ndim == len(letters), f"{name} has {array.ndim} dimensions, not {len(letters)}"
        )
        for letter, size in zip(letters, array.shape, strict=True):
            want = sizes.setdefault(letter, size)
            _require(
                size == want, f"{name} has shape {list(array.shape)}: its {letter} is not {want}"
            )
            _require(size > 0, f"{name} is empty: a trace has at least one token and one layer")
        if dtype == "float32":
            _require(not bool(np.isinf(array).any()), f"{name} holds infinities")


def _below(array: np.ndarray, limit: float) -> bool:
    return not bool((array > limit).any())


def _above(array: np.ndarray, limit: float) -> bool:
    return not bool((array < limit).any())


def _require(good: bool, message: str) -> None:
    if not good:
        raise TraceError(message)
