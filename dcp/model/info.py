"""What a checkpoint folder says of itself, without loading its weights.

Reads JSON and headers alone, without torch. Knows no list of models.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dcp.errors import ModelError
from dcp.model.bases import how_to_get
from dcp.model.checkpoint import GATES, Checkpoint, base_of, gates_of, open_base
from dcp.model.config import ModelConfig
from dcp.model.files import parameters_of, stamp_of
from dcp.model.gate_config import Calibration, Shares

__all__ = ["BaseStatus", "ModelInfo", "info_of", "listed", "status_of"]


@dataclass(frozen=True)
class BaseStatus:
    """The base of an adapter: whether it can be opened here, and the command that gets it."""

    name: str
    ready: bool
    how: str


@dataclass(frozen=True)
class ModelInfo:
    """What a checkpoint folder says of itself.

    context is in tokens, parameters are counted, calibration holds the measured points of the
    sparsity dial (empty without one), shares what it drops of shorter texts. ``base`` is None for a
    model that is whole.

    >>> {model.name: model.context for model in dcp.list_models()}["dcp-mini"]
    1024
    """

    name: str
    path: Path
    default: bool
    architecture: str
    layers: int
    parameters: int
    context: int
    vocab: int
    calibration: tuple[Calibration, ...]
    base: BaseStatus | None = None
    shares: Shares | None = None


def info_of(found: Checkpoint, *, gates: bool) -> ModelInfo:
    """Of a checkpoint; ``gates=False`` also takes a base model that has none. Raises ModelError."""
    config = found.config
    # First of all: a folder without gates is to be told so, not that a file is missing.
    calibration = found.gates.calibration if gates else ()
    base = found.gates.base if found.base is not None else None
    return ModelInfo(
        name=found.name,
        path=found.folder.resolve(),
        default=False,
        architecture=config.architecture,
        layers=config.layers,
        parameters=found.parameters(gates=gates),
        context=config.context,
        vocab=config.vocab,
        calibration=calibration,
        base=None if base is None else BaseStatus(base.name, True, how_to_get(base)),
        shares=found.gates.shares if gates else None,
    )


def listed(folder: Path) -> ModelInfo:
    """Of a folder with gates, also of an adapter whose base is not here. Raises ModelError."""
    status = status_of(folder)
    if status is None or status.ready:
        return info_of(Checkpoint.read(folder), gates=True)
    gates = gates_of(folder, stamp_of(folder))
    assert gates.base is not None
    # What the adapter itself knows of its base.
    config = ModelConfig.from_hf(gates.base.config)
    return ModelInfo(
        name=folder.name,
        path=folder.resolve(),
        default=False,
        architecture=config.architecture,
        layers=config.layers,
        parameters=gates.base.parameters + parameters_of(folder / GATES),
        context=config.context,
        vocab=config.vocab,
        calibration=gates.calibration,
        base=status,
        shares=gates.shares,
    )


def status_of(folder: Path) -> BaseStatus | None:
    """Of an adapter's base; None for a whole model. Raises ModelError for a damaged folder."""
    base = base_of(folder, stamp_of(folder))
    if base is None:
        return None
    try:
        open_base(base)
    except ModelError:
        return BaseStatus(base.name, False, how_to_get(base))
    return BaseStatus(base.name, True, how_to_get(base))
