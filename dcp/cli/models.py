"""``dcp models``: the bundled models and what their dials were calibrated to."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from dcp.cli.parser import add_json
from dcp.cli.terminal import print_json, print_table

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from dcp.model.registry import list_models

    rows = [asdict(info) | {"path": str(info.path)} for info in list_models()]
    if args.json:
        print_json(rows)
        return 0
    for row in rows:
        dial = [point["sparsity"] for point in row.pop("calibration")]
        row["sparsity dial"] = f"{min(dial):.2f} to {max(dial):.2f}" if dial else "none"
    print_table(rows)
    return 0
