"""``dcp tag``: Universal POS for each line of a file, as JSON Lines."""

from __future__ import annotations

import argparse
from pathlib import Path

from dcp.cli.parser import add_json, read_text
from dcp.cli.terminal import print_json, printable

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--file", type=Path, required=True, metavar="F", help="UTF-8 text")
    parser.add_argument(
        "--words", action="store_true", help="the lines are words already: split on single spaces"
    )
    parser.add_argument("--tagger", metavar="NAME", help="an installed en_core_web_* pipeline")
    add_json(parser, "JSON Lines: one object per line of the file")


def run(args: argparse.Namespace) -> int:
    text = read_text(args.file)
    from dcp.speech.tagger import load_tagger

    tagger = load_tagger(args.tagger)
    # Not splitlines: it also breaks at characters such as U+2028, which are no ends of lines.
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    for line in lines:
        line = line.removesuffix("\r")
        if args.words:
            words = line.split(" ") if line else []
            pos = tagger.tag_pretokenized(words)
        else:
            tagged = tagger.tag(line)
            words = [line[start:end] for start, end, _ in tagged]
            pos = [tag for _, _, tag in tagged]
        if args.json:
            print_json({"words": words, "pos": pos}, indent=None)
        else:
            pairs = (f"{printable(w)}/{p}" for w, p in zip(words, pos, strict=True))
            print(" ".join(pairs))
    return 0
