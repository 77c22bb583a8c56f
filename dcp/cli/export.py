"""``dcp export hub``: a pruned model as the folder of a repository on the Hugging Face Hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from dcp.cli.parser import add_json
from dcp.cli.terminal import note, print_json

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "kind", choices=("hub",), help="hub: a model repository, ready to push; nothing is sent"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write it")
    parser.add_argument("--model", metavar="M", help="name, folder or Hub id (default: bundled)")
    parser.add_argument(
        "--hub-id", metavar="OWNER/NAME", help="where it will be, for the card and the recipe"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from dcp.hf import hub

    repository = hub.build(args.model, args.hub_id)
    size = hub.write(repository, args.out)
    names = sorted([*repository.written, *repository.copied])
    if args.json:
        print_json({"out": str(args.out.resolve()), "files": names, "bytes": size})
    else:
        where = args.hub_id or "OWNER/NAME"
        note(
            f"wrote {args.out}: {len(names)} files, {size / 1e6:.1f} MB; "
            f"push it with: hf upload {where} {args.out}"
        )
    return 0
