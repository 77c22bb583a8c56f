"""What narrower cache rows change: deaths and perplexity of whole windows, every type on each.

    python -m benchmarks.kv_rows --model dcp-mini --file valid.txt --context 1024 --windows 8

A window is read in one masked forward with keys and values rounded as a cache keeps them, which is
what stepping with such a cache says (`tests/model/test_kv_rows.py`). JSON on stdout, an object for
each type: perplexity over that of float32, pruned and with the gates off; entries (a layer and a
token each) that died elsewhere than in float32, and of those how many are alive in one of both.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dcp.arguments import KV_DTYPES
from dcp.deaths import ALIVE
from dcp.engine.sampling import log_probabilities
from dcp.evaluate.windows import read_windows
from dcp.kernels.row_bytes import entry_bytes, gate_key_bytes
from dcp.model.kv_rows import kv_dtype_of
from dcp.model.masked import MaskedAttend
from dcp.model.registry import open_model
from dcp.model.rounded import RoundedAttend
from dcp.model.transformer import Transformer

_SCORED_AT_ONCE = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--gate-shift", type=float, default=0.0)
    args = parser.parse_args()
    opened = open_model(args.model)
    model, config = opened.loaded, opened.loaded.config
    dense = model.dense.transformer
    read = read_windows(args.file, opened.tokenizer, args.context, limit=args.windows)
    windows = torch.from_numpy(read.ids)
    found: dict[str, Any] = {name: {"loss": [], "off": [], "deaths": []} for name in KV_DTYPES}
    for ids in windows:
        for name in KV_DTYPES:
            dtype = kv_dtype_of(name, torch.float32)
            gated = MaskedAttend(args.gate_shift)
            found[name]["loss"].append(_loss(model.transformer, ids, RoundedAttend(gated, dtype)))
            found[name]["deaths"].append(gated.deaths[:, 0].numpy())
            off = MaskedAttend(prune=False)
            found[name]["off"].append(_loss(dense, ids, RoundedAttend(off, dtype)))
    plain, tokens = found["float32"], len(windows) * (args.context - 1)
    theirs = np.stack(plain["deaths"])
    gate_key = gate_key_bytes(model.gates.interaction) if model.gates else 0
    rows = []
    for name, one in found.items():
        deaths = np.stack(one["deaths"])
        ratios = np.exp(np.array([one["loss"], one["off"]]) - [plain["loss"], plain["off"]])
        rows.append(
            {
                "model": args.model,
                "kv_dtype": name,
                "windows": len(windows),
                "tokens": tokens,
                "gate_shift": args.gate_shift,
                "entry_bytes": entry_bytes(
                    config.kv_heads, config.head_dim, kv_dtype_of(name, torch.float32)
                ),
                "gate_key_bytes": gate_key,
                "ppl": math.exp(np.mean(one["loss"])),
                "ppl_ratio": math.exp(np.mean(one["loss"]) - np.mean(plain["loss"])),
                "ppl_ratio_windows": [float(r) for r in np.percentile(ratios[0], (0, 50, 100))],
                "ppl_ratio_gates_off": math.exp(np.mean(one["off"]) - np.mean(plain["off"])),
                "entries": int(deaths.size),
                "deaths_elsewhere": int((deaths != theirs).sum()),
                "alive_in_one_alone": int(((deaths == ALIVE) != (theirs == ALIVE)).sum()),
                "alive": int((deaths == ALIVE).sum()),
            }
        )
    print(json.dumps(rows, indent=1))


@torch.inference_mode()
def _loss(transformer: Transformer, ids: torch.Tensor, attend: RoundedAttend) -> float:
    """Mean negative log-prob (nats) of the tokens of ``ids`` [T] after the first."""
    hidden = transformer.hidden(ids[None], torch.arange(len(ids))[None], attend)[0, :-1]
    scores = []
    for start in range(0, len(hidden), _SCORED_AT_ONCE):
        part = slice(start, start + _SCORED_AT_ONCE)
        scores.append(log_probabilities(transformer.head(hidden[part]), ids[1:][part]))
    return float(-torch.cat(scores).double().mean())


if __name__ == "__main__":
    main()
