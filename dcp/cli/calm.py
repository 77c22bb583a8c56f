"""``dcp calm``: at which layer predictions settled, and whether early tokens are dropped sooner."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcp.cli.parser import add_json, add_model, count, number
from dcp.cli.terminal import note, notes, print_json, print_table
from dcp.errors import RequestError

if TYPE_CHECKING:
    from dcp.trace import Trace

__all__ = ["add_arguments", "run"]

_SHOWN = ("group", "tokens", "at_risk", "events", "horizon", "drop_rate", "ci_low", "ci_high")
_DIFFERENCES = {
    "early_less_late": "drop rate of the first group less that of the last",
    "early_less_late_at_equal_position": "the same at equal position",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("traces", type=Path, nargs="+", metavar="RUN", help="saved traces")
    add_model(parser)
    parser.add_argument(
        "--threshold",
        type=number,
        default=0.9,
        metavar="λ",
        help="confidence at which a layer would be the last (default 0.9)",
    )
    parser.add_argument(
        "--save", action="store_true", help="write what was found into the traces, for the view"
    )
    parser.add_argument("--horizon", type=count, default=32, metavar="N", help="steps (default 32)")
    parser.add_argument(
        "--source",
        choices=("prompt", "generated", "both"),
        default="prompt",
        help="where tokens were born (default: prompt)",
    )
    parser.add_argument("--seed", type=count, default=0, metavar="N", help="of the bootstrap")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from dcp.runs.settled import MEASURES, settle
    from dcp.stats import to_records
    from dcp.stats.settling import settling
    from dcp.trace import Trace

    found = []
    for path, trace in [(path, Trace.load(path)) for path in args.traces]:
        trace = settle(_model(args, trace), trace, args.threshold, notes("calm"))
        if args.save:
            trace.save(path)
        found.append(trace)
    report: dict[str, Any] = {
        "traces": len(found),
        "threshold": args.threshold,
        "mean_settled_layer": _mean([trace.settled for trace in found]),
        "mean_exit_layer": {
            name: _mean([trace.exits[i] for trace in found if trace.exits is not None])
            for i, name in enumerate(MEASURES)
        },
        "rates": [],
        **dict.fromkeys(_DIFFERENCES),
        "interval": "",
    }
    try:
        table = settling(found, horizon=args.horizon, source=args.source, seed=args.seed)
    except RequestError as nothing:
        # The layers are still worth telling.
        note(str(nothing))
    else:
        differences = (_plain(asdict(each)) for each in (table.raw, table.at_position))
        report |= dict(zip(_DIFFERENCES, differences, strict=True))
        report |= {"rates": to_records(table.rates), "interval": table.interval}
    if args.json:
        print_json(report)
    else:
        _show(report)
    return 0


def _show(report: dict[str, Any]) -> None:
    if report["rates"]:
        print_table([{name: row[name] for name in _SHOWN} for row in report["rates"]])
    for name, words in _DIFFERENCES.items():
        if report[name] is not None:
            print(f"{words}: {_interval(report[name], report['interval'])}")
    exits = ", ".join(f"{name} {layer:.1f}" for name, layer in report["mean_exit_layer"].items())
    settled = f"{report['mean_settled_layer']:.1f}"
    note(f"mean layer: settled {settled}; left at {report['threshold']:g}: {exits}")


def _model(args: argparse.Namespace, trace: Trace) -> Any:
    """The model with its gates, or without them: by which weights the trace was made."""
    from dcp.model.registry import open_model

    made, dtype = trace.meta.weights_sha256, trace.meta.dtype
    alone = open_model(args.model, dtype, gates=False, base=args.base)
    if alone.loaded.weights_sha256 == made or trace.meta.policy not in (None, "gates"):
        return alone
    return open_model(args.model, dtype, base=args.base)


def _mean(layers: list[Any]) -> float:
    import numpy as np

    every = np.concatenate(layers)
    return float(every[every >= 0].mean())


def _plain(difference: dict[str, float]) -> dict[str, float | None]:
    return {name: value if value == value else None for name, value in difference.items()}


def _interval(difference: dict[str, float | None], kind: str) -> str:
    value, low, high = (difference[name] for name in ("value", "low", "high"))
    if value is None:
        return "too few tokens to tell"
    if low is None or high is None:
        return f"{value:+.3f} (no interval: too few texts or steps)"
    return f"{value:+.3f} (95 % {low:+.3f} to {high:+.3f}, {kind})"
