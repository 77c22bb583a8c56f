"""``dcp eval``: perplexity against a dense twin and its evictions, or zero-shot tasks.

With ``--file``: one object per context and gate shift (`dcp.evaluate.perplexity.Result`).
With ``--task``: one per task and gate shift (`dcp.evaluate.task_score.TaskResult`); ``passkey``
and ``wikitext2`` have results of their own (`dcp.evaluate.passkey`, `dcp.evaluate.wikitext`).
Always the hard gates.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from dcp.cli.budgets import SHOWN, gated, rows_of, windows_of
from dcp.cli.parser import add_json, add_model, count, number
from dcp.cli.terminal import notes, print_json, print_table
from dcp.errors import RequestError

if TYPE_CHECKING:
    from dcp.evaluate.tasks import Task
    from dcp.model.registry import OpenModel

__all__ = ["add_arguments", "run"]

_SHOWN = (
    *("context", "gate_shift", "sparsity", "sparsity_at_end", "held_entries"),
    *("ppl_pruned", "ppl_gates_off", "ppl_dense_finetuned", "ppl_ratio"),
    *("bits_per_byte_pruned", "bits_per_byte_dense_finetuned", "tokens"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "--file", type=Path, nargs="+", metavar="F", help="text; a blank line ends a document"
    )
    parser.add_argument(
        "--context",
        type=count,
        nargs="+",
        metavar="C",
        help="tokens a window (default: the model's); several cut the same text",
    )
    dial = parser.add_mutually_exclusive_group()
    dial.add_argument(
        "--gate-shift", type=number, nargs="+", metavar="δ", help="added to every β (default: 0)"
    )
    dial.add_argument(
        "--sparsity", type=number, nargs="+", metavar="S", help="resolved to δ by the calibration"
    )
    parser.add_argument(
        "--baseline",
        metavar="DIR",
        help="a dense twin fine-tuned equally long, without gates (default: an adapter's base)",
    )
    parser.add_argument(
        "--policies",
        nargs="*",
        metavar="P",
        help="eviction policies at as many held entries, on the baseline or, without one, with the "
        "gates off: window, strided, sink (the default), h2o, tova, snapkv, keynorm, citrus, …",
    )
    parser.add_argument(
        "--layer-budgets",
        nargs="+",
        choices=("equal", "as-gates"),
        default=["equal"],
        help="of the policies: the same for all layers, or each what the gates held there",
    )
    parser.add_argument(
        "--budget",
        type=count,
        nargs="+",
        metavar="N",
        help="in place of the dial: gates and policies, N entries a layer each, at equal entries",
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="of --budget: what is measured; goes on there"
    )
    parser.add_argument(
        "--equal",
        nargs="+",
        choices=("entries", "bytes", "bytes16"),
        default=["entries"],
        help="what the policies hold as much of: entries, or bytes, gate keys counted (bytes16: "
        "keys and values in 16 bits, gate keys in 32)",
    )
    parser.add_argument(
        "--packed", action="store_true", help="let windows cross documents: free sparsity"
    )
    parser.add_argument(
        "--windows", type=count, default=0, metavar="N", help="at most N a file, spread evenly"
    )
    parser.add_argument(
        "--task",
        nargs="+",
        metavar="T",
        help="lambada, hellaswag, piqa, winogrande, wikitext2, passkey (which needs no --data)",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the tasks' files")
    parser.add_argument(
        "--limit",
        type=count,
        default=0,
        metavar="N",
        help="items of each task (0: all, of passkey 10 keys at each depth)",
    )
    parser.add_argument("--device", default="cpu", metavar="cpu|cuda", help="where (default: cpu)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from dcp.evaluate.score import to_device
    from dcp.model.registry import open_model, shift_for

    if (args.file is None) == (args.task is None):
        raise RequestError("give --file for perplexity or --task for zero-shot, one of them")
    if args.task and args.data is None and set(args.task) != {"passkey"}:
        raise RequestError("give --data, the folder that holds the tasks' files")
    if args.budget and (args.task or args.gate_shift or args.sparsity):
        raise RequestError("--budget is for --file, without --gate-shift or --sparsity")
    if args.keep is not None and not args.budget:
        raise RequestError("--keep is for --budget")
    model = open_model(args.model, gates=gated(args), base=args.base)
    baseline = None
    if args.baseline:
        baseline = open_model(args.baseline, gates=False)
    elif model.info.base is not None:
        # The rival of an adapter is its untouched base.
        baseline = open_model(args.model, gates=False, base=args.base)
    shifts = args.gate_shift or [0.0]
    if args.sparsity:
        shifts = [shift_for(model.info.calibration, sparsity) for sparsity in args.sparsity]
    for opened in (model, baseline):
        if opened is not None:
            to_device(opened.loaded, args.device)
    rows = (_tasks if args.task else _perplexity)(args, model, baseline, shifts)
    if args.json:
        print_json(rows)
    elif args.budget:
        print_table([{name: row[name] for name in SHOWN} for row in rows])
    elif args.task:
        shown = [{k: v for k, v in row.items() if k != "weights_sha256"} for row in rows]
        for _, alike in groupby(shown, key=list):
            print_table(list(alike))
    else:
        print_table([{name: row[name] for name in _SHOWN} for row in rows])
        for row in rows:
            if row["policies"]:
                print(f"\ncontext {row['context']}, gate shift {row['gate_shift']:g}:")
                print_table(row["policies"])
    return 0


def _perplexity(
    args: argparse.Namespace, model: OpenModel, baseline: OpenModel | None, shifts: list[float]
) -> list[dict[str, Any]]:
    from dcp.evaluate.perplexity import Rival, evaluate
    from dcp.policies.registry import policy_of

    if args.budget:
        given = {**_named(model), "baseline": baseline.info.name if baseline else None}
        return [{**row, **given} for row in rows_of(args, model, baseline)]
    names = () if args.policies is None else args.policies or ("window", "strided", "sink")
    for name in names:
        if not policy_of(name).budgeted or name == "gates":
            raise RequestError(f"{name} is no rival of the gates: eval scores it by itself")
        if policy_of(name).instructed == "must":
            raise RequestError(f"{name} answers an instruction, and a corpus asks nothing")
    policies = [
        Rival(name, "equal" if layers == "equal" else "as gates", equal)
        for equal in args.equal
        for name in names
        for layers in args.layer_budgets
    ]
    windows, contexts = windows_of(args, model)
    named = {**_named(model), "baseline": baseline.info.name if baseline else None}
    return [
        {**asdict(result), **named}
        for context in contexts
        for result in evaluate(
            model.loaded,
            windows.cut(context),
            shifts,
            baseline.loaded if baseline else None,
            policies=policies,
            progress=notes("eval"),
        )
    ]


def _tasks(
    args: argparse.Namespace, model: OpenModel, baseline: OpenModel | None, shifts: list[float]
) -> list[dict[str, Any]]:
    from dcp.evaluate.tasks import read_task

    # All files are read before the first is scored.
    tasks: list[_Task] = [
        _OTHERS.get(name) or partial(_choices, read_task(name, args.data, args.limit))
        for name in args.task
    ]
    arms: list[tuple[OpenModel, list[float | None]]] = [(model, [*shifts])]
    if baseline is not None:
        arms.append((baseline, [None]))
    return [
        {**asdict(result), **_named(arm)}
        for of_task in tasks
        for arm, settings in arms
        for result in of_task(args, arm, settings)
    ]


def _choices(
    task: Task, _: argparse.Namespace, arm: OpenModel, settings: list[float | None]
) -> list[Any]:
    from dcp.evaluate.task_score import evaluate_task

    return [*evaluate_task(arm.loaded, arm.tokenizer, task, settings, progress=notes("eval"))]


def _passkey(args: argparse.Namespace, arm: OpenModel, settings: list[float | None]) -> list[Any]:
    from dcp.evaluate.passkey import evaluate_passkey

    contexts, keys = args.context or [arm.info.context], args.limit or 10
    return evaluate_passkey(
        arm.loaded, arm.tokenizer, contexts, settings, keys=keys, progress=notes("eval")
    )


def _wikitext(args: argparse.Namespace, arm: OpenModel, settings: list[float | None]) -> list[Any]:
    from dcp.evaluate.wikitext import evaluate_wikitext, read_wikitext

    articles = read_wikitext(_first(args.data, "wikitext2-test.txt"), args.limit)
    return [
        result
        for context in args.context or [arm.info.context]
        for result in evaluate_wikitext(
            arm.loaded, arm.tokenizer, articles, context, settings, progress=notes("eval")
        )
    ]


def _first(folder: Path, name: str) -> Path:
    plain = folder / name
    return plain if plain.exists() else folder / f"{name}.xz"


_Task: TypeAlias = "Callable[[argparse.Namespace, OpenModel, list[float | None]], list[Any]]"
_OTHERS: dict[str, _Task] = {"passkey": _passkey, "wikitext2": _wikitext}


def _named(opened: OpenModel) -> dict[str, Any]:
    return {"model": opened.info.name, "weights_sha256": opened.loaded.weights_sha256}
