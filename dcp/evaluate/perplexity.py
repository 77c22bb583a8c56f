"""How well a model predicts text while it forgets: perplexity and bits per byte against sparsity.

Always the hard gate, in one masked forward per window (equal to decoding with the cache, which the
tests show). Windows never cross documents unless ``packed``. The baseline of a claim is a dense
twin fine-tuned equally long, whole or with untrained evictions that hold as many entries; "gates
off" on pruned weights is only a diagnostic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dcp.errors import RequestError
from dcp.evaluate.beside import ScoredBeside, read_dense, score_beside
from dcp.evaluate.rivals import Equal, Layers, Rival, best_of, entries_for
from dcp.evaluate.score import Scored, ratio_interval, score
from dcp.evaluate.shares import dropped_of_first
from dcp.evaluate.windows import Windows, read_windows
from dcp.model.masked import MaskedAttend
from dcp.model.weights import LoadedModel
from dcp.policies.budget import TOLERANCE
from dcp.progress import Progress, in_parts, silent

__all__ = ["PolicyResult", "Result", "Rival", "Windows", "evaluate", "read_windows"]


@dataclass(frozen=True)
class PolicyResult:
    """An eviction policy without training, at the entries that pruning held.

    Run on the dense twin, or without one on the same weights with the gates off. ``layers`` is
    "equal" for one budget in all layers, "as gates" for each layer what the gates held there;
    ``equal`` what it holds as much of (`dcp.evaluate.rivals.Equal`); budget is its mean. held_ratio
    is entries over those of pruning; ``matched`` says that they are within 1 % of what they should
    be. kl is KL(dense ‖ policy) in nats a token, agreement the share of tokens at which
    both would say the same most likely token. pruned_over_policy is the ratio of perplexities,
    below 1 where pruning is better, with a 95 % interval (documents resampled, paired).
    """

    policy: str
    layers: Layers
    equal: Equal
    budget: float
    held_entries: float
    held_ratio: float
    matched: bool
    ppl: float
    bits_per_byte: float
    kl: float
    agreement: float
    pruned_over_policy: float | None = None
    pruned_over_policy_low: float | None = None
    pruned_over_policy_high: float | None = None


@dataclass(frozen=True)
class Result:
    """One setting of the dial at one context. Perplexities per token, bits per UTF-8 byte.

    sparsity is ``sparsity_mean_steps``: dropped share of the t previous tokens, mean over layers,
    steps and windows; sparsity_at_end the same at the last step, t = context - 1;
    sparsity_of_first the same as sparsity for the first 16, 32, … tokens of the windows, as pairs:
    what texts of that length drop. held_entries is
    the number of visible pairs (t, j <= t) in a window, mean over layers and windows; ppl_ratio
    is pruned over dense twin with a 95 % interval (documents resampled, paired). kl and agreement
    are those of `PolicyResult`, against the twin, or without one against the gates off. In the
    output of ``eval --json`` the objects of one ``context`` are one curve: x ``held_entries`` (or
    ``sparsity``), y ``ppl_pruned``, and for each of ``policies`` y ``ppl`` at its own x
    ``held_entries``; ``ppl_dense_finetuned`` is the level that holds everything.
    """

    gate_shift: float
    sparsity: float
    sparsity_at_end: float
    sparsity_per_layer: tuple[float, ...]
    sparsity_of_first: tuple[tuple[int, float], ...]
    held_entries: float
    dense_entries: int
    ppl_pruned: float
    ppl_gates_off: float
    ppl_dense_finetuned: float | None
    ppl_ratio: float | None
    ppl_ratio_low: float | None
    ppl_ratio_high: float | None
    bits_per_byte_pruned: float
    bits_per_byte_gates_off: float
    bits_per_byte_dense_finetuned: float | None
    kl: float
    agreement: float
    policies: tuple[PolicyResult, ...]
    tokens: int
    bytes: int
    documents: int
    context: int


def evaluate(
    model: LoadedModel,
    windows: Windows,
    gate_shifts: Sequence[float] = (0.0,),
    baseline: LoadedModel | None = None,
    *,
    policies: Sequence[Rival] = (),
    policies_at: Sequence[float] | None = None,
    batch: int = 0,
    progress: Progress = silent,
) -> list[Result]:
    """One Result for each gate shift; ``policies`` are run on ``baseline``, or without one on the
    model with its gates off, at the entries that pruning held at each shift, or at the shifts
    ``policies_at`` alone.

    Raises RequestError when the context is too long or the baseline does not fit.
    """
    context = windows.context
    if context > model.config.context:
        raise RequestError(
            f"context {context} is longer than the model's {model.config.context}; lower it",
            remedy="context",
        )
    if baseline is not None and baseline.config.vocab != model.config.vocab:
        raise RequestError("the baseline has another vocabulary; compare bits per byte instead")
    if baseline is not None and context > baseline.config.context:
        raise RequestError(f"the baseline's context is {baseline.config.context}")
    rivals_at = {*(gate_shifts if policies_at is None else policies_at)} if policies else set()
    twin = baseline is not None and not _is_base(baseline, model)
    begin = in_parts(progress, 1 + twin + len(gate_shifts) + len(rivals_at))
    begin(f"context {context}: " + ("dense twin" if twin else "gates off"))
    known = read_dense(baseline or model.dense, windows, batch)
    off = known.scored.scored
    dense = None if baseline is None else off
    if twin:
        begin(f"context {context}: gates off")
        off = score(model.dense, windows, lambda: MaskedAttend(prune=False), batch)
    results = []
    for shift in gate_shifts:
        begin(f"context {context}: gate shift {shift:g}")
        (beside,) = score_beside(known, [(model.at(shift), _gated(shift))])
        pruned = beside.scored
        rivals: tuple[PolicyResult, ...] = ()
        if shift in rivals_at:
            names = ", ".join(rival.policy for rival in policies)
            begin(f"context {context}: {names} at the entries of gate shift {shift:g}")
            found = best_of(known, policies, pruned.held, model)
            rivals = tuple(
                _policy_result(
                    rival, budget, scored, pruned, windows, entries_for(model, rival.equal)
                )
                for rival, (budget, scored) in zip(policies, found, strict=True)
            )
        past = np.arange(1, context)  # step t has t previous tokens
        dropped = 1 - (pruned.held[:, 1:] - 1) / past
        low, high = (None, None) if dense is None else _interval(pruned, dense, windows)
        results.append(
            Result(
                gate_shift=float(shift),
                sparsity=float(dropped.mean()),
                sparsity_at_end=float(dropped[:, -1].mean()),
                sparsity_per_layer=tuple(float(s) for s in dropped.mean(axis=1)),
                sparsity_of_first=dropped_of_first(pruned.held.mean(axis=0)),
                held_entries=pruned.entries,
                dense_entries=context * (context + 1) // 2,
                ppl_pruned=_perplexity(pruned, windows),
                ppl_gates_off=_perplexity(off, windows),
                ppl_dense_finetuned=None if dense is None else _perplexity(dense, windows),
                ppl_ratio=None if dense is None else _ratio(pruned, dense, windows),
                ppl_ratio_low=low,
                ppl_ratio_high=high,
                bits_per_byte_pruned=_bits(pruned, windows),
                bits_per_byte_gates_off=_bits(off, windows),
                bits_per_byte_dense_finetuned=None if dense is None else _bits(dense, windows),
                kl=beside.mean_kl(windows),
                agreement=beside.agreement(windows),
                policies=rivals,
                tokens=windows.scored,
                bytes=windows.bytes,
                documents=len(np.unique(windows.documents)),
                context=context,
            )
        )
    return results


def _is_base(baseline: LoadedModel, model: LoadedModel) -> bool:
    """Whether ``model`` with its gates off is the baseline itself: an adapter's own base."""
    base = None if model.gates is None else model.gates.base
    return base is not None and base.sha256 == baseline.weights_sha256


def _policy_result(
    rival: Rival,
    budget: npt.NDArray[np.int64],
    beside: ScoredBeside,
    pruned: Scored,
    windows: Windows,
    wanted: float,
) -> PolicyResult:
    held_ratio = beside.scored.entries / pruned.entries
    low, high = _interval(pruned, beside.scored, windows)
    return PolicyResult(
        policy=rival.policy,
        layers=rival.layers,
        equal=rival.equal,
        budget=float(budget.mean()),
        held_entries=beside.scored.entries,
        held_ratio=held_ratio,
        matched=abs(held_ratio / wanted - 1) <= TOLERANCE,
        ppl=_perplexity(beside.scored, windows),
        bits_per_byte=_bits(beside.scored, windows),
        kl=beside.mean_kl(windows),
        agreement=beside.agreement(windows),
        pruned_over_policy=_ratio(pruned, beside.scored, windows),
        pruned_over_policy_low=low,
        pruned_over_policy_high=high,
    )


def _gated(shift: float) -> Callable[[int], MaskedAttend]:
    return lambda batch: MaskedAttend(shift)


def _perplexity(scored: Scored, windows: Windows) -> float:
    return math.exp(scored.nats.sum() / windows.scored)


def _bits(scored: Scored, windows: Windows) -> float:
    return float(scored.nats.sum() / math.log(2) / windows.bytes)


def _ratio(above: Scored, below: Scored, windows: Windows) -> float:
    return math.exp((above.nats.sum() - below.nats.sum()) / windows.scored)


def _interval(above: Scored, below: Scored, windows: Windows) -> tuple[float | None, float | None]:
    low, high = ratio_interval(above, below, windows)
    return (None, None) if math.isnan(low) else (low, high)
