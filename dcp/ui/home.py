"""Which model the app opens on: SmolLM2 where its base is here, else a model that is whole.

``DCP_MODEL`` names another. Looks at headers alone; the weights are loaded by whoever asks.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from dcp.errors import DcpError
from dcp.model.registry import ModelInfo, list_models
from dcp.ui.settings import settings

__all__ = ["KNOWN", "home", "home_name", "how_to_get_known", "in_order", "listed", "look_again"]

KNOWN = "smollm2-135m"
"""A model that people know, with gates trained here."""


_LISTED = "models listed"


def listed() -> list[ModelInfo]:
    """The bundled models, as this run of the page found them. Raises ModelError.

    A page names models in ten places; their folders are looked through once for all of them, until
    the app or a page begins anew (`look_again`).
    """
    if get_script_run_ctx(suppress_warning=True) is None:
        return list_models()
    if _LISTED not in st.session_state:
        st.session_state[_LISTED] = list_models()
    found: list[ModelInfo] = st.session_state[_LISTED]
    return found


def look_again() -> None:
    """The app or a page begins anew: folders may have come, gone or changed since."""
    st.session_state.pop(_LISTED, None)


def home(models: Sequence[ModelInfo]) -> ModelInfo | None:
    """The model of a new window; None where there are none."""
    ready = [model for model in models if model.base is None or model.base.ready]
    for name in (settings().model, KNOWN):
        for model in ready:
            if model.name == name:
                return model
    return next(iter(ready or models), None)


def in_order(models: Sequence[ModelInfo]) -> list[ModelInfo]:
    """The same, the model of a new window first."""
    first = home(models)
    return sorted(models, key=lambda model: model is not first)


def home_name() -> str | None:
    """The name of the model of a new window; None where none can be listed."""
    try:
        found = home(listed())
    except DcpError:
        return None
    return found.name if found is not None else None


def how_to_get_known(models: Sequence[ModelInfo]) -> str:
    """The command that makes `KNOWN` ready; "" where it is ready, or not there at all."""
    for model in models:
        if model.name == KNOWN and model.base is not None and not model.base.ready:
            return model.base.how
    return ""
