"""Holds `DCPPress` against a trace that the engine left, in kvpress's own environment.

    dcp trace --file TEXT --new-tokens 0 --out run.safetensors     (in dcp's environment)
    python examples/kvpress/check.py run.safetensors assets/models/dcp-mini

The first layer reads the same input in both, so it must hold exactly the entries that the trace
says are alive; every layer must hold what the naive rule keeps; and the model must go on writing.
"""

import math
import sys
from pathlib import Path

import torch
from dcp_press import DCPPress
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, DynamicCache

ALIVE = 2**31 - 1


def naive(gates: dict, layer: int, hidden: torch.Tensor) -> list[int]:
    """Entry by entry, query by query."""
    q = hidden @ gates[f"layers.{layer}.q_int.weight"].float().T
    k = hidden @ gates[f"layers.{layer}.k_int.weight"].float().T
    beta = float(gates[f"layers.{layer}.beta"])
    z = q @ k.T / math.sqrt(q.shape[1]) + beta
    return [j for j in range(len(z)) if all(z[t, j] > 0 for t in range(j + 1, len(z)))]


def main(trace: str, folder: str) -> None:
    run = load_file(trace)
    ids, death = run["token_ids"].long()[None], run["death"]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    gates = load_file(Path(folder) / "dcp.safetensors")
    inputs: dict[int, torch.Tensor] = {}
    for attention in (layer.self_attn for layer in model.model.layers):
        attention.register_forward_pre_hook(
            lambda module, args, kwargs: inputs.update(
                {module.layer_idx: kwargs["hidden_states"][0]}
            ),
            with_kwargs=True,
        )
    cache = DynamicCache()
    with torch.no_grad(), DCPPress(folder)(model):
        model(ids, past_key_values=cache)
    held = [layer.keys.shape[2] for layer in cache.layers]
    for layer, count in enumerate(held):
        assert count == len(naive(gates, layer, inputs[layer])), f"layer {layer} differs"
    alive = int((death[0] == ALIVE).sum())
    assert held[0] == alive, f"layer 0 holds {held[0]} entries, the trace {alive}"
    assert len(set(held)) > 1, "layers hold different numbers of entries"
    assert sum(held) < len(held) * ids.shape[1], "something was dropped"
    with torch.no_grad(), DCPPress(folder)(model):
        out = model.generate(ids, max_new_tokens=8, min_new_tokens=8, do_sample=False)
    assert out.shape[1] == ids.shape[1] + 8
    print(f"entries held of {ids.shape[1]}, by layer: {held}")


if __name__ == "__main__":
    main(*sys.argv[1:])
