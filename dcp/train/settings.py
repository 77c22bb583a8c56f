"""What one training run does, as a frozen dataclass read from a TOML file.

Knows nothing of how it is done. Every key can be overridden on the command line.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from dcp.errors import RequestError
from dcp.policies.windows import POLICIES

__all__ = ["Stage", "TrainSettings"]

Stage = Literal["pretrain", "prune", "dense"]


@dataclass(frozen=True)
class TrainSettings:
    """``batch`` windows of ``length`` tokens a step, in micro-batches of ``micro``.

    Stages: ``pretrain`` (no gates, packed windows), ``prune`` (gates, single documents),
    ``dense`` (the twin: as prune, without gates). Matrices are trained by Muon at ``muon_lr``
    (0: by AdamW), the rest by AdamW at ``lr``, gate projections at ``gate_lr``, β at ten times
    that.

    rate_last  share of the peak rates at which the decay of the last ``decay`` steps ends
    alpha_steps  steps in which α goes from ``alpha_first`` to ``alpha_last``, where it then stays;
            0: all of them
    gates   ``soft``: the paper's α-sigmoids; ``hard``: those of inference, straight through
            (α is then not used)
    spread  hard gates: each window's β is shifted by a δ in ``centre`` ± spread, so that the gate
            shift becomes a dial that the weights know
    skew    1: those δ are spread evenly; more: denser at the low end, where most is dropped
    tilt    a window at shift δ weighs its kept share by γ · exp(-tilt · δ): who wants fewer
            entries pays more for each
    depth   hard gates on a CPU: tokens whose margin is below -depth are left alone from then on,
            which is faster and loses slopes below 1 / (2 (1 + depth)²); 0: none are
    tune    ``all`` weights; ``norms`` and gates: the cheap recipe; ``gates`` alone: with its gates
            off the model is its base, bit for bit
    gamma_layers  each layer's share of γ, 1 for all if empty
    gamma_steps  steps in which γ rises from 0
    copies  ``tune`` gates or norms: readings of each window in a step, each at a gate shift of its
            own (``batch`` counts them all); a teacher reads it once
    level   hard gates: a window at shift δ weighs exp(level · δ) in its batch, price included; at
            0 those that drop most, whose losses are the largest, outvote the rest
    distill  share of a teacher's distribution in what is to be predicted (needs a teacher;
            the stage ``dense`` without one is trained on the text alone, from the same file)
    impl    the kernels of attention (`dcp.kernels.training.api`): auto, reference, cpu or triton
    policy  the stage ``dense`` under an untrained eviction (local, strided, sink): the baseline
            that knows what it will be given; each step draws one of ``windows``
    """

    stage: Stage = "pretrain"
    layers: int = 8
    width: int = 256
    heads: int = 4
    kv_heads: int = 4
    ffn: int = 704
    context: int = 512
    tied: bool = True
    interaction: int = 64
    steps: int = 1000
    warmup: int = 50
    decay: int = 300
    rate_last: float = 0.0
    batch: int = 16
    micro: int = 8
    length: int = 512
    lr: float = 3e-3
    muon_lr: float = 0.02
    gate_lr: float = 1e-3
    weight_decay: float = 0.01
    clip: float = 1.0
    gamma: float = 0.15
    alpha_first: float = 1.0
    alpha_last: float = 8.0
    alpha_steps: int = 0
    beta: float = 4.0
    gates: Literal["soft", "hard"] = "soft"
    spread: float = 0.0
    centre: float = 0.0
    skew: float = 1.0
    tilt: float = 0.0
    depth: float = 0.0
    gamma_steps: int = 0
    gamma_layers: tuple[float, ...] = ()
    tune: Literal["all", "norms", "gates"] = "all"
    copies: int = 1
    level: float = 0.0
    distill: float = 0.0
    policy: str = ""
    windows: tuple[int, ...] = ()
    seed: int = 0
    save_every: int = 100
    precision: Literal["no", "bf16"] = "bf16"
    impl: str = "auto"

    def __post_init__(self) -> None:
        for name in ("layers", "width", "heads", "steps", "batch", "micro", "length", "save_every"):
            if getattr(self, name) < 1:
                raise RequestError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.batch % self.micro:
            raise RequestError(f"batch {self.batch} must be a multiple of micro {self.micro}")
        if self.copies < 1 or self.micro % self.copies:
            raise RequestError(f"micro {self.micro} must be a multiple of copies {self.copies}")
        if self.copies > 1 and self.tune == "all":
            raise RequestError('copies of a window need tune = "gates" or "norms"')
        if self.length > self.context:
            raise RequestError(f"length {self.length} is longer than the context {self.context}")
        if self.gates not in ("soft", "hard"):
            raise RequestError(f"gates must be soft or hard, not {self.gates!r}")
        if self.spread and self.gates == "soft":
            raise RequestError('a spread of gate shifts needs gates = "hard"')
        if not 0 <= self.spread < math.inf:
            raise RequestError(f"spread must be 0 or more, not {self.spread}")
        if not self.depth >= 0:
            raise RequestError(f"depth must be 0 or more, not {self.depth}")
        if not 0 < self.skew < math.inf:
            raise RequestError(f"skew must be more than 0, not {self.skew}")
        for name in ("distill", "rate_last"):
            if not 0 <= getattr(self, name) <= 1:
                raise RequestError(f"{name} must be in 0 … 1, not {getattr(self, name)}")
        if self.gamma_layers and any(share < 0 for share in self.gamma_layers):
            raise RequestError("gamma_layers must not be negative")
        if self.tune not in ("all", "norms", "gates"):
            raise RequestError(f"tune must be all, norms or gates, not {self.tune!r}")
        if bool(self.policy) != bool(self.windows):
            raise RequestError("policy and windows need each other")
        if self.policy and self.policy not in POLICIES:
            raise RequestError(f"unknown policy {self.policy!r}; use one of: {', '.join(POLICIES)}")
        if self.stage not in ("pretrain", "prune", "dense"):
            raise RequestError(f"stage must be pretrain, prune or dense, not {self.stage!r}")

    @classmethod
    def read(cls, path: Path | None, **overrides: Any) -> TrainSettings:
        """Defaults, then ``path`` (TOML), then ``overrides`` that are not None.

        Raises RequestError for an unreadable file or an unknown key.
        """
        found: dict[str, Any] = {}
        if path is not None:
            try:
                found = tomllib.loads(path.read_text(encoding="utf-8"))
            except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
                raise RequestError(f"cannot read settings from {path}: {wrong}") from None
        found |= {k: v for k, v in overrides.items() if v is not None}
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(found) - known):
            raise RequestError(f"unknown setting {unknown[0]!r}; known: {', '.join(sorted(known))}")
        try:
            if "windows" in found:
                found["windows"] = tuple(int(window) for window in found["windows"])
            if "gamma_layers" in found:
                found["gamma_layers"] = tuple(float(share) for share in found["gamma_layers"])
            return replace(cls(), **found)
        except (TypeError, ValueError) as wrong:
            raise RequestError(f"a setting has the wrong type: {wrong}") from None
