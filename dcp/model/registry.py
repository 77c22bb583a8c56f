"""Which models there are, and opening one: bundled, a local folder, or a Hugging Face Hub id.

Listing reads JSON and safetensors headers alone, without torch; `open_model` loads the weights.
Knows nothing of running a model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dcp.errors import DeviceError, ModelError, RequestError
from dcp.model.bases import how_to_get
from dcp.model.checkpoint import GATES, Checkpoint, base_of, gates_of, open_base
from dcp.model.config import ModelConfig
from dcp.model.files import parameters_of, stamp_of
from dcp.model.gate_config import Calibration
from dcp.resources import asset

if TYPE_CHECKING:
    from dcp.model.weights import LoadedModel
    from dcp.text.tokens import Tokenizer

__all__ = [
    *("BaseStatus", "ModelInfo", "OpenModel", "describe", "find", "list_models"),
    *("missing_base_hint", "open_model", "shift_for"),
]

BUNDLED = asset("models")
DTYPES = ("float32", "bfloat16", "int8", "int4")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# What everybody calls them, and where the Hub keeps them.
_SHORT_IDS = {
    name: f"openai-community/{name}" for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")
} | {"distilgpt2": "distilbert/distilgpt2"}
_HUB_FILES = ("*.json", "*.safetensors", "tokenizer.model", "merges.txt")


@dataclass(frozen=True)
class BaseStatus:
    """The base of an adapter: whether it can be opened here, and the command that gets it."""

    name: str
    ready: bool
    how: str


@dataclass(frozen=True)
class ModelInfo:
    """What a checkpoint folder says of itself. ``calibration`` is empty without a sparsity dial.

    ``base`` is None for a model that is whole.
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


@dataclass(frozen=True, eq=False)
class OpenModel:
    """A model ready to read text: weights, tokenizer, and the ids that end a text.

    ``chat_template`` is the Jinja source by which the model was taught to chat, or None:
    `dcp.text.chat.render` makes a text of it.
    """

    info: ModelInfo
    loaded: LoadedModel
    tokenizer: Tokenizer
    stop_ids: tuple[int, ...]
    dtype: str
    chat_template: str | None = None


def list_models() -> list[ModelInfo]:
    """The bundled models, the default first. Raises ModelError for a damaged folder.

    The default is an adapter whose base is here; without one, a model that is whole.
    """
    bundled = _bundled()
    return [_listed(folder, default=folder == bundled[0]) for folder in bundled]


def missing_base_hint() -> str | None:
    """One line that says how to get the base of a bundled adapter; None where none is missing."""
    for folder in _bundled():
        base = _status(folder)
        if base is not None and not base.ready:
            return f"{folder.name} is not ready: its base model is missing; get it with: {base.how}"
    return None


def _listed(folder: Path, default: bool) -> ModelInfo:
    base = _status(folder)
    if base is None or base.ready:
        return replace(_info(Checkpoint.read(folder), True), default=default)
    # What the adapter itself knows of a base that is not here.
    stamp = stamp_of(folder)
    gates = gates_of(folder, stamp)
    assert gates.base is not None
    config = ModelConfig.from_hf(gates.base.config)
    return ModelInfo(
        name=folder.name,
        path=folder.resolve(),
        default=default,
        architecture=config.architecture,
        layers=config.layers,
        parameters=gates.base.parameters + parameters_of(folder / GATES),
        context=config.context,
        vocab=config.vocab,
        calibration=gates.calibration,
        base=base,
    )


def _status(folder: Path) -> BaseStatus | None:
    base = base_of(folder, stamp_of(folder))
    if base is None:
        return None
    try:
        open_base(base)
    except ModelError:
        return BaseStatus(base.name, False, how_to_get(base))
    return BaseStatus(base.name, True, how_to_get(base))


def find(name: str | Path | None = None) -> Path:
    """The folder of a model: None is the default one, then bundled names, folders, Hub ids.

    A Hub id is downloaded into the Hub's own cache on first use. Raises ModelError.
    """
    bundled = _bundled()
    names = ", ".join(folder.name for folder in bundled) or "none"
    if name is None:
        if not bundled:
            raise ModelError("no model is bundled here; name a checkpoint folder or a Hub id")
        return bundled[0]
    for folder in bundled:
        if folder.name == str(name):
            return folder
    try:
        path = Path(name).expanduser()
        if path.is_dir():
            return path.resolve()
        if path.exists():
            raise ModelError(f"{path} is a file; give the checkpoint folder that it is in")
    except (OSError, ValueError, RuntimeError) as wrong:
        raise ModelError(f"model path cannot be read: {wrong}") from None
    hub_id = _SHORT_IDS.get(str(name), str(name))
    if _HUB_ID.fullmatch(hub_id):
        return _download(hub_id)
    raise ModelError(
        f"no model {str(name)!r}: neither bundled ({names}) nor a folder nor a Hub id owner/name"
    )


def describe(folder: Path, *, gates: bool = True) -> ModelInfo:
    """What the checkpoint in ``folder`` is, without loading its weights. Raises ModelError.

    ``gates=False`` also takes a base model that has none.
    """
    return _info(Checkpoint.read(folder), gates)


def _info(checkpoint: Checkpoint, gates: bool) -> ModelInfo:
    config, bundled = checkpoint.config, _bundled()
    path = checkpoint.folder.resolve()
    base = checkpoint.gates.base if checkpoint.base is not None else None
    return ModelInfo(
        name=checkpoint.name,
        path=path,
        default=bool(bundled) and path == bundled[0],
        architecture=config.architecture,
        layers=config.layers,
        parameters=checkpoint.parameters(gates=gates),
        context=config.context,
        vocab=config.vocab,
        calibration=checkpoint.gates.calibration if gates else (),
        base=None if base is None else BaseStatus(base.name, True, how_to_get(base)),
    )


def open_model(
    name: str | Path | None = None,
    dtype: str = "float32",
    *,
    gates: bool = True,
    base: str | Path | None = None,
) -> OpenModel:
    """Load a model and its tokenizer; ``gates=False`` loads the base model alone.

    ``base`` is the folder of an adapter's base model, instead of where it is looked for.

    The last two are kept, so that opening one again is free. Raises ModelError or DeviceError in
    one line.
    """
    if dtype not in DTYPES:
        raise DeviceError(f"dtype {dtype!r} is not supported; use one of: {', '.join(DTYPES)}")
    return _open(Checkpoint.read(find(name), base), dtype, gates)


# Two: a model and its baseline.
@lru_cache(maxsize=2)
def _open(checkpoint: Checkpoint, dtype: str, gates: bool) -> OpenModel:
    info = _info(checkpoint, gates)
    import torch

    from dcp.model.weights import load

    loaded = load(checkpoint, getattr(torch, dtype), gates=gates)
    return OpenModel(
        info,
        loaded,
        checkpoint.tokenizer,
        checkpoint.stop_ids,
        dtype,
        checkpoint.chat_template,
    )


def shift_for(calibration: Sequence[Calibration], sparsity: float) -> float:
    """The gate shift δ that gave ``sparsity`` on validation text, between measured points.

    Points of the longest measured context count. Raises RequestError outside of their range.
    """
    if not calibration:
        raise RequestError("this model has no calibration for --sparsity; use --gate-shift")
    longest = max(point.context for point in calibration)
    points = sorted((p.sparsity, p.delta) for p in calibration if p.context == longest)
    low, high = points[0][0], points[-1][0]
    if not math.isfinite(sparsity) or not low <= sparsity <= high:
        raise RequestError(
            f"sparsity {sparsity} is outside of what this model was calibrated for: "
            f"{low:.3f} to {high:.3f}"
        )
    return float(np.interp(sparsity, [p[0] for p in points], [p[1] for p in points]))


def _bundled() -> list[Path]:
    """Adapters that are ready, then whole models, then adapters without their base."""
    folders = sorted(path.parent for path in BUNDLED.glob("*/dcp_config.json"))

    def rank(folder: Path) -> int:
        base = _status(folder)
        return 1 if base is None else 0 if base.ready else 2

    return sorted(folders, key=rank)


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(_HUB_FILES)))
    # Offline, gated, misspelt: the Hub's client has a dozen exceptions, the remedy is the same.
    except Exception as wrong:
        reason = (str(wrong).strip() or type(wrong).__name__).splitlines()[0]
        raise ModelError(
            f"model {hub_id!r} is no folder here and cannot be fetched from the Hub: {reason[:160]}"
        ) from None
