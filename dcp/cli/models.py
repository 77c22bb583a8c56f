"""``dcp models`` lists the bundled models; ``dcp models get`` makes the base of one ready."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from dcp.cli.parser import add_json
from dcp.cli.terminal import print_json, print_table
from dcp.errors import RequestError

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", nargs="?", choices=("list", "get"), default="list", help="default: list"
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="which model to get the base of")
    parser.add_argument(
        "--base", type=Path, metavar="DIR", help="get: a folder that has the base; it is copied"
    )
    parser.add_argument(
        "--hub", action="store_true", help="get: allow network, to fetch the base from the Hub"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    if args.action == "get":
        return _get(args)
    if args.name or args.base or args.hub:
        raise RequestError("NAME, --base and --hub go with: dcp models get NAME")
    from dcp.model.gate_config import measured_at
    from dcp.model.registry import list_models

    found = list_models()
    rows = [asdict(info) | {"path": str(info.path)} for info in found]
    if args.json:
        print_json(rows)
        return 0
    for row, info in zip(rows, found, strict=True):
        row.pop("calibration")
        dial = [point.sparsity for point in measured_at(info.calibration)]
        row["sparsity dial"] = f"{min(dial):.2f} to {max(dial):.2f}" if dial else "none"
        row.pop("shares")
        base = row.pop("base")
        row["base"] = "" if base is None else "ready" if base["ready"] else base["how"]
    print_table(rows)
    return 0


def _get(args: argparse.Namespace) -> int:
    """Installs nothing: copies or fetches the base where asked to, and says where it is."""
    from dcp.model.bases import download, how_to_get, keep
    from dcp.model.checkpoint import base_of, open_base
    from dcp.model.files import stamp_of
    from dcp.model.registry import find

    if args.name is None:
        raise RequestError("give the NAME of a model: dcp models get smollm2-135m")
    folder = find(args.name)
    base = base_of(folder, stamp_of(folder))
    report = {"name": args.name, "base": None, "ready": True, "how": "", "path": str(folder)}
    if base is not None:
        if args.base is not None:
            keep(base, args.base)
        elif args.hub:
            download(base)
        found = open_base(base)
        # Not only there, but whole: what opening the model would look at first.
        _ = found.tokenizer
        report |= {"base": base.name, "how": how_to_get(base), "path": str(found.weights[0])}
    if args.json:
        print_json(report)
    else:
        print(f"{args.name} is ready: {report['path']}")
    return 0
