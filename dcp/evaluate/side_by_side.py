"""Pieces measured at one budget side by side: what was matched, quality, intervals in pairs.

Knows no model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dcp.errors import RequestError
from dcp.evaluate.budgets import Piece, wanted_of
from dcp.evaluate.score import Scored, ratio_interval
from dcp.evaluate.windows import Windows
from dcp.policies.budget import TOLERANCE

__all__ = ["BudgetResult", "compare"]


@dataclass(frozen=True)
class BudgetResult:
    """One policy under one budget at one context, beside the dense model and the gates.

    held             entries held by a layer at a step, mean over steps, layers and windows;
                     ``wanted`` is what a full budget holds, ``held_ratio`` held over wanted,
                     ``matched`` that they are within ``tolerance``; ``step_gap`` is the mean over
                     steps of |held - wanted| / wanted, 0 where they agree at every step
    kl               KL(dense ‖ policy) in nats a token; agreement: share of tokens at which both
                     have the same most likely token
    ppl_over_dense   ratio of perplexities; gates_over_policy: of the gates under the same budget
                     over this one, below 1 where the gates are better; None where not matched
    *_low, *_high    95 % intervals, whole documents resampled, paired; None for too few
    """

    policy: str
    budget: int
    context: int
    gate_shift: float | None
    held: float
    wanted: float
    held_ratio: float
    step_gap: float
    matched: bool
    tolerance: float
    ppl: float
    bits_per_byte: float
    ppl_over_dense: float
    ppl_over_dense_low: float | None
    ppl_over_dense_high: float | None
    kl: float
    kl_low: float | None
    kl_high: float | None
    agreement: float
    agreement_low: float | None
    agreement_high: float | None
    gates_over_policy: float | None
    gates_over_policy_low: float | None
    gates_over_policy_high: float | None
    ppl_dense: float
    tokens: int
    documents: int


def compare(pieces: Sequence[Piece], windows: Mapping[int, Windows]) -> list[BudgetResult]:
    """One result for each piece; ``windows`` by context are those they were measured on."""
    gates = {(p.context, p.budget): p for p in pieces if p.policy == "gates"}
    return [
        _result(piece, gates.get((piece.context, piece.budget)), windows[piece.context])
        for piece in pieces
    ]


def _result(piece: Piece, gates: Piece | None, windows: Windows) -> BudgetResult:
    if len(piece.nats) != len(windows.ids):
        raise RequestError("these measurements are of other windows: begin in an empty folder")
    wanted = wanted_of(piece.budget, piece.context)
    ratio = float(piece.held.mean() / wanted.mean())
    matched = abs(ratio - 1) <= TOLERANCE
    dense = Scored(piece.dense, piece.held[None])
    mine = Scored(piece.nats, piece.held[None])
    scored = windows.scored
    over_dense = _ratio(mine, dense, windows)
    over_policy: tuple[float | None, float | None, float | None] = (None, None, None)
    if gates is not None and gates is not piece and matched:
        over_policy = _ratio(Scored(gates.nats, gates.held[None]), mine, windows)
    return BudgetResult(
        policy=piece.policy,
        budget=piece.budget,
        context=piece.context,
        gate_shift=piece.gate_shift,
        held=float(piece.held.mean()),
        wanted=float(wanted.mean()),
        held_ratio=ratio,
        step_gap=float((np.abs(piece.held - wanted) / wanted).mean()),
        matched=matched,
        tolerance=TOLERANCE,
        ppl=math.exp(piece.nats.sum() / scored),
        bits_per_byte=float(piece.nats.sum() / math.log(2) / windows.bytes),
        **_triple("ppl_over_dense", over_dense),
        **_triple("kl", _mean(piece.kl, windows)),
        **_triple("agreement", _mean(piece.agree, windows)),
        **_triple("gates_over_policy", over_policy),
        ppl_dense=math.exp(piece.dense.sum() / scored),
        tokens=scored,
        documents=len(np.unique(windows.documents)),
    )


def _triple(name: str, found: tuple[Any, Any, Any]) -> dict[str, Any]:
    """A value and its interval, as fields."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))


def _ratio(above: Scored, below: Scored, windows: Windows) -> tuple[float, Any, Any]:
    value = math.exp((above.nats.sum() - below.nats.sum()) / windows.scored)
    return value, *_told(*ratio_interval(above, below, windows))


def _mean(sums: npt.NDArray[Any], windows: Windows) -> tuple[float, Any, Any]:
    """Mean over tokens of sums per window [N], as `ratio_interval` resamples."""
    # A ratio of "perplexities" whose nats are these sums is the exponential of their mean.
    scored = Scored(np.asarray(sums, np.float64), np.zeros((1, 1)))
    low, high = ratio_interval(scored, Scored(np.zeros(len(sums)), scored.held), windows)
    return float(sums.sum() / windows.scored), *_told(math.log(low), math.log(high))


def _told(low: float, high: float) -> tuple[float | None, float | None]:
    return (None, None) if math.isnan(low) or math.isnan(high) else (low, high)
