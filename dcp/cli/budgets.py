"""``dcp eval --policies --budget``: policies and gates at equal entries, piece by piece.

With ``--keep`` every piece (a context, a budget, a policy, a few windows) is a file of the folder:
a run that was stopped goes on where it was, and what is there is not measured again.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcp.cli.parser import count
from dcp.cli.terminal import note, notes
from dcp.errors import ModelError, RequestError

if TYPE_CHECKING:
    from dcp.evaluate.windows import Windows
    from dcp.model.registry import OpenModel

__all__ = ["SHOWN", "add_budget", "check_budget", "gated", "made", "rows_of", "windows_of"]

SHOWN = (
    *("context", "budget", "policy", "held", "held_ratio", "step_gap", "matched", "ppl"),
    *("ppl_over_dense", "kl", "agreement", "gates_over_policy"),
    *("gates_over_policy_low", "gates_over_policy_high"),
)


def add_budget(parser: argparse.ArgumentParser) -> None:
    """``--budget`` and ``--keep``."""
    parser.add_argument(
        "--budget",
        type=count,
        nargs="+",
        metavar="N",
        help="in place of the dial: gates and policies, N entries a layer each, at equal entries",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="of --budget and --task: what is measured; goes on there",
    )
    parser.add_argument(
        "--equal",
        nargs="+",
        choices=("entries", "bytes", "bytes16"),
        default=["entries"],
        help="what the policies hold as much of: entries, or bytes, gate keys counted (bytes16: "
        "keys and values in 16 bits, gate keys in 32)",
    )


def check_budget(args: argparse.Namespace) -> None:
    """Raise RequestError where ``--budget`` does not go with what else is asked."""
    if args.budget and (args.task or args.gate_shift or args.sparsity):
        raise RequestError("--budget is for --file, without --gate-shift or --sparsity")
    if args.keep is not None and not (args.budget or args.task):
        raise RequestError("--keep is for --budget and --task")


def gated(args: argparse.Namespace) -> bool:
    """Whether the model's gates are wanted; policies under a budget need none."""
    from dcp.model.checkpoint import Checkpoint
    from dcp.model.registry import find

    if args.budget:
        try:
            Checkpoint.read(find(args.model), args.base).gates  # noqa: B018
        except ModelError as without:
            if without.remedy != "gates":
                raise
            return False
    return True


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
    from dcp.evaluate.budgets import OWN, SHIFTED, check
    from dcp.evaluate.kept import Bench
    from dcp.evaluate.side_by_side import compare
    from dcp.policies.registry import POLICIES, policy_of

    own = OWN if model.loaded.gates is not None else ()
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
    asked = []
    for each in ((c, n, name) for c in contexts for n in args.budget if n < c for name in names):
        try:
            check(model.loaded, each[0], each[2], each[1])
        except RequestError as cannot:
            if args.policies:
                raise
            note(f"left out: {cannot}")
        else:
            asked.append(each)
    if not asked:
        raise RequestError(
            f"a budget of {min(args.budget)} drops nothing in a context of {max(contexts)}"
        )
    folder = (
        None if args.keep is None else _folder(args.keep, _about(args, model, baseline, windows))
    )
    bench = Bench(model.loaded, baseline.loaded if baseline else None, folder, notes("eval"), note)
    pieces = [
        bench.whole(cut[context], budget, name, done / len(asked))
        for done, (context, budget, name) in enumerate(asked)
    ]
    found = compare(pieces, cut)
    apart = [f"{r.policy} at {r.budget}" for r in found if not r.matched]
    if apart:
        note(f"could not hold as much, and is not set against the gates: {', '.join(apart)}")
    return [asdict(result) for result in found]


def _about(
    args: argparse.Namespace,
    model: OpenModel,
    baseline: OpenModel | None,
    windows: Windows,
) -> dict[str, Any]:
    import hashlib

    return {
        "dense_sha256": (baseline or model).loaded.dense.weights_sha256,
        "windows_sha256": hashlib.sha256(windows.ids.tobytes()).hexdigest(),
        "packed": args.packed,
    }


def _folder(folder: Path, about: dict[str, Any]) -> Path:
    """The folder, made for this model and text or found to be theirs. Raises RequestError."""
    told = made(folder) / "about.json"
    try:
        if not told.exists():
            told.write_text(json.dumps(about, indent=1) + "\n")
        if json.loads(told.read_text()) != about:
            raise RequestError(
                f"{folder} keeps measurements of another model or text: name another"
            )
    except OSError as wrong:
        raise _unkept(folder, wrong) from None
    except ValueError:
        raise RequestError(f"{told} is damaged: remove {folder} and begin anew") from None
    return folder


def made(folder: Path) -> Path:
    """The folder for what is kept, there or made. Raises RequestError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as wrong:
        raise _unkept(folder, wrong) from None
    return folder


def _unkept(folder: Path, wrong: OSError) -> RequestError:
    return RequestError(f"cannot keep measurements in {folder}: {wrong.strerror}")
