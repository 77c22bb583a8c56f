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
from dcp.model.checkpoint import Checkpoint
from dcp.model.gate_config import USUAL_TOKENS, Calibration, measured_at
from dcp.model.info import ModelInfo, info_of, listed, status_of
from dcp.resources import asset

if TYPE_CHECKING:
    from dcp.model.vocabulary import Vocabulary
    from dcp.model.weights import LoadedModel
    from dcp.text.tokens import Tokenizer

__all__ = [
    "ModelInfo",
    "OpenModel",
    "describe",
    "find",
    "list_models",
    "missing_base_hint",
    "open_model",
    "shift_for",
]

BUNDLED = asset("models")
DTYPES = ("float32", "bfloat16", "int8", "int4")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# What everybody calls them, and where the Hub keeps them.
_SHORT_IDS = {
    name: f"openai-community/{name}" for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")
} | {"distilgpt2": "distilbert/distilgpt2"}
_HUB_FILES = ("*.json", "*.safetensors", "tokenizer.model", "merges.txt")


@dataclass(frozen=True, eq=False)
class OpenModel:
    """A model ready to read text: weights, tokenizer, and the ids that end a text.

    ``chat_template`` is the Jinja source by which the model was taught to chat, or None:
    `dcp.text.chat.render` makes a text of it. ``vocabulary`` says which rows were kept, where not
    all were (`dcp.model.vocabulary`).

    Made by `open_model`, handed to `record` and `gates_off`.

    >>> dcp.open_model("dcp-mini").info.layers
    8
    """

    info: ModelInfo
    loaded: LoadedModel
    tokenizer: Tokenizer
    stop_ids: tuple[int, ...]
    dtype: str
    chat_template: str | None = None
    vocabulary: Vocabulary | None = None


def list_models() -> list[ModelInfo]:
    """The bundled models, the default first. Raises ModelError for a damaged folder.

    The default is a model that is whole; adapters follow, those whose base is here first.
    Reads no weights and imports no torch.

    >>> "dcp-mini" in [model.name for model in dcp.list_models()]
    True
    """
    return [_marked(listed(folder)) for folder in _bundled()]


def missing_base_hint() -> str | None:
    """One line that says how to get the base of a bundled adapter; None where none is missing."""
    for folder in _bundled():
        base = status_of(folder)
        if base is not None and not base.ready:
            return f"{folder.name} is not ready: its base model is missing; get it with: {base.how}"
    return None


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
    return _marked(info_of(Checkpoint.read(folder), gates=gates))


def open_model(
    name: str | Path | None = None,
    dtype: str = "float32",
    *,
    gates: bool = True,
    base: str | Path | None = None,
) -> OpenModel:
    """Load a model and its tokenizer; ``gates=False`` loads the base model alone.

    name: a bundled name, a checkpoint folder or a Hub id (default: bundled). dtype: float32,
    bfloat16 or int8. ``base`` is the folder of an adapter's base model, instead of where it is
    looked for. The last two are kept, so that opening one again is free. Raises ModelError or
    DeviceError in one line.

    >>> model = dcp.open_model("dcp-mini", dtype="int8")
    >>> dcp.record("The museum opened in 1901.", model=model, new_tokens=2).meta.dtype
    'int8'
    """
    if dtype not in DTYPES:
        raise DeviceError(f"dtype {dtype!r} is not supported; use one of: {', '.join(DTYPES)}")
    return _open(Checkpoint.read(find(name), base), dtype, gates)


# Two: a model and its baseline.
@lru_cache(maxsize=2)
def _open(checkpoint: Checkpoint, dtype: str, gates: bool) -> OpenModel:
    info = _marked(info_of(checkpoint, gates=gates))
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


def shift_for(
    calibration: Sequence[Calibration], sparsity: float, tokens: int = USUAL_TOKENS
) -> float:
    """The gate shift δ that gave ``sparsity`` on validation text, between measured points.

    Those of the context nearest to ``tokens`` count. Raises RequestError outside of their range.
    """
    if not calibration:
        raise RequestError(
            "this model has no calibration for a sparsity; give a gate shift", remedy="gate_shift"
        )
    points = measured_at(calibration, tokens)
    low, high = points[0].sparsity, points[-1].sparsity
    if not math.isfinite(sparsity) or not low <= sparsity <= high:
        raise RequestError(
            f"sparsity {sparsity} is outside of what this model was calibrated for: "
            f"{low:.3f} to {high:.3f}"
        )
    return float(np.interp(sparsity, [p.sparsity for p in points], [p.delta for p in points]))


def _marked(info: ModelInfo) -> ModelInfo:
    """The same, saying whether it is the default model."""
    bundled = _bundled()
    return replace(info, default=bool(bundled) and info.path == bundled[0].resolve())


def _bundled() -> list[Path]:
    """Whole models, then adapters that are ready, then adapters without their base.

    Gates of an adapter here are a first milestone: a model whose measurements are shipped comes
    before them.
    """
    folders = sorted(path.parent for path in BUNDLED.glob("*/dcp_config.json"))

    def rank(folder: Path) -> int:
        base = status_of(folder)
        return 0 if base is None else 1 if base.ready else 2

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
