"""The bundled sample under every policy, measured beforehand, so that Compare opens with an answer.

``assets/compare/NAME/POLICY.safetensors`` are traces of the tokens of ``assets/traces/NAME``;
``received.json`` beside them is what each token received of later attention. Make them with
``python -m dcp.ui.compare.ready NAME``; ended in between, it goes on where it was. Opens a model
only for that.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import streamlit as st

from dcp.errors import RequestError, TraceError
from dcp.policies.registry import POLICIES
from dcp.resources import asset
from dcp.runs.policies import Beside
from dcp.trace import Trace
from dcp.ui.samples import FOLDER, load_sample

__all__ = ["CHOICES", "ready"]

_FOLDER = asset("compare")

CHOICES = tuple(
    name
    for name, policy in POLICIES.items()
    if name not in ("gates", "none", "oldest") and policy.instructed != "must"
)
"""The policies that a text can be read under as it stands. Oldest-first holds what the local window
holds; some forms of CItruS need an instruction."""


def ready(trace: Trace) -> Beside | None:
    """What was measured beforehand of exactly this run; None of any other."""
    for file in sorted(_FOLDER.rglob("gates.safetensors")):
        found = _read(str(file.parent))
        if found is not None and _same(found.first, trace):
            return found
    return None


def _same(measured: Trace, trace: Trace) -> bool:
    return (
        measured.meta.weights_sha256 == trace.meta.weights_sha256
        and measured.meta.kv_dtype == trace.meta.kv_dtype
        and np.array_equal(measured.token_ids, trace.token_ids)
        and np.array_equal(measured.death, trace.death)
    )


@st.cache_resource(max_entries=4, show_spinner=False)
def _read(folder: str) -> Beside | None:
    """The folder's traces; None where it is not whole."""
    here = Path(folder)
    try:
        received = np.asarray(json.loads((here / "received.json").read_text()), np.float32)
        runs = {
            name: Trace.load(here / f"{name}.safetensors")
            for name in ("gates", "none", *CHOICES)
            if (here / f"{name}.safetensors").exists()
        }
        return Beside(runs, received) if "gates" in runs else None
    except (OSError, ValueError, TraceError, RequestError):
        return None


def _measure(name: str) -> None:
    from dcp.model.registry import open_model
    from dcp.runs.beside import read_beside

    if not (FOLDER / f"{name}.safetensors").exists():
        raise RequestError(f"there is no sample {name!r}")
    trace, _ = load_sample(name)
    model = open_model(trace.meta.model)
    folder = _FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    done = _read(str(folder))
    if done is not None and not _same(done.first, trace):
        for path in folder.glob("*.safetensors"):
            path.unlink()
    for policy in ("none", *CHOICES):
        # A large model takes minutes for each: what is there of this run stays.
        if (folder / f"{policy}.safetensors").exists():
            continue
        found = read_beside(model, trace, [policy])
        for who, run in found.runs.items():
            run.save(folder / f"{who}.safetensors")
        rounded = [round(float(share), 4) for share in found.received]
        (folder / "received.json").write_text(json.dumps(rounded) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        _measure(argument)
