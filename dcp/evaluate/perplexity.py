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
import torch

from dcp.errors import RequestError
from dcp.evaluate.score import Scored, ratio_interval, score
from dcp.evaluate.windows import Windows, read_windows
from dcp.model.masked import MaskedAttend
from dcp.model.weights import LoadedModel
from dcp.policies.windows import POLICIES, fitted_windows, policy_deaths
from dcp.progress import Progress, in_parts, silent

__all__ = ["PolicyResult", "Result", "Windows", "evaluate", "evaluate_policies", "read_windows"]


@dataclass(frozen=True)
class PolicyResult:
    """An untrained eviction on the dense twin, holding at least as many entries as pruning did.

    window is its size in tokens (the stride of ``strided``). pruned_over_policy is the ratio of
    perplexities, below 1 where pruning is better, with a 95 % interval (documents resampled,
    paired); None where no pruned model was scored beside it.
    """

    policy: str
    window: int
    held_entries: float
    ppl: float
    bits_per_byte: float
    pruned_over_policy: float | None = None
    pruned_over_policy_low: float | None = None
    pruned_over_policy_high: float | None = None


@dataclass(frozen=True)
class Result:
    """One setting of the dial at one context. Perplexities per token, bits per UTF-8 byte.

    sparsity is ``sparsity_mean_steps``: dropped share of the t previous tokens, mean over layers,
    steps and windows; sparsity_at_end the same at the last step, t = context - 1. held_entries is
    the number of visible pairs (t, j <= t) in a window, mean over layers and windows; ppl_ratio
    is pruned over dense twin with a 95 % interval (documents resampled, paired). In the output of
    ``eval --json`` the objects of one ``context`` are one curve: x ``held_entries`` (or
    ``sparsity``), y ``ppl_pruned``, and for each of ``policies`` y ``ppl`` at its own x
    ``held_entries``; ``ppl_dense_finetuned`` is the level that holds everything.
    """

    gate_shift: float
    sparsity: float
    sparsity_at_end: float
    sparsity_per_layer: tuple[float, ...]
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
    policies: Sequence[str] = (),
    batch: int = 0,
    progress: Progress = silent,
) -> list[Result]:
    """One Result for each gate shift; ``policies`` are run on ``baseline`` at its held entries.

    Raises RequestError when the context is too long or policies have no baseline to run on.
    """
    context = windows.context
    if context > model.config.context:
        raise RequestError(
            f"context {context} is longer than the model's {model.config.context}; lower --context"
        )
    if policies and baseline is None:
        raise RequestError("policies run on the dense twin; give it as the baseline")
    parts = 1 + (baseline is not None) + len(gate_shifts) * (1 + len(policies))
    begin = in_parts(progress, parts)
    begin(f"context {context}: gates off")
    off = score(model, windows, lambda: MaskedAttend(prune=False), batch)
    dense = None
    if baseline is not None:
        if baseline.config.vocab != model.config.vocab:
            raise RequestError("the baseline has another vocabulary; compare bits per byte instead")
        if context > baseline.config.context:
            raise RequestError(f"the baseline's context is {baseline.config.context}")
        begin(f"context {context}: dense twin")
        dense = score(baseline, windows, lambda: MaskedAttend(prune=False), batch)
    results, known = [], dict[tuple[str, int], Scored]()
    for shift in gate_shifts:
        begin(f"context {context}: gate shift {shift:g}")
        pruned = score(model, windows, _gated(shift), batch)
        rivals = []
        for policy in policies:
            assert baseline is not None
            begin(f"context {context}: {policy} at the entries of gate shift {shift:g}")
            rivals.append(_rival(baseline, windows, policy, pruned.entries, pruned, batch, known))
        past = np.arange(1, context)  # step t has t previous tokens
        dropped = 1 - (pruned.held[:, 1:] - 1) / past
        low, high = (None, None) if dense is None else _interval(pruned, dense, windows)
        results.append(
            Result(
                gate_shift=float(shift),
                sparsity=float(dropped.mean()),
                sparsity_at_end=float(dropped[:, -1].mean()),
                sparsity_per_layer=tuple(float(s) for s in dropped.mean(axis=1)),
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
                policies=tuple(rivals),
                tokens=windows.scored,
                bytes=windows.bytes,
                documents=len(np.unique(windows.documents)),
                context=context,
            )
        )
    return results


def evaluate_policies(
    dense: LoadedModel,
    windows: Windows,
    entries: float,
    policies: Sequence[str] = tuple(POLICIES),
    *,
    batch: int = 0,
) -> list[PolicyResult]:
    """Untrained evictions on ``dense``, each holding at least ``entries`` visible pairs a layer."""
    return [_rival(dense, windows, policy, entries, None, batch, {}) for policy in policies]


def _rival(
    dense: LoadedModel,
    windows: Windows,
    policy: str,
    entries: float,
    pruned: Scored | None,
    batch: int,
    known: dict[tuple[str, int], Scored],
) -> PolicyResult:
    """The best that the policy does with its windows of that size; ``known`` keeps what was
    scored before, as neighbouring shifts often fit the same window."""
    windows_of = fitted_windows(policy, windows.context, entries)
    for window in windows_of:
        if (policy, window) not in known:
            death = torch.from_numpy(policy_deaths(policy, windows.context, window))
            device = next(dense.transformer.parameters()).device
            way = _obeying(death.to(device).expand(dense.config.layers, windows.context))
            known[policy, window] = score(dense, windows, way, batch)
    window = min(windows_of, key=lambda w: known[policy, w].nats.sum())
    scored = known[policy, window]
    low, high = (None, None) if pruned is None else _interval(pruned, scored, windows)
    return PolicyResult(
        policy=policy,
        window=window,
        held_entries=scored.entries,
        ppl=_perplexity(scored, windows),
        bits_per_byte=_bits(scored, windows),
        pruned_over_policy=None if pruned is None else _ratio(pruned, scored, windows),
        pruned_over_policy_low=low,
        pruned_over_policy_high=high,
    )


def _obeying(deaths: torch.Tensor) -> Callable[[], MaskedAttend]:
    return lambda: MaskedAttend(deaths=deaths)


def _gated(shift: float) -> Callable[[], MaskedAttend]:
    return lambda: MaskedAttend(shift)


def _perplexity(scored: Scored, windows: Windows) -> float:
    return math.exp(scored.nats.sum() / windows.scored)


def _bits(scored: Scored, windows: Windows) -> float:
    return float(scored.nats.sum() / math.log(2) / windows.bytes)


def _ratio(above: Scored, below: Scored, windows: Windows) -> float:
    return math.exp((above.nats.sum() - below.nats.sum()) / windows.scored)


def _interval(above: Scored, below: Scored, windows: Windows) -> tuple[float | None, float | None]:
    low, high = ratio_interval(above, below, windows)
    return (None, None) if math.isnan(low) else (low, high)
