"""``dcp study``: a whole file of texts, recorded window by window, and its tables."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from dcp.cli.parser import add_json, add_model, count, folder, number, read_text
from dcp.cli.terminal import note, notes, print_json, print_table

__all__ = ["add_arguments", "run"]

_TOKENS = 10
_RESAMPLED = ("rates", "triggers", "hazard")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--file", type=Path, required=True, metavar="TEXTS", help="a blank line ends a document"
    )
    parser.add_argument(
        "--out", type=folder, required=True, metavar="DIR", help="where it is kept; goes on there"
    )
    add_model(parser)
    parser.add_argument(
        "--limit", type=count, default=0, metavar="N", help="so many windows, spread evenly"
    )
    parser.add_argument(
        "--new-tokens", type=count, default=0, metavar="N", help="after each window (default 0)"
    )
    parser.add_argument(
        "--context",
        type=count,
        default=0,
        metavar="C",
        help="tokens of a window (default: the model's context)",
    )
    dial = parser.add_mutually_exclusive_group()
    dial.add_argument("--gate-shift", type=number, default=0.0, metavar="δ")
    dial.add_argument("--sparsity", type=number, metavar="S", help="in place of δ")
    parser.add_argument("--seed", type=count, default=0, metavar="S")
    parser.add_argument("--tagger", metavar="NAME", help="an installed en_core_web_* pipeline")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    text = read_text(args.file)
    from tqdm import tqdm

    from dcp.model.registry import open_model
    from dcp.speech.tagger import BUNDLED, load_tagger
    from dcp.stats.noise import tagger_accuracy
    from dcp.stats.study_file import intervals_in, intervals_said
    from dcp.study import gather, make_plan, record_share, share_of_process, write_study

    index, processes = share_of_process()
    _take_device(index)
    model = open_model(args.model, base=args.base)
    plan, windows = make_plan(
        args.file,
        text,
        model,
        limit=args.limit,
        new_tokens=args.new_tokens,
        gate_shift=args.gate_shift,
        sparsity=args.sparsity,
        seed=args.seed,
        context=args.context,
    )
    tagger = load_tagger(args.tagger)
    start = time.perf_counter()
    mine = len(windows[index::processes])
    with tqdm(total=mine, unit="window", disable=index > 0, file=sys.stderr) as bar:

        def progress(_: float, line: str) -> None:
            bar.update()
            bar.set_postfix_str(line.partition(", ")[2], refresh=False)

        read = record_share(
            args.out, plan, windows, model, tagger, index=index, processes=processes,
            progress=progress,
        )  # fmt: skip
    seconds = time.perf_counter() - start
    if index > 0:
        return 0
    samples = gather(args.out, plan, patience=600.0 if processes > 1 else 0.0)
    accuracy = tagger_accuracy() if tagger.name == BUNDLED else tagger.accuracy
    study = write_study(
        args.out, plan, samples, tagger_accuracy=accuracy, seed=args.seed, progress=notes("study")
    )
    found = {
        **study.about,
        "intervals": {name: intervals_in(study, name) for name in _RESAMPLED},
        "processes": processes,
        "words_recorded_now": read,
        "words_per_second": read / seconds if read else None,
        "out": str(args.out.resolve()),
    }
    if args.json:
        print_json(found)
        return 0
    table = study.rates.query(
        "arm == 'gates' and by == 'pos' and pieces == 'single' and layer == -1 and horizon == 32"
    )
    shown = ["group", "source", "words", "events", "drop_rate", "ci_low", "ci_high"]
    print_table(table[shown].to_dict("records"))
    tokens = study.triggers.query("by == 'token'").head(_TOKENS)
    if len(tokens):
        note("\nTokens at which most was dropped: drops over those of the mean token read")
        shown = ["group", "source", "queries", "ratio", "ci_low", "ci_high", "share"]
        print_table(tokens[shown].to_dict("records"))
    note(intervals_said(study))
    rate = f", {read / seconds:,.0f} words/s" if read else ""
    note(f"{study.about['words']:,} words of {study.about['texts']:,} texts{rate}; in {args.out}")
    return 0


def _take_device(index: int) -> None:
    """With several GPUs, each process takes its own."""
    import torch

    if torch.cuda.is_available() and torch.cuda.device_count() > 1:
        torch.cuda.set_device(index % torch.cuda.device_count())
