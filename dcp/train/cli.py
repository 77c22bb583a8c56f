"""The ``train`` command: tokenizer, pack, pretrain, prune, dense, calibrate, import.

Parses and delegates.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["add_arguments", "run"]

_EXAMPLE = """example, from raw text to a pruned checkpoint:
  dcp train tokenizer --text train.txt.xz --vocab 8192 --out runs/tokenizer
  dcp train pack --text train.txt.xz --tokenizer runs/tokenizer --out runs/shards
  dcp train pretrain --config configs/v4-pretrain.toml --shards runs/shards \\
      --tokenizer runs/tokenizer --out runs/base
  dcp train prune --config configs/v4-prune.toml --base runs/base/final \\
      --shards runs/shards --out runs/pruned
  dcp train dense --config configs/v4-prune.toml --base runs/base/final \\
      --shards runs/shards --out runs/dense
  dcp train calibrate --model runs/pruned/final --dense runs/dense/final \\
      --file valid.txt.xz --gate-shift -1 1 3
any other base, and a checkpoint of the paper's public code:
  dcp train prune --base gpt2 --data train.txt.xz --out runs/gpt2-pruned
  dcp train import --checkpoint last_model.pt --tokenizer gpt2 --out imported
"""

_OVERRIDES = {
    "steps": int,
    "decay": int,
    "gamma": float,
    "centre": float,
    "spread": float,
    "seed": int,
}


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
    pack.add_argument("--xz", action="store_true", help="compressed shards of about 5 MB")

    foreign = stages.add_parser("import", help="read a checkpoint of the paper's public code")
    foreign.add_argument("--checkpoint", type=Path, required=True, metavar="FILE", help="its .pt")
    foreign.add_argument(
        "--tokenizer", required=True, metavar="DIR", help="folder or Hub id of its tokenizer"
    )
    foreign.add_argument("--out", type=Path, required=True, metavar="DIR")
    foreign.add_argument(
        "--heads", type=int, metavar="H", help="when the run's config.json is not beside it"
    )

    dial = stages.add_parser("calibrate", help="measure the sparsity dial of a pruned model")
    dial.add_argument("--model", type=Path, required=True, metavar="DIR")
    against = dial.add_mutually_exclusive_group(required=True)
    against.add_argument("--dense", type=Path, metavar="DIR", help="the dense twin")
    against.add_argument(
        "--shares-only",
        action="store_true",
        help="only what each shift drops of shorter texts; the calibration stays",
    )
    dial.add_argument("--file", type=Path, nargs="+", required=True, metavar="FILE")
    dial.add_argument("--context", type=int, default=512, metavar="C")
    dial.add_argument("--gate-shift", type=float, nargs="+", default=[0.0], metavar="δ")
    dial.add_argument(
        "--fold", type=float, default=0.0, metavar="δ", help="add this to every β for good"
    )
    dial.add_argument(
        "--changes-below",
        type=float,
        metavar="δ",
        help="an adapter's changes of its base apply below this gate shift alone, from now on",
    )
    dial.add_argument("--limit", type=int, default=0, metavar="N", help="windows of each file")
    dial.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")

    for name, summary in (
        ("pretrain", "train a base model from nothing"),
        ("prune", "teach a base model to drop tokens"),
        ("dense", "the twin of prune without gates: the baseline of every claim"),
    ):
        stage = stages.add_parser(name, help=summary)
        stage.add_argument("--config", type=Path, metavar="TOML", help="settings of the run")
        source = stage.add_mutually_exclusive_group(required=True)
        source.add_argument(
            "--shards", type=Path, nargs="+", metavar="NPY", help="packed text, or folders of it"
        )
        source.add_argument(
            "--data", type=Path, nargs="+", metavar="TEXT", help="text, packed into DIR/shards"
        )
        stage.add_argument("--tokenizer", type=Path, metavar="DIR", help="default: the base's")
        stage.add_argument(
            "--base", metavar="M", help="start from these weights: a folder or a Hub id"
        )
        if name != "pretrain":
            stage.add_argument(
                "--teacher", metavar="M", help="a dense model to keep close to (setting distill)"
            )
        if name == "prune":
            stage.add_argument(
                "--gates", metavar="M", help="start with the gates of this pruned model"
            )
        stage.add_argument("--out", type=Path, required=True, metavar="DIR")
        stage.add_argument("--resume", action="store_true", help="go on from DIR/last")
        stage.add_argument("--compile", action="store_true", help="use torch.compile")
        for setting, kind in _OVERRIDES.items():
            stage.add_argument(f"--{setting}", type=kind, help="overrides the settings file")


def run(args: argparse.Namespace) -> int:
    if args.stage == "tokenizer":
        from dcp.train.tokenizer import train_tokenizer

        train_tokenizer(args.text, args.vocab, args.out, args.characters)
        return 0
    if args.stage == "pack":
        _pack(args.text, args.tokenizer, args.out, xz=args.xz)
        return 0
    if args.stage == "import":
        from dcp.model.importer import import_checkpoint
        from dcp.model.registry import find

        import_checkpoint(args.checkpoint, find(args.tokenizer), args.out, heads=args.heads)
        print(args.out)
        return 0
    if args.stage == "calibrate":
        import json

        from dcp.evaluate.calibrate import calibrate
        from dcp.evaluate.shares import write_shares

        if args.shares_only:
            shares = write_shares(
                args.model,
                args.file,
                args.context,
                args.gate_shift,
                limit=args.limit,
                device=args.device,
                progress=lambda _, line: print(line, file=sys.stderr),
            )
            print(json.dumps(shares.to_json()))
            return 0
        report = calibrate(
            args.model,
            args.dense,
            args.file,
            args.context,
            args.gate_shift,
            folded=args.fold,
            changes_below=args.changes_below,
            limit=args.limit,
            device=args.device,
            progress=lambda _, line: print(line, file=sys.stderr),
        )
        print(json.dumps(report, indent=2))
        return 0
    from dcp.errors import RequestError
    from dcp.model.registry import find
    from dcp.train.loop import train
    from dcp.train.settings import TrainSettings

    overrides = {setting: getattr(args, setting) for setting in _OVERRIDES}
    settings = TrainSettings.read(args.config, stage=args.stage, **overrides)
    base = None
    if args.base is not None:
        from dcp.train.build import check_base

        base = find(args.base)
        check_base(settings.data, base)
    tokenizer = args.tokenizer or base
    if tokenizer is None:
        raise RequestError("give --tokenizer DIR, or --base DIR to use its tokenizer")
    shards = args.shards or [_packed_data(args.data, tokenizer, args.out, args.resume)]
    others = dict[str, Path | None]()
    for option in ("teacher", "gates"):
        named = getattr(args, option, None)
        others[option] = None if named is None else find(named)
    final = train(
        settings,
        shards,
        tokenizer,
        args.out,
        init=base,
        gates_of=others["gates"],
        teacher=others["teacher"],
        resume=args.resume,
        compiled=args.compile,
    )
    print(final)
    return 0


def _packed_data(texts: Sequence[Path], tokenizer: Path, out: Path, resume: bool) -> Path:
    """``out/shards``, packed from ``texts`` unless a run that is resumed has done so."""
    import os
    import shutil

    from dcp.errors import RequestError
    from dcp.train.run_folder import find_last

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RequestError("several processes cannot pack --data; use train pack, then --shards")
    shards, fresh = out / "shards", out / "shards.new"
    if find_last(out).is_dir() and (shards.is_dir() or not resume):
        return shards  # the trainer refuses or resumes the run that is here
    for stale in (shards, fresh):
        shutil.rmtree(stale, ignore_errors=True)
    _pack(texts, tokenizer, fresh)
    fresh.rename(shards)
    return shards


def _pack(texts: Sequence[Path], tokenizer: Path, out: Path, *, xz: bool = False) -> None:
    from dcp.errors import RequestError
    from dcp.train.data import pack_file

    names = [source.name.split(".")[0] for source in texts]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise RequestError(f"two texts are named {twice[0]!r}: their shards would be one file")
    for i, (source, name) in enumerate(zip(texts, names, strict=True)):
        tokens = pack_file(source, tokenizer, out / f"{name}.npy", seed=i, xz=xz)
        print(f"{name}: {tokens} tokens", file=sys.stderr)
