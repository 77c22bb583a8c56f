"""The sections of a run's settings, each a frozen dataclass with the checks of its own keys.

Knows nothing of files (`dcp.train.settings`) or of how training is done. Raises RequestError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dcp.errors import RequestError
from dcp.policies.windows import POLICIES
from dcp.train.checks import at_least, one_of, share

__all__ = ["Data", "Dial", "Eviction", "GateSettings", "Model", "Optimiser", "Run", "Teacher"]


@dataclass(frozen=True)
class Model:
    """The shape of a model trained from nothing (stage pretrain); a base has its own.

    tied  the output matrix is the embedding
    """

    layers: int = 8
    width: int = 256
    heads: int = 4
    kv_heads: int = 4
    ffn: int = 704
    context: int = 512
    tied: bool = True

    def __post_init__(self) -> None:
        at_least(1, self, "layers", "width", "heads", "kv_heads", "ffn", "context")
        if self.heads % self.kv_heads:
            raise RequestError(f"heads {self.heads} must be a multiple of kv_heads {self.kv_heads}")
        if self.width % (2 * self.heads):
            raise RequestError(f"width {self.width} must be a multiple of twice heads {self.heads}")


@dataclass(frozen=True)
class Data:
    """``batch`` windows of ``length`` tokens a step, in micro-batches of ``micro``.

    Packed windows in the stage pretrain, windows of single documents in the others.

    copies  any ``tune`` but all: readings of each window in a step, each at a gate shift of its
            own (``batch`` counts them all); a teacher reads it once
    """

    batch: int = 16
    micro: int = 8
    length: int = 512
    copies: int = 1

    def __post_init__(self) -> None:
        at_least(1, self, "batch", "micro", "length", "copies")
        if self.batch % self.micro:
            raise RequestError(f"batch {self.batch} must be a multiple of micro {self.micro}")
        if self.micro % self.copies:
            raise RequestError(f"micro {self.micro} must be a multiple of copies {self.copies}")

    def share(self, processes: int) -> int:
        """Windows of a step that each of ``processes`` reads; RequestError where some would read
        more than others."""
        if self.batch % (processes * self.copies):
            raise RequestError(
                f"batch {self.batch} cannot be shared evenly by {processes} processes, "
                f"{self.copies} readings of each window: make it a multiple of both"
            )
        return self.batch // processes


@dataclass(frozen=True)
class Optimiser:
    """Matrices are trained by Muon at ``muon_lr`` (0: by AdamW), the rest by AdamW at ``lr``, gate
    projections at ``gate_lr``, β at ten times that.

    warmup, decay  steps in which the rates rise, and those at the end in which they fall
    rate_last  share of the peak rates at which the decay ends
    tune    ``all`` weights; ``norms`` and gates: the cheap recipe; ``low rank``: gates, and a
            change of ``rank`` to every matrix of the blocks; ``gates`` alone. Of all but ``all``
            an adapter is kept, which is its base, bit for bit, where its gates decide nothing
    """

    lr: float = 3e-3
    muon_lr: float = 0.02
    gate_lr: float = 1e-3
    weight_decay: float = 0.01
    clip: float = 1.0
    warmup: int = 50
    decay: int = 300
    rate_last: float = 0.0
    tune: Literal["all", "norms", "low rank", "gates"] = "all"
    rank: int = 8

    def __post_init__(self) -> None:
        at_least(0, self, "lr", "muon_lr", "gate_lr", "weight_decay", "clip", "warmup", "decay")
        share(self, "rate_last")
        at_least(1, self, "rank")
        one_of(self, "tune", "all", "norms", "low rank", "gates")


@dataclass(frozen=True)
class GateSettings:
    """How gates begin, and what a kept pair costs.

    kind    ``soft``: the paper's α-sigmoids; ``hard``: those of inference, straight through
            (α is then not used)
    interaction, beta  the width r of the gate projections and the bias that new gates start with
    gamma   γ, the price of the mean of I over pairs j < t
    priced  that mean: of all ``pairs``, or over ``steps`` of each one's own (hard gates alone), so
            that early steps, which have few pairs, count as much as late ones
    gamma_steps  steps in which γ rises from 0
    gamma_layers  each layer's share of γ, 1 for all if empty
    depth   hard gates: tokens whose margin is below -depth are left alone from then on, which is
            faster on a CPU and loses slopes below 1 / (2 (1 + depth)²); 0: none are
    alpha_steps  steps in which α goes from ``alpha_first`` to ``alpha_last``, where it then stays;
            0: all of them
    """

    kind: Literal["soft", "hard"] = "soft"
    interaction: int = 64
    beta: float = 4.0
    gamma: float = 0.15
    priced: Literal["pairs", "steps"] = "pairs"
    gamma_steps: int = 0
    gamma_layers: tuple[float, ...] = ()
    depth: float = 0.0
    alpha_first: float = 1.0
    alpha_last: float = 8.0
    alpha_steps: int = 0

    def __post_init__(self) -> None:
        one_of(self, "kind", "soft", "hard")
        one_of(self, "priced", "pairs", "steps")
        if self.priced == "steps" and self.kind == "soft":
            raise RequestError('priced = "steps" needs kind = "hard"')
        at_least(1, self, "interaction")
        at_least(0, self, "gamma", "gamma_steps", "depth", "alpha_steps")
        for name in ("alpha_first", "alpha_last"):
            if not 1 <= getattr(self, name) <= 16:
                raise RequestError(f"{name} must be in 1 … 16, not {getattr(self, name)}")
        if any(share < 0 for share in self.gamma_layers):
            raise RequestError("gamma_layers must not be negative")


@dataclass(frozen=True)
class Dial:
    """Hard gates: each window of a step at a gate shift δ of its own, so that the shift becomes a
    dial that the weights know.

    centre, spread  each window's β is shifted by a δ in ``centre`` ± ``spread``
    skew    1: those δ are spread evenly; more: denser at the low end, where most is dropped
    tilt    a window at shift δ weighs its kept share by γ · exp(-tilt · δ): who wants fewer
            entries pays more for each
    level   a window at shift δ weighs exp(level · δ) in its batch, price included; at 0 those that
            drop most, whose losses are the largest, outvote the rest
    """

    centre: float = 0.0
    spread: float = 0.0
    skew: float = 1.0
    tilt: float = 0.0
    level: float = 0.0

    def __post_init__(self) -> None:
        at_least(0, self, "spread")
        if not self.skew > 0:
            raise RequestError(f"skew must be more than 0, not {self.skew}")


@dataclass(frozen=True)
class Teacher:
    """distill  share of a teacher's distribution in what is to be predicted (needs a teacher; the
    stage ``dense`` without one is trained on the text alone, from the same file)"""

    distill: float = 0.0

    def __post_init__(self) -> None:
        share(self, "distill")


@dataclass(frozen=True)
class Eviction:
    """The stage ``dense`` under an untrained eviction: the baseline that knows what it will be
    given.

    policy, windows  local, strided or sink; each step draws one of ``windows`` as its size
    """

    policy: str = ""
    windows: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.policy) != bool(self.windows):
            raise RequestError("policy and windows need each other")
        if self.policy:
            one_of(self, "policy", *POLICIES)
        if any(window < 1 for window in self.windows):
            raise RequestError("windows must be at least 1")


@dataclass(frozen=True)
class Run:
    """Stages: ``pretrain`` (no gates, packed windows), ``prune`` (gates, single documents),
    ``dense`` (the twin: as prune, without gates).

    impl    the kernels of attention (`dcp.kernels.training.api`): auto, reference, cpu or triton
    """

    stage: Literal["pretrain", "prune", "dense"] = "pretrain"
    steps: int = 1000
    save_every: int = 100
    seed: int = 0
    precision: Literal["no", "bf16"] = "bf16"
    impl: str = "auto"

    def __post_init__(self) -> None:
        one_of(self, "stage", "pretrain", "prune", "dense")
        at_least(1, self, "steps", "save_every")
        at_least(0, self, "seed")
        if self.seed >= 2**32:
            raise RequestError(f"seed must be less than 2^32, not {self.seed}")
        one_of(self, "precision", "no", "bf16")
