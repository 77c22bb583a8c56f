"""SmolLM2 where its base is found: the folder, and the model of `transformers` with its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig
from transformers.initialization import no_init_weights

from dcp.errors import ModelError
from dcp.model.bases import find_base, how_to_get
from dcp.model.checkpoint import base_of
from dcp.model.files import stamp_of
from dcp.model.gate_config import Base
from dcp.model.gguf_file import GgufFile
from dcp.model.registry import find

NAME = "smollm2-135m"


def wanted() -> Base:
    """What the adapter says of its base."""
    folder = find(NAME)
    base = base_of(folder, stamp_of(folder))
    assert base is not None
    return base


def place() -> Path | None:
    """The folder of the base's file; None where it is not here."""
    try:
        return find_base(wanted())
    except ModelError:
        return None


needs_base = pytest.mark.skipif(
    place() is None, reason=f"the base of {NAME} is not here: {how_to_get(wanted())}"
)


def hf_model(**options: Any) -> Any:
    """The model of `transformers` with the numbers that our reader takes from the file.

    Its own reader takes 20 s for the same ones; tests/model/test_gguf.py holds the two against
    each other.
    """
    folder = place()
    assert folder is not None
    file = GgufFile.read(folder / wanted().file)
    with no_init_weights():
        model = AutoModelForCausalLM.from_config(LlamaConfig(**file.hf_config), **options)
    state = {name: torch.from_numpy(file.tensor(name)) for name in file.entries}
    rest = model.load_state_dict(state, strict=False, assign=True)
    assert rest.missing_keys == ["lm_head.weight"]
    assert not rest.unexpected_keys
    model.tie_weights()
    return model.eval()
