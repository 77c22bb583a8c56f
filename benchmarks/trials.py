"""Small trials of the base model: the same few minutes of training, one change at a time.

    python -m benchmarks.trials --text train-00.txt.xz --valid valid-*.txt.xz --work runs/trials

Prints a row an arm: tokens read, seconds, parameters, bits per byte on validation text. Arms are in
``configs/trials.toml``; one that is there already is not run again.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import tomllib
from pathlib import Path

import numpy as np

from dcp.evaluate.score import score
from dcp.evaluate.windows import Windows, read_windows
from dcp.model.masked import MaskedAttend
from dcp.model.weights import load
from dcp.text.tokens import Tokenizer
from dcp.train.data import pack_file
from dcp.train.loop import train
from dcp.train.settings import TrainSettings
from dcp.train.tokenizer import train_tokenizer

_VOCABULARIES = {"8k": 8192, "16k": 16384}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--valid", type=Path, nargs="+", required=True)
    parser.add_argument("--windows", type=int, default=24, help="of 512 tokens, a file")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=Path("configs/trials.toml"))
    args = parser.parse_args()
    found = tomllib.loads(args.config.read_text(encoding="utf-8"))
    start = TrainSettings().merged(found["start"])
    for name, size in _VOCABULARIES.items():
        if not (args.work / name / "shard.npy").exists():
            train_tokenizer([args.text], size, args.work / name)
            pack_file(args.text, args.work / name, args.work / name / "shard.npy")
    for name, changes in found["arm"].items():
        done = args.work / f"{name}.json"
        if not done.exists():
            data = changes.pop("shards", "8k")
            settings = start.merged(changes)
            done.write_text(json.dumps(_run(name, settings, data, args)))
        print(name, *(f"{k} {v}" for k, v in json.loads(done.read_text()).items()), sep="\t")


def _run(
    name: str, settings: TrainSettings, data: str, args: argparse.Namespace
) -> dict[str, float]:
    tokens = settings.run.steps * settings.data.batch * settings.data.length
    folder = args.work / ("16k" if data == "16k" else "8k")
    shard = folder / "shard.npy"
    if data == "quarter":
        shard = _first(shard, tokens // 4)
    began = time.perf_counter()
    final = train(settings, [shard], folder, args.work / name)
    seconds = time.perf_counter() - began
    model, tokenizer = load(final, gates=False), Tokenizer.load(final)
    windows = Windows.join(
        [read_windows(file, tokenizer, 512, limit=args.windows) for file in args.valid]
    )
    nats = score(model, windows, lambda: MaskedAttend(prune=False)).nats.sum()
    return {
        "tokens": tokens,
        "seconds": round(seconds),
        "parameters": sum(p.numel() for p in model.transformer.parameters()),
        "bits_per_byte": round(float(nats / math.log(2) / windows.bytes), 4),
    }


def _first(shard: Path, tokens: int) -> Path:
    """A shard of the first documents of another, about ``tokens`` long."""
    out = shard.with_name("quarter.npy")
    starts = np.load(shard.with_name("shard.starts.npy"))
    last = int(np.searchsorted(starts, tokens))
    np.save(out, np.load(shard, mmap_mode="r")[: starts[last]])
    np.save(out.with_name("quarter.starts.npy"), starts[:last])
    return out


if __name__ == "__main__":
    main()
