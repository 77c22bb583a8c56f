"""``dcp space``: the demo as a folder to be handed out by a web server or pushed to a hub."""

from __future__ import annotations

import argparse
import re

from dcp.cli.parser import add_json, folder
from dcp.cli.terminal import note, print_json
from dcp.errors import RequestError

__all__ = ["add_arguments", "run"]

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "kind",
        choices=("static", "docker"),
        help="static: the model in the page, no server; docker: the app in a container",
    )
    parser.add_argument(
        "--out", type=folder, required=True, metavar="DIR", help="where to write it"
    )
    parser.add_argument(
        "--model", metavar="M", help="static: a bundled name or a checkpoint folder"
    )
    parser.add_argument(
        "--hub-model",
        type=_name,
        metavar="OWNER/NAME",
        help="the model's page on the hub, for the README",
    )
    parser.add_argument(
        "--hub-space",
        type=_name,
        metavar="OWNER/NAME",
        help="what the Space is called there: completes the address of its thumbnail",
    )
    add_json(parser)


def _name(text: str) -> str:
    """An argument type: a name on the hub; it is written into YAML."""
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not OWNER/NAME")
    return text


def run(args: argparse.Namespace) -> int:
    return _static(args) if args.kind == "static" else _docker(args)


def _static(args: argparse.Namespace) -> int:
    from dcp.model.registry import open_model
    from dcp.space import static

    space = static.build(open_model(args.model), hub_id=args.hub_model, space_id=args.hub_space)
    static.write(space, args.out)
    report = {"download_bytes": space.download}
    said = f"{space.download / 1e6:.1f} MB to download; see it with: python -m http.server "
    return _report(args, dict(space.files), report, f"{said}--directory {args.out}")


def _docker(args: argparse.Namespace) -> int:
    from dcp.space import docker

    if args.model is not None:
        raise RequestError("--model goes with static: the container has every bundled model")
    models = (args.hub_model,) if args.hub_model else ()
    files = docker.build(models=models, space=args.hub_space)
    docker.write(files, args.out)
    size = sum(map(len, files.values()))
    said = f"{size / 1e6:.0f} MB; run it with: docker build -t dcp {args.out} && docker run -p "
    return _report(args, files, {"bytes": size}, f"{said}8501:8501 dcp")


def _report(
    args: argparse.Namespace, files: dict[str, bytes], sizes: dict[str, int], said: str
) -> int:
    if args.json:
        largest = max(map(len, files.values()))
        out = {"out": str(args.out.resolve()), "files": len(files), "largest_file_bytes": largest}
        print_json(out | sizes)
    else:
        note(f"wrote {args.out}: {len(files)} files, {said}")
    return 0
