"""What the changes of gates in closed form share: windows of training text, and an adapter out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dcp.model.adapter import save_adapter
from dcp.model.checkpoint import GATES
from dcp.model.registry import OpenModel
from dcp.model.transformer import Transformer
from dcp.model.weights import load
from dcp.text.documents import read_documents

__all__ = ["beginnings", "changeable", "save"]

_DOCUMENTS = 2_000


def beginnings(
    model: OpenModel, file: Path, characters: int, sizes: list[tuple[int, int]], seed: int
) -> Iterator[Tensor]:
    """Of each (count, length), the first ``length`` tokens ([length] int64) of ``count`` documents
    of more than ``characters``, drawn by ``seed``; a document that is shorter gives none."""
    texts = ("\n".join(each) for each in read_documents(file))
    long = list(islice((text for text in texts if len(text) > characters), _DOCUMENTS))
    rng = np.random.default_rng(seed)
    for count, length in sizes:
        for number in rng.choice(len(long), min(count, len(long)), replace=False):
            ids = model.tokenizer.encode(long[number][: 8 * length]).ids[:length]
            if len(ids) == length:
                yield torch.from_numpy(np.asarray(ids, np.int64))


def changeable(model: OpenModel) -> Transformer:
    """Its weights, what an adapter changes of its base kept apart from it."""
    return load(model.loaded.path, apart=True).transformer


def save(model: OpenModel, transformer: Transformer, out: Path) -> None:
    """An adapter of ``transformer``, its numbers in bfloat16; the calibration is to be measured."""
    assert model.loaded.gates is not None
    out.mkdir(parents=True, exist_ok=True)
    save_adapter(out, transformer, replace(model.loaded.gates, calibration=(), shares=None))
    rounded = {name: t.bfloat16() for name, t in load_file(out / GATES).items()}
    save_file(rounded, out / GATES, metadata={"format": "pt"})
