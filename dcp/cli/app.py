"""``dcp app``: the pages in a browser, by Streamlit. Ctrl-C ends it."""

from __future__ import annotations

import argparse
import os
import sys

from dcp.cli.parser import port

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=port, metavar="N", help="default: 8501, or the next free")
    parser.add_argument(
        "--no-browser", action="store_true", help="serve only; open no window of a browser"
    )
    parser.add_argument(
        "--public", action="store_true", help="for strangers: bundled models, capped requests"
    )


def run(args: argparse.Namespace) -> int:
    from dcp.resources import needs, root

    needs("streamlit", "plotly", "matplotlib", "spacy")
    command = [sys.executable, "-m", "streamlit", "run", str(root() / "app.py")]
    if args.public:
        from dcp.ui.settings import read

        os.environ["DCP_PUBLIC"] = "1"
        # The widget's own bound is the browser's; this one is the server's.
        command.append(f"--server.maxUploadSize={read(os.environ).upload_mib}")
    if args.port is not None:
        command.append(f"--server.port={args.port}")
    if args.no_browser:
        command.append("--server.headless=true")
    # In place of this process: signals and the exit status are Streamlit's own.
    sys.stdout.flush()
    os.execv(command[0], command)
