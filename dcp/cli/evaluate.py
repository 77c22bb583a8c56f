"""``dcp eval``: perplexity against a dense twin and its evictions, or zero-shot tasks.

With ``--file``: one object per context and gate shift (`dcp.evaluate.perplexity.Result`).
With ``--task``: one per task and gate shift (`dcp.evaluate.task_score.TaskResult`); ``passkey``
and ``wikitext2`` have results of their own (`dcp.evaluate.passkey`, `dcp.evaluate.wikitext`).
Always the hard gates.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcp.cli.budgets import SHOWN, add_budget, check_budget, gated, rows_of, windows_of
from dcp.cli.parser import add_json, add_model, count, number
from dcp.cli.tasks import check_keep, named, rows_of_tasks
from dcp.cli.terminal import notes, print_json, print_table
from dcp.errors import RequestError

if TYPE_CHECKING:
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
        "--sparsity",
        type=number,
        nargs="+",
        metavar="S",
        help="resolved to δ for the context; of tasks and budgets by the calibration",
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
    add_budget(parser)
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
    check_budget(args)
    check_keep(args)
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
    rows = (rows_of_tasks if args.task else _perplexity)(args, model, baseline, shifts)
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
    from dcp.model.dial import shift_at
    from dcp.policies.registry import policy_of

    if args.budget:
        given = {**named(model), "baseline": baseline.info.name if baseline else None}
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
    given = {**named(model), "baseline": baseline.info.name if baseline else None}
    # A share is one of a length.
    at = {
        context: [shift_at(model.info, share, context) for share in args.sparsity or ()] or shifts
        for context in contexts
    }
    return [
        {**asdict(result), **given}
        for context in contexts
        for result in evaluate(
            model.loaded,
            windows.cut(context),
            at[context],
            baseline.loaded if baseline else None,
            policies=policies,
            progress=notes("eval"),
        )
    ]
