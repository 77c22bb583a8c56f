"""What `benchmarks.rivals` measured as rows of a results file: ratios, intervals, each document."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dcp.evaluate.rivals import Rival
from dcp.evaluate.score import Scored, ratio_interval
from dcp.evaluate.windows import Windows
from dcp.model.registry import OpenModel

__all__ = ["Arm", "Setting", "row_of"]


@dataclass(frozen=True)
class Arm:
    """A rival; with its layers "as gates", ``power`` of the gates' shares (0 would be equal)."""

    rival: Rival
    power: float = 1.0

    def to_json(self) -> dict[str, Any]:
        rival = self.rival
        return {
            "policy": rival.policy,
            "settings": dict(rival.settings),
            "layers": rival.layers,
            "power": self.power if rival.layers == "as gates" else None,
            "equal": rival.equal,
        }


@dataclass(frozen=True, eq=False)
class Setting:
    """A gate shift, the windows reported and those chosen on, and the sources [N] of the first."""

    shift: float
    reported: Windows
    choosing: Windows
    source: npt.NDArray[np.str_]


def row_of(
    model: OpenModel,
    setting: Setting,
    arms: Sequence[Arm],
    budgets: Sequence[npt.NDArray[np.int64]],
    found: dict[str, Any],
    candidates: list[dict[str, Any]],
) -> dict[str, Any]:
    """One object for a gate shift, its rivals inside. Ratios are of perplexities, with a paired
    95 % interval over documents."""
    windows, source = setting.reported, setting.source
    scored = windows.context - 1
    off, gated, *rivals = (
        Scored(nats, np.full((1, 1), entries))
        for nats, entries in zip(found["nats"], found["entries"], strict=True)
    )
    documents, first = np.unique(windows.documents, return_index=True)

    def ratio(above: Scored, below: Scored) -> list[float | None]:
        whole = math.exp((above.nats.sum() - below.nats.sum()) / windows.scored)
        ends = ratio_interval(above, below, windows)
        return [whole, *(None if math.isnan(end) else end for end in ends)]

    def by_source(above: Scored, below: Scored) -> dict[str, float]:
        each = {name: source == name for name in dict.fromkeys(source.tolist())}
        return {
            name: math.exp((above.nats[mine].sum() - below.nats[mine].sum()) / mine.sum() / scored)
            for name, mine in each.items()
        }

    def by_document(arm: Scored) -> list[float]:
        return [round(float(arm.nats[windows.documents == d].sum()), 3) for d in documents]

    return {
        "model": model.info.name,
        "weights_sha256": model.loaded.weights_sha256,
        "gate_shift": setting.shift,
        "context": windows.context,
        "windows": len(windows.ids),
        "documents": len(documents),
        "sources": {n: int((source == n).sum()) for n in dict.fromkeys(source.tolist())},
        "held_entries": gated.entries,
        "ppl_pruned": math.exp(gated.nats.sum() / windows.scored),
        "ppl_gates_off": math.exp(off.nats.sum() / windows.scored),
        "pruned_over_gates_off": ratio(gated, off),
        "pruned_over_gates_off_by_source": by_source(gated, off),
        "document_source": source[first].tolist(),
        "document_tokens": [int((windows.documents == d).sum() * scored) for d in documents],
        "document_nats": {"gates off": by_document(off), "pruned": by_document(gated)},
        "chosen_on": {
            "windows": len(setting.choosing.ids),
            "documents": len(np.unique(setting.choosing.documents)),
            "candidates": candidates,
        },
        "rivals": [
            {
                **arm.to_json(),
                "budgets": budget[:, 0].tolist(),
                "held_entries": scores.entries,
                "held_ratio": scores.entries / gated.entries,
                "ppl": math.exp(scores.nats.sum() / windows.scored),
                "policy_over_gates_off": ratio(scores, off),
                "pruned_over_policy": ratio(gated, scores),
                "pruned_over_policy_by_source": by_source(gated, scores),
                "document_nats": by_document(scores),
            }
            for arm, budget, scores in zip(arms, budgets, rivals, strict=True)
        ],
    }
