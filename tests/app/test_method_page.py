"""The method page: five pictures from the functions, without torch, with or without a sample."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import dcp.ui.method.page
from dcp.method import alpha_sigmoid, cache_steps
from dcp.trace import Trace
from dcp.ui.method.page import PICTURES, picture

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "assets" / "traces" / "sample.safetensors"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    picture.cache_clear()
    yield
    picture.cache_clear()


def test_the_page_paints_five_pictures_with_torch_blocked() -> None:
    script = f"""
import sys
for name in ("torch", "transformers", "spacy", "matplotlib", "plotly"):
    sys.modules[name] = None
from streamlit.testing.v1 import AppTest
import dcp.ui.services
dcp.ui.services.warm = lambda: None
page = AppTest.from_file({str(ROOT / "app.py")!r}, default_timeout=60).run()
page.switch_page("pages/method.py").run()
assert not page.exception, page.exception
shown = [c for c in page.get("bidi_component") if c.proto.component_name == "dcp_method"]
assert len(shown) == 5, len(shown)
assert len(page.latex) == 5, len(page.latex)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("name", PICTURES)
def test_what_a_picture_draws_is_small_plain_json(name: str) -> None:
    data = picture(name)
    assert data is not None
    assert data["picture"] == name
    assert len(json.dumps(data, allow_nan=False)) < 400_000


def test_the_family_of_sigmoids_is_the_function() -> None:
    data = picture("sigmoid")
    assert data is not None
    for alpha, z in zip(data["alphas"], data["z"], strict=True):
        np.testing.assert_allclose(alpha_sigmoid(z, alpha), data["p"], atol=1e-4)


def test_the_product_picture_tells_what_the_sample_recorded() -> None:
    data, trace = picture("product"), Trace.load(SAMPLE)
    assert data is not None
    z, token = np.array(data["z"]), data["token"]
    death = trace.death[data["layer"], token]
    assert token < death < len(z), "the chosen word is dropped inside the picture"
    assert (z[token + 1 : death, token] > 0).all()
    assert z[death, token] <= 0
    assert (z[death:, token] > 0).any(), "and a later gate would have kept it"


def test_the_cache_picture_holds_what_the_sample_held() -> None:
    data, trace = picture("cache"), Trace.load(SAMPLE)
    assert data is not None
    held = trace.held()[data["layer"]]
    assert [len(step["rows"]) for step in data["steps"]] == held[: len(data["steps"])].tolist()
    rows = cache_steps(trace.death[data["layer"]], len(data["steps"]))[-1].rows
    assert data["steps"][-1]["rows"] == rows
    assert data["steps"][data["start"]]["moves"]


def test_without_a_sample_the_toys_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dcp.ui.method.page, "sample_names", lambda model=None: [])
    found = {name: picture(name) is not None for name in PICTURES}
    assert found == {
        "keeps": False,
        "gate": True,
        "sigmoid": True,
        "product": False,
        "cache": False,
    }
