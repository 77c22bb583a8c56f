"""``dcp eval --policies --budget``: policies and gates at equal entries, piece by piece.

With ``--keep`` every piece (a context, a budget, a policy) is a file of the folder: a run that was
stopped goes on where it was, and what is there is not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcp.cli.terminal import note, notes
from dcp.errors import RequestError

if TYPE_CHECKING:
    from dcp.evaluate.budgets import Piece
    from dcp.evaluate.windows import Windows
    from dcp.model.registry import OpenModel

__all__ = ["SHOWN", "gated", "rows_of", "windows_of"]

SHOWN = (
    *("context", "budget", "policy", "held", "held_ratio", "step_gap", "matched", "ppl"),
    *("ppl_over_dense", "kl", "agreement", "gates_over_policy"),
    *("gates_over_policy_low", "gates_over_policy_high"),
)


def gated(args: argparse.Namespace) -> bool:
    """Whether the model's gates are wanted; policies under a budget need none."""
    from dcp.model.checkpoint import Checkpoint
    from dcp.model.registry import find

    return not args.budget or Checkpoint.read(find(args.model), args.base).gates is not None


def windows_of(args: argparse.Namespace, model: OpenModel) -> tuple[Windows, list[int]]:
    """Windows of the longest context, and the contexts that they are to be cut to."""
    from dcp.evaluate.windows import Windows, read_windows

    contexts = args.context or [model.info.context]
    if max(contexts) > model.info.context:
        raise RequestError(
            f"context {max(contexts)} is longer than the model's {model.info.context}; "
            "lower --context"
        )
    windows = Windows.join(
        [
            read_windows(
                file, model.tokenizer, max(contexts), packed=args.packed, limit=args.windows
            )
            for file in args.file
        ]
    )
    return windows, contexts


def rows_of(
    args: argparse.Namespace, model: OpenModel, baseline: OpenModel | None
) -> list[dict[str, Any]]:
    """One object for each context, budget and policy. Raises RequestError."""
    from dcp.evaluate.budgets import SHIFTED, measure
    from dcp.evaluate.side_by_side import compare
    from dcp.policies.registry import POLICIES, policy_of

    own = ("gates", SHIFTED) if model.loaded.gates is not None else ()
    # Oldest first is the window by another name.
    others = [
        name
        for name, policy in POLICIES.items()
        if policy.budgeted and policy.instructed != "must" and name not in ("gates", "oldest")
    ]
    names = args.policies or (*own, *others)
    for name in names:
        if name != SHIFTED:
            policy_of(name)
    windows, contexts = windows_of(args, model)
    cut = {context: windows.cut(context) for context in contexts}
    asked = [(c, n, name) for c in contexts for n in args.budget if n < c for name in names]
    if not asked:
        raise RequestError(
            f"a budget of {min(args.budget)} drops nothing in a context of {max(contexts)}"
        )
    folder = None if args.keep is None else _folder(args.keep, _about(args, model, baseline, cut))
    tell, pieces = notes("eval"), []
    for done, (context, budget, name) in enumerate(asked):
        tell(done / len(asked), f"context {context}, budget {budget}: {name}")
        path = None if folder is None else folder / f"{context}-{budget}-{name}.json"
        piece = _read(path)
        if piece is None:
            piece = measure(
                model.loaded, cut[context], name, budget, baseline.loaded if baseline else None
            )
            _write(path, piece)
        pieces.append(piece)
    found = compare(pieces, cut)
    apart = [f"{r.policy} at {r.budget}" for r in found if not r.matched]
    if apart:
        note(f"could not hold as much, and is not set against the gates: {', '.join(apart)}")
    return [asdict(result) for result in found]


def _about(
    args: argparse.Namespace,
    model: OpenModel,
    baseline: OpenModel | None,
    cut: dict[int, Windows],
) -> dict[str, Any]:
    import hashlib

    text = hashlib.sha256()
    for context in sorted(cut):
        text.update(cut[context].ids.tobytes())
    return {
        "weights_sha256": model.loaded.weights_sha256,
        "baseline_sha256": baseline.loaded.weights_sha256 if baseline else None,
        "windows_sha256": text.hexdigest(),
        "packed": args.packed,
    }


def _folder(folder: Path, about: dict[str, Any]) -> Path:
    """The folder, made for this model and text or found to be theirs. Raises RequestError."""
    told = folder / "about.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not told.exists():
            told.write_text(json.dumps(about, indent=1) + "\n")
        if json.loads(told.read_text()) != about:
            raise RequestError(
                f"{folder} keeps measurements of another model or text: name another"
            )
    except OSError as wrong:
        raise RequestError(f"cannot keep measurements in {folder}: {wrong.strerror}") from None
    except ValueError:
        raise RequestError(f"{told} is damaged: remove {folder} and begin anew") from None
    return folder


def _read(path: Path | None) -> Piece | None:
    from dcp.evaluate.budgets import Piece

    if path is None or not path.exists():
        return None
    try:
        return Piece.from_json(json.loads(path.read_text()))
    except (OSError, ValueError, RequestError):
        note(f"{path.name} is damaged: measured again")
        return None


def _write(path: Path | None, piece: Piece) -> None:
    if path is None:
        return
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(json.dumps(piece.to_json()))
    os.replace(part, path)
