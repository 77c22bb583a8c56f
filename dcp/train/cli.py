"""The ``train`` command: tokenizer, pack, pretrain, prune, dense, calibrate. Parses, delegates."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

__all__ = ["add_arguments", "run"]

_EXAMPLE = """example, from raw text to a pruned checkpoint:
  python -m dcp train tokenizer --text train.txt.xz --vocab 8192 --out runs/tokenizer
  python -m dcp train pack --text train.txt.xz --tokenizer runs/tokenizer --out runs/shards
  python -m dcp train pretrain --config configs/v1-pretrain.toml --shards runs/shards/train.npy \\
      --tokenizer runs/tokenizer --out runs/base
  python -m dcp train prune --config configs/v1-prune.toml --base runs/base/final \\
      --shards runs/shards/train.npy --out runs/pruned
  python -m dcp train dense --config configs/v1-prune.toml --base runs/base/final \\
      --shards runs/shards/train.npy --out runs/dense
  python -m dcp train calibrate --model runs/pruned/final --dense runs/dense/final \\
      --file valid.txt.xz --gate-shift -1 1 3
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLE
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")

    tokenizer = stages.add_parser("tokenizer", help="learn a byte-level BPE vocabulary")
    tokenizer.add_argument("--text", type=Path, nargs="+", required=True, metavar="FILE")
    tokenizer.add_argument("--vocab", type=int, default=8192, metavar="N")
    tokenizer.add_argument("--characters", type=int, default=24_000_000, metavar="N")
    tokenizer.add_argument("--out", type=Path, required=True, metavar="DIR")

    pack = stages.add_parser("pack", help="tokenise text files into shards")
    pack.add_argument("--text", type=Path, nargs="+", required=True, metavar="FILE")
    pack.add_argument("--tokenizer", type=Path, required=True, metavar="DIR")
    pack.add_argument("--out", type=Path, required=True, metavar="DIR")

    dial = stages.add_parser("calibrate", help="measure the sparsity dial of a pruned model")
    dial.add_argument("--model", type=Path, required=True, metavar="DIR")
    dial.add_argument("--dense", type=Path, required=True, metavar="DIR", help="the dense twin")
    dial.add_argument("--file", type=Path, nargs="+", required=True, metavar="FILE")
    dial.add_argument("--context", type=int, default=512, metavar="C")
    dial.add_argument("--gate-shift", type=float, nargs="+", default=[0.0], metavar="δ")
    dial.add_argument("--limit", type=int, default=0, metavar="N", help="windows of each file")

    for name, summary in (
        ("pretrain", "train a base model from nothing"),
        ("prune", "teach a base model to drop tokens"),
        ("dense", "the twin of prune without gates: the baseline of every claim"),
    ):
        stage = stages.add_parser(name, help=summary)
        stage.add_argument("--config", type=Path, metavar="TOML", help="settings of the run")
        stage.add_argument("--shards", type=Path, nargs="+", required=True, metavar="NPY")
        stage.add_argument("--tokenizer", type=Path, metavar="DIR", help="default: the base's")
        stage.add_argument("--base", type=Path, metavar="DIR", help="start from these weights")
        stage.add_argument("--out", type=Path, required=True, metavar="DIR")
        stage.add_argument("--resume", action="store_true", help="go on from DIR/last")
        stage.add_argument("--compile", action="store_true", help="use torch.compile")
        for setting, kind in (("steps", int), ("decay", int), ("gamma", float), ("seed", int)):
            stage.add_argument(f"--{setting}", type=kind, help="overrides the settings file")


def run(args: argparse.Namespace) -> int:
    if args.stage == "tokenizer":
        from dcp.train.tokenizer import train_tokenizer

        train_tokenizer(args.text, args.vocab, args.out, args.characters)
        return 0
    if args.stage == "pack":
        from dcp.train.data import pack_file

        for i, source in enumerate(args.text):
            name = source.name.split(".")[0]
            tokens = pack_file(source, args.tokenizer, args.out / f"{name}.npy", seed=i)
            print(f"{name}: {tokens} tokens", file=sys.stderr)
        return 0
    if args.stage == "calibrate":
        import json

        from dcp.train.calibrate import calibrate

        report = calibrate(
            args.model,
            args.dense,
            args.file,
            args.context,
            args.gate_shift,
            limit=args.limit,
            progress=lambda line: print(line, file=sys.stderr),
        )
        print(json.dumps(report, indent=2))
        return 0
    from dcp.errors import RequestError
    from dcp.train.loop import train
    from dcp.train.settings import TrainSettings

    settings = TrainSettings.read(
        args.config,
        stage=args.stage,
        steps=args.steps,
        decay=args.decay,
        gamma=args.gamma,
        seed=args.seed,
    )
    tokenizer = args.tokenizer or args.base
    if tokenizer is None:
        raise RequestError("give --tokenizer DIR, or --base DIR to use its tokenizer")
    final = train(
        settings,
        args.shards,
        tokenizer,
        args.out,
        init=args.base,
        resume=args.resume,
        compiled=args.compile,
    )
    print(final)
    return 0
