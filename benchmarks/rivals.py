"""Evictions whose budget is shared out among the layers as the gates share theirs.

    python -m benchmarks.rivals --work runs/rivals --windows 8 --context 1024 \\
        --gate-shift 0 -1.6 6 --file valid-*.txt.xz --out assets/results/rivals.json

`dcp eval --policies … --layer-budgets as-gates` does the same in one go. This does it a few windows
at a time, keeps each part as a file and goes on there when stopped, and writes what each document
cost, so that every ratio and interval can be computed again from the results file. Two passes: the
gates alone, whose entries make the budgets; then all rivals, whose perplexity is looked at once.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcp.evaluate.rivals import Rival, budget_of, entries_for, ruled, score_beside
from dcp.evaluate.score import Scored, ratio_interval, score
from dcp.evaluate.windows import Windows, read_windows
from dcp.model.masked import MaskedAttend
from dcp.model.registry import OpenModel, open_model

_PART = 4
_SMALL_PART = 2
# The best of the evictions with one budget for all layers, both with the gates' own, and at equal
# bytes.
_RIVALS = (
    Rival("sink"),
    Rival("window", "as gates"),
    Rival("sink", "as gates"),
    Rival("window", "as gates", "bytes"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=None)
    parser.add_argument("--file", type=Path, nargs="+", required=True)
    parser.add_argument("--windows", type=int, default=8, help="a file, spread evenly")
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--gate-shift", type=float, nargs="+", default=[0.0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    model = open_model(args.model)
    files = [
        read_windows(file, model.tokenizer, args.context, limit=args.windows) for file in args.file
    ]
    source = np.repeat([file.name.split(".")[0] for file in args.file], [len(f.ids) for f in files])
    windows = Windows.join(files)
    _gates(model, windows, args.gate_shift, args.work)
    budgets = {
        (shift, rival): budget_of(
            rival, _held(windows, shift, args.work), entries_for(model.loaded, rival.equal)
        )
        for shift in args.gate_shift
        for rival in _RIVALS
    }
    _beside(model, windows, args.gate_shift, budgets, args.work)
    rows = _rows(model, windows, source, args.gate_shift, budgets, args.work)
    args.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _parts(windows: Windows, size: int = _PART) -> list[slice]:
    return [slice(at, at + size) for at in range(0, len(windows.ids), size)]


def _of(windows: Windows, part: slice) -> Windows:
    return Windows(windows.ids[part], windows.token_bytes[part], windows.documents[part])


def _gates(model: OpenModel, windows: Windows, shifts: Sequence[float], work: Path) -> None:
    for number, part in enumerate(_parts(windows)):
        for shift in shifts:
            path = work / f"gates-{shift:g}-{number}.npz"
            if not path.exists():
                mine = _of(windows, part)
                found = score(model.loaded, mine, lambda shift=shift: MaskedAttend(shift))  # type: ignore[misc]
                _save(path, held=found.held, windows=len(mine.ids))


def _held(windows: Windows, shift: float, work: Path) -> npt.NDArray[np.float64]:
    parts = [np.load(work / f"gates-{shift:g}-{i}.npz") for i in range(len(_parts(windows)))]
    return np.average(
        [p["held"] for p in parts], axis=0, weights=[int(p["windows"]) for p in parts]
    )


def _beside(
    model: OpenModel,
    windows: Windows,
    shifts: Sequence[float],
    budgets: dict[tuple[float, Rival], npt.NDArray[np.int64]],
    work: Path,
) -> None:
    for shift in shifts:
        mine = [each for each in budgets.items() if each[0][0] == shift]
        for number, part in enumerate(_parts(windows, _SMALL_PART)):
            path = work / f"beside-{shift:g}-{number}.npz"
            if path.exists():
                continue
            ways: list[tuple[Any, Any]] = [
                (model.loaded, lambda batch, shift=shift: MaskedAttend(shift)),
                *((model.loaded, ruled(rival, budget)) for (_, rival), budget in mine),
            ]
            dense, found = score_beside(model.loaded, _of(windows, part), ways)
            every = [dense, *found]
            _save(
                path,
                nats=np.stack([one.scored.nats for one in every]),
                entries=np.array([one.scored.entries for one in every]),
            )


def _save(path: Path, **arrays: Any) -> None:
    part = path.with_suffix(".part.npz")
    np.savez(part, **arrays)
    part.replace(path)
    print(path.name, flush=True)


def _rows(
    model: OpenModel,
    windows: Windows,
    source: npt.NDArray[np.str_],
    shifts: Sequence[float],
    budgets: dict[tuple[float, Rival], npt.NDArray[np.int64]],
    work: Path,
) -> list[dict[str, Any]]:
    """One object for each gate shift, its rivals inside."""
    gated: dict[float, Scored] = {}
    rivals: dict[tuple[float, Rival], Scored] = {}
    for shift in shifts:
        names = [f"beside-{shift:g}-{i}.npz" for i in range(len(_parts(windows, _SMALL_PART)))]
        parts = [np.load(work / name) for name in names]
        nats = np.concatenate([part["nats"] for part in parts], axis=1)
        shares = [part["nats"].shape[1] for part in parts]
        entries = np.average([part["entries"] for part in parts], axis=0, weights=shares)
        arms = [Scored(row, np.full((1, 1), held)) for row, held in zip(nats, entries, strict=True)]
        off, gated[shift] = arms[:2]
        mine = [key for key in budgets if key[0] == shift]
        rivals |= dict(zip(mine, arms[2:], strict=True))
    documents, first = np.unique(windows.documents, return_index=True)

    def ratio(above: Scored, below: Scored) -> list[float | None]:
        whole = math.exp((above.nats.sum() - below.nats.sum()) / windows.scored)
        return [
            whole,
            *(None if math.isnan(x) else x for x in ratio_interval(above, below, windows)),
        ]

    def by_document(arm: Scored) -> list[float]:
        return [round(float(arm.nats[windows.documents == d].sum()), 3) for d in documents]

    def by_source(above: Scored, below: Scored) -> dict[str, float]:
        each = {name: source == name for name in dict.fromkeys(source.tolist())}
        return {
            name: math.exp(
                (above.nats[mine].sum() - below.nats[mine].sum()) / (mine.sum() * _scored(windows))
            )
            for name, mine in each.items()
        }

    sources = list(dict.fromkeys(source.tolist()))
    sizes = [int((windows.documents == d).sum() * _scored(windows)) for d in documents]
    return [
        {
            "model": model.info.name,
            "weights_sha256": model.loaded.weights_sha256,
            "gate_shift": shift,
            "context": windows.context,
            "windows": len(windows.ids),
            "documents": len(documents),
            "sources": {name: int((source == name).sum()) for name in sources},
            "held_entries": gated[shift].entries,
            "ppl_pruned": math.exp(gated[shift].nats.sum() / windows.scored),
            "ppl_gates_off": math.exp(off.nats.sum() / windows.scored),
            "pruned_over_gates_off": ratio(gated[shift], off),
            "pruned_over_gates_off_by_source": by_source(gated[shift], off),
            "document_source": source[first].tolist(),
            "document_tokens": sizes,
            "document_nats": {
                "gates off": by_document(off),
                "pruned": by_document(gated[shift]),
            },
            "rivals": [
                {
                    "policy": rival.policy,
                    "layers": rival.layers,
                    "equal": rival.equal,
                    "budgets": budgets[at, rival][:, 0].tolist(),
                    "held_entries": arm.entries,
                    "held_ratio": arm.entries / gated[shift].entries,
                    "ppl": math.exp(arm.nats.sum() / windows.scored),
                    "policy_over_gates_off": ratio(arm, off),
                    "pruned_over_policy": ratio(gated[shift], arm),
                    "pruned_over_policy_by_source": by_source(gated[shift], arm),
                    "document_nats": by_document(arm),
                }
                for (at, rival), arm in rivals.items()
                if at == shift
            ],
        }
        for shift in shifts
    ]  # fmt: skip


def _scored(windows: Windows) -> int:
    return windows.context - 1


if __name__ == "__main__":
    main()
