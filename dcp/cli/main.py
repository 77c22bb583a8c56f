"""``main``: picks the command, turns every foreseeable failure into one line and an exit status.

0    done
2    a request, file, model or device that cannot be used: one line on stderr
130  Ctrl-C
141  the reader of stdout went away
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from dcp import __version__
from dcp.cli.hints import worded
from dcp.cli.parser import Parser
from dcp.cli.terminal import one_line
from dcp.errors import DcpError, RequestError
from dcp.resources import PARTS, missing

__all__ = ["COMMANDS", "build", "main"]

# What the place of a file can be wrong in; any other OSError is ours, and keeps its traceback.
_OF_FILES = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.EINVAL),
)

# name -> (module, what it does, example)
COMMANDS = {
    "app": ("dcp.cli.app", "open the pages in a browser", "dcp app --port 8502"),
    "trace": (
        "dcp.cli.trace",
        "run a pruned model on a text and save what each layer drops",
        'dcp trace --text "The river rose for three days" --out run.safetensors',
    ),
    "stats": (
        "dcp.cli.stats",
        "drop rates and survival by part of speech, layer, position or frequency",
        "dcp stats run.safetensors --by pos --horizon 32",
    ),
    "study": (
        "dcp.cli.study",
        "record a whole file of texts and pool its statistics",
        "dcp study --file texts.txt --out study --limit 100",
    ),
    "figure": (
        "dcp.cli.figure",
        "draw a figure for a paper or a screen",
        "dcp figure run.safetensors --kind overview --style neurips --out fig.pdf",
    ),
    "calm": (
        "dcp.cli.calm",
        "the layer at which predictions settled, beside what is dropped",
        "dcp calm run.safetensors --threshold 0.9 --save",
    ),
    "agree": (
        "dcp.cli.agree",
        "which entries several policies hold alike, by layer and step",
        "dcp agree gates.safetensors tova.safetensors h2o.safetensors --every 32",
    ),
    "view": (
        "dcp.cli.view",
        "write the linked view as one HTML file that works offline",
        "dcp view run.safetensors --out view.html",
    ),
    "tag": (
        "dcp.cli.tag",
        "part-of-speech tags, one line of JSON per line of text",
        "dcp tag --file sentences.txt --json",
    ),
    "train": ("dcp.train.cli", "train a tokenizer, a base model, its gates", ""),
    "eval": (
        "dcp.cli.evaluate",
        "perplexity and bits per byte with hard gates",
        "dcp eval --model dcp-mini --file valid.txt --context 512 --gate-shift -2 -1 0",
    ),
    "bench": (
        "dcp.cli.bench",
        "decode speed and memory, arms interleaved in one run",
        "dcp bench --json > bench.json",
    ),
    "models": (
        "dcp.cli.models",
        "list the bundled models, get the base of one",
        "dcp models --json",
    ),
    "export": (
        "dcp.cli.export",
        "write a pruned model as a repository for the Hub",
        "dcp export hub --model smollm2-135m --out hub",
    ),
    "space": (
        "dcp.cli.space",
        "write a demo: the model in the page, or the app in a container",
        "dcp space static --out space",
    ),
}


def build(only: str | None = None) -> Parser:
    """The parser. ``only`` builds the options of that command alone, which keeps the start fast."""
    parser = Parser(
        prog="dcp",
        description="See what a language model forgets: Dynamic Context Pruning.",
        example=COMMANDS["trace"][2],
    )
    parser.add_argument("--version", action="version", version=f"dcp {__version__}")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=Parser
    )
    for name, (module, summary, example) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary, example=example)
        if name == only:
            import_module(module).add_arguments(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. A failure nobody foresaw keeps its traceback."""
    # On shared cores OpenMP's spinning threads cost two to three times the speed. Read by torch
    # when it is first imported, so here and not later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    words = list(sys.argv[1:] if argv is None else argv)
    if sys.stderr is None:
        # Before any other file is opened, which would become number 2 and get what goes there.
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is None:
        return _fail("standard output is closed: send it to a file, or to /dev/null")
    # A terminal that cannot show a character gets its number, not a traceback.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _run(words)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("dcp: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _leave_stdout()
        return 141
    except DcpError as error:
        return _fail(worded(error))
    except ModuleNotFoundError as error:
        if error.name not in PARTS:
            raise
        return _fail(str(missing(error.name)))
    except OSError as error:
        if error.errno not in _OF_FILES:
            raise
        if error.filename is None:
            _leave_stdout()
        what = "write the output" if error.filename is None else f"use {error.filename}"
        return _fail(f"cannot {what}: {error.strerror}; choose another place or free some space")
    except Exception as error:
        # A full disk inside safetensors is an error of its own kind.
        if type(error).__name__ != "SafetensorError":
            raise
        return _fail(f"cannot read or write weights: {error}")


def _run(words: list[str]) -> int:
    name = words[0] if words and words[0] in COMMANDS else None
    if not words:
        raise RequestError(f"give a command: {', '.join(COMMANDS)} (see: dcp --help)")
    try:
        args = build(only=name).parse_args(words)
    except SystemExit as done:
        # --help has been printed.
        return int(done.code or 0)
    status: int = import_module(COMMANDS[args.command][0]).run(args)
    return status


def _leave_stdout() -> None:
    """Python flushes stdout once more when it leaves; that must not complain too."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str) -> int:
    print(f"dcp: {one_line(message)}", file=sys.stderr)
    return 2
