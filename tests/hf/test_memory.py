"""Rows that were dropped leave the process: resident memory, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

TOKENS = 1800
SHAPE = {
    "num_hidden_layers": 8, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 256,
    "max_position_embeddings": 2048,
}  # fmt: skip
DENSE = TOKENS * 8 * 2 * 2 * 256 * 4  # bytes of keys and values

CHILD = """
import gc, json, sys
import psutil, torch
from transformers import AutoModelForCausalLM, DynamicCache
import dcp.hf

folder, tokens = sys.argv[1], int(sys.argv[2])
ids = torch.randint(0, 250, (1, tokens), generator=torch.Generator().manual_seed(0))

@torch.inference_mode()
def grown(model, cache):
    model(ids[:, :64], past_key_values=type(cache)() if isinstance(cache, DynamicCache) else None)
    gc.collect()
    before = psutil.Process().memory_info().rss
    for part in ids.split(200, dim=1):
        model(part, past_key_values=cache, logits_to_keep=1)
    gc.collect()
    return psutil.Process().memory_info().rss - before

model = AutoModelForCausalLM.from_pretrained(folder).eval()
dcp.hf.prune(model, folder, gate_shift=-1000.0)
cache = dcp.hf.cache(model)
pruned = grown(model, cache)
seen = cache.get_seq_length()
dcp.hf.restore(model)
kept = DynamicCache(config=model.config)
print(json.dumps({"pruned": pruned, "dense": grown(model, kept), "seen": seen}))
"""


def test_resident_memory_falls(tiny_checkpoint: Callable[..., Path]) -> None:
    folder = tiny_checkpoint("llama", **SHAPE)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder), str(TOKENS)],
        capture_output=True, text=True, timeout=250, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["seen"] == TOKENS
    # Every entry dies one step after it was made, so next to nothing is held.
    assert found["dense"] > 0.8 * DENSE
    assert found["pruned"] < 0.3 * DENSE
