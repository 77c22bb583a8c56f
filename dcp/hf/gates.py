"""The gates of a pruned checkpoint, without its base: two projections and β for each layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dcp.errors import ModelError
from dcp.hf.changes import changes_in
from dcp.kernels.gates import Gates
from dcp.model.checkpoint import GATES, gates_of
from dcp.model.config import ModelConfig
from dcp.model.dial import shift_for_budget
from dcp.model.files import stamp_of
from dcp.model.gate_config import GateConfig, measured_at
from dcp.model.names import gate_names
from dcp.model.registry import find, shift_for

__all__ = ["FoundGates", "LayerGates", "has_gates", "read_gates"]


@dataclass(eq=False)
class LayerGates:
    """q_int, k_int [r, D] float32 and beta [1] float32 of one layer. The first two follow the
    model from device to device."""

    q_int: Tensor
    k_int: Tensor
    beta: Tensor

    @property
    def interaction(self) -> int:
        return len(self.q_int)

    def __call__(self, hidden: Tensor) -> Gates:
        """hidden [B, T, D], the layer's normalised input -> its gates, float32 whatever it is."""
        wide = hidden.detach().float()
        if self.q_int.device != wide.device:
            self.q_int, self.k_int = self.q_int.to(wide.device), self.k_int.to(wide.device)
        # Mixed precision would round what decides.
        with torch.autocast(wide.device.type, enabled=False):
            return Gates(F.linear(wide, self.q_int), F.linear(wide, self.k_int), self.beta)


@dataclass(frozen=True, eq=False)
class FoundGates:
    """The gates of all layers, what the checkpoint says of them, its name, and what it adds to
    parameters of its base, by their names in `transformers`."""

    layers: list[LayerGates]
    config: GateConfig
    name: str
    changes: dict[str, Tensor]

    def shift_for(self, sparsity: float) -> float:
        """The gate shift that gives ``sparsity``, by the calibration, at the usual length."""
        return shift_for(self.config.calibration, sparsity)

    def shift_for_budget(self, budget: int) -> float:
        """The gate shift that drops as much as a budget of entries a layer, at the calibrated
        length: how long the texts will be is not known here."""
        points = measured_at(self.config.calibration)
        return shift_for_budget(self.config, budget, points[0].context if points else 1)


def has_gates(name: str | Path) -> bool:
    """Whether ``name``, a bundled name, a folder or a Hub id, is a checkpoint with gates."""
    try:
        folder = find(name)
    except ModelError:
        return False
    return all((folder / file).is_file() for file in ("dcp_config.json", GATES))


def read_gates(checkpoint: str | Path, config: ModelConfig) -> FoundGates:
    """The gates of a checkpoint folder, bundled name or Hub id; ``config`` is the model's.

    Raises ModelError where there are none, or where they are of another shape.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = find(checkpoint)
    for name in ("dcp_config.json", GATES):
        if not (folder / name).is_file():
            raise ModelError(f"{folder} has no {name}, so no gates to forget by")
    found = gates_of(folder, stamp_of(folder))
    try:
        tensors: dict[str, Any] = load_file(folder / GATES)
    except (OSError, SafetensorError) as wrong:
        raise ModelError(f"{folder / GATES} cannot be read: {wrong}") from None
    shape = (found.interaction, config.width)
    parts: dict[str, Tensor] = {}
    for _, name in gate_names(config.layers):
        tensor = tensors.get(name)
        wanted = (1,) if name.endswith("beta") else shape
        if tensor is None or tuple(tensor.shape) != wanted:
            raise ModelError(
                f"the gates of {checkpoint} are not for this model: {name} should be {wanted}"
            )
        parts[name] = tensor.float()
        if not torch.isfinite(parts[name]).all():
            raise ModelError(f"{checkpoint}: {name} holds numbers that are not finite")
    layers = [
        LayerGates(
            *(parts[f"layers.{i}.{part}"] for part in ("q_int.weight", "k_int.weight", "beta"))
        )
        for i in range(config.layers)
    ]
    return FoundGates(layers, found, folder.name, changes_in(tensors, config))
