"""``generate()`` of `transformers` with our cache against its own, in the same run.

    python -m benchmarks.hf --file text.txt --model dcp-mini --context 1024 --json

Each arm continues a greedy ``generate()`` of its own, a few tokens a turn, and the arms take turns;
all share one set of weights (float32). Bytes are those of the cache after the last turn. Resident
memory is measured apart, each arm in a process of its own: how far it grew while the text was read.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

import dcp.hf
from dcp.bench.harness import Arm, take_turns
from dcp.hf.layers import rows_of
from dcp.model.bases import find_base
from dcp.model.checkpoint import base_of
from dcp.model.files import stamp_of
from dcp.model.registry import find

_NEW = 8
_CHUNK = 256
DENSE = "DynamicCache, sdpa"
ARMS: dict[str, dict[str, Any]] = {
    DENSE: {},
    "dcp, nothing dropped": {"gate_shift": 1000.0},
    "dcp, own gates": {},
    "dcp, tova": {"policy": "tova"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--file", type=Path, required=True, help="text, at least the context long")
    parser.add_argument("--model", default="dcp-mini")
    parser.add_argument("--context", type=int, default=1024, help="tokens at the last step")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--resident", metavar="ARM", choices=ARMS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    model, tokenizer = _open(args.model)
    ids = tokenizer(args.file.read_text(encoding="utf-8"), return_tensors="pt")["input_ids"]
    start = args.context - (1 + args.rounds) * _NEW
    if start < 1 or ids.shape[1] < start:
        raise SystemExit(f"{args.file} has {ids.shape[1]} tokens; {max(start, 1)} are needed")
    ids = ids[:, :start]
    if args.resident:
        print(_resident(args, model, ids))
        return
    caches: dict[str, Any] = {}
    arms = [_arm(name, args, model, ids, caches) for name in ARMS]
    rows = []
    for turns in take_turns(arms, rounds=args.rounds, steps=1, warm_up=1):
        row = asdict(turns)
        for name in ("ms", "ms_p20", "ms_p80"):
            row[name] /= _NEW
        dense = 2 * _dense_layer_bytes(caches[DENSE]) * len(caches[DENSE].layers)
        row |= {"bytes": _bytes(caches[turns.name]), "dense_bytes": dense}
        row["resident_bytes_added"] = _elsewhere(args, turns.name)
        rows.append(row)
    if args.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{args.model}, context {args.context}, batch 1, float32; ms a token, median (p20–p80)")
    for row in rows:
        speed = "" if row["speedup"] is None else f"{row['speedup']:.2f}x"
        print(
            f"{row['name']:24}{row['ms']:8.2f} ({row['ms_p20']:.2f}–{row['ms_p80']:.2f}) {speed:>6}"
            f"  cache {row['bytes'] / row['dense_bytes']:4.0%} of {row['dense_bytes'] >> 10} KiB"
            f"  process grew {row['resident_bytes_added'] / 2**20:.1f} MiB"
        )


def _open(name: str) -> tuple[Any, Any]:
    folder = find(name)
    base = base_of(folder, stamp_of(folder))
    place, options = (folder, {}) if base is None else (find_base(base), {"gguf_file": base.file})
    model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, **options).eval()
    return model, AutoTokenizer.from_pretrained(place, **options)


def _prepared(name: str, args: argparse.Namespace, model: Any) -> tuple[Any, Any]:
    """A model that shares ``model``'s weights, and its empty cache."""
    shared = {id(x): x for x in (*model.parameters(), *model.buffers())}
    own = copy.deepcopy(model, dict(shared))
    if name == DENSE:
        return own, DynamicCache(config=own.config)
    settings = dict(ARMS[name])
    if "policy" in settings:
        settings["budget"] = args.context // 4
    dcp.hf.prune(own, args.model, **settings)
    return own, dcp.hf.cache(own)


def _arm(
    name: str, args: argparse.Namespace, model: Any, ids: torch.Tensor, caches: dict[str, Any]
) -> Arm:
    own, cache = _prepared(name, args, model)
    caches[name] = cache
    newest = ids

    def step() -> None:
        nonlocal newest
        newest = own.generate(
            newest, past_key_values=cache, do_sample=False, attention_mask=torch.ones_like(newest),
            max_new_tokens=_NEW, min_new_tokens=_NEW, pad_token_id=0,
        )  # fmt: skip

    turn: Callable[[], None] = step
    return Arm(name, turn, None if name == DENSE else DENSE)


def _dense_layer_bytes(cache: Any) -> int:
    return int(cache.layers[0].keys.nbytes)


def _bytes(cache: Any) -> int:
    rows = rows_of(cache)
    if rows is None:
        return 2 * _dense_layer_bytes(cache) * len(cache.layers)
    return int(rows.cache.memory(0).held)


@torch.inference_mode()
def _resident(args: argparse.Namespace, model: Any, ids: torch.Tensor) -> int:
    """By how many bytes the process grew while it read ``ids`` in chunks."""
    own, cache = _prepared(args.resident, args, model)
    # Buffers that any forward leaves behind are no part of a cache.
    own(ids[:, :_CHUNK], logits_to_keep=1)
    gc.collect()
    before = psutil.Process().memory_info().rss
    for part in torch.split(ids, _CHUNK, dim=1):
        own(part, past_key_values=cache, logits_to_keep=1)
    gc.collect()
    grown: int = psutil.Process().memory_info().rss - before
    return grown


def _elsewhere(args: argparse.Namespace, arm: str) -> int:
    words = [sys.executable, "-m", "benchmarks.hf", "--resident", arm, "--model", args.model]
    words += ["--file", str(args.file), "--context", str(args.context)]
    words += ["--rounds", str(args.rounds)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
