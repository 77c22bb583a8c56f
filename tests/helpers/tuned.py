"""Weights of a base moved along with its gates: norms, and every matrix by a low rank."""

from __future__ import annotations

from pathlib import Path

import torch

from dcp.model.adapter import name_base
from dcp.model.checkpoint import Checkpoint
from dcp.model.gate_config import GateConfig
from dcp.model.low_rank import add_low_rank
from dcp.model.saving import save
from dcp.model.transformer import Transformer
from dcp.model.weights import load
from tests.helpers import gguf_models


def write_tuned(home: Path) -> Path:
    """``home/tuned``: an adapter whose norms and low ranks are moved, on ``home/base``."""
    base = gguf_models.write(home / "base")
    plain = gguf_models.write_adapter(home / "plain", base, folder=None)
    transformer = load(Checkpoint.read(plain, base.parent), apart=True).transformer
    tune_along(transformer)
    gates = GateConfig(gguf_models.R, base=name_base(Checkpoint.read(base.parent)))
    save(home / "tuned", transformer, {}, gates)
    return home / "tuned"


def tune_along(transformer: Transformer, norms: bool = True) -> None:
    """Move a model's low ranks, kept apart, and its ``norms`` by 0.1 at random."""
    add_low_rank(transformer, rank=2, seed=1)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, p in transformer.named_parameters():
            if name.endswith(".low.b") or (norms and "norm" in name):
                p += 0.1 * torch.randn(p.shape, generator=generator)
