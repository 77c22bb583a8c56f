"""The gates of a pruned checkpoint as a kvpress ``Press``.

    from dcp_press import DCPPress
    with DCPPress(folder)(model):
        model(ids, past_key_values=cache)

kvpress compresses after the prompt has been read: its queries saw everything, and what is generated
is not pruned. So this holds what the gates would keep of a prompt, layer by layer; pruning while
reading and writing is ``dcp.hf.prune``. Needs kvpress, safetensors and no ``dcp``, which asks for a
newer `transformers` than kvpress allows.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from kvpress import BasePress
from safetensors.torch import load_file

# Queries that are judged at once: 512 x prompt floats.
_CHUNK = 512


@dataclass
class DCPPress(BasePress):
    """Keeps entry j of a layer iff no later query of the prompt closes its gate.

    z[t, j] = <q_int[t], k_int[j]> / sqrt(r) + beta + gate_shift, closed where z <= 0
    (Anagnostidis et al., 2023, arXiv 2305.15805). One sequence at a time: of two, different
    entries stay.

    checkpoint  folder with dcp.safetensors
    """

    checkpoint: str
    gate_shift: float = 0.0
    gates: dict = field(default_factory=dict, repr=False)

    def post_init_from_model(self, model):
        gates = load_file(Path(self.checkpoint) / "dcp.safetensors")
        width = model.config.hidden_size
        wanted = {f"layers.{i}.q_int.weight" for i in range(model.config.num_hidden_layers)}
        if not wanted <= gates.keys() or any(gates[name].shape[1] != width for name in wanted):
            raise ValueError(f"the gates of {self.checkpoint} are not for this model")
        self.gates = {name: tensor.float().to(model.device) for name, tensor in gates.items()}

    def kept(self, layer: int, hidden: torch.Tensor) -> torch.Tensor:
        """hidden [T, D], the layer's normalised input -> [T] bool."""
        q_int, k_int, beta = (
            self.gates[f"layers.{layer}.{part}"]
            for part in ("q_int.weight", "k_int.weight", "beta")
        )
        hidden, place = hidden.float(), torch.arange(len(hidden), device=hidden.device)
        q, k = hidden @ q_int.T, hidden @ k_int.T
        kept = torch.ones_like(place, dtype=torch.bool)
        for queries in place.split(_CHUNK):
            z = q[queries] @ k.T / math.sqrt(len(q_int)) + beta + self.gate_shift
            kept &= ~((z <= 0) & (place < queries[:, None])).any(dim=0)
        return kept

    def compress(self, module, hidden_states, keys, values, attentions, kwargs):
        if len(keys) != 1:
            raise ValueError("DCPPress takes one sequence at a time: entries differ between them")
        kept = self.kept(module.layer_idx, hidden_states[0])
        return keys[:, :, kept].contiguous(), values[:, :, kept].contiguous()
