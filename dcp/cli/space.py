"""``dcp space``: the demo as a folder to be handed out by a web server or pushed to a hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from dcp.cli.parser import add_json, folder
from dcp.cli.terminal import note, print_json

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "kind", choices=("static",), help="static: the model in the page, no server"
    )
    parser.add_argument(
        "--out", type=folder, required=True, metavar="DIR", help="where to write it"
    )
    parser.add_argument("--model", metavar="M", help="a bundled name or a checkpoint folder")
    parser.add_argument(
        "--hub-model", metavar="OWNER/NAME", help="the model's page on the hub, for the README"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from dcp.model.registry import open_model
    from dcp.space import static

    space = static.build(open_model(args.model), hub_id=args.hub_model)
    folder = Path(args.out)
    static.write(space, folder)
    largest = max(map(len, space.files.values()))
    if args.json:
        print_json(
            {
                "out": str(folder.resolve()),
                "files": len(space.files),
                "download_bytes": space.download,
                "largest_file_bytes": largest,
            }
        )
    else:
        note(
            f"wrote {folder}: {len(space.files)} files, {space.download / 1e6:.1f} MB to download; "
            f"see it with: python -m http.server --directory {folder}"
        )
    return 0
