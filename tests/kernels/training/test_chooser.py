"""Kernels of training by name: no silent fallback, and what auto chose has a name."""

from __future__ import annotations

import pytest

from dcp.errors import DeviceError
from dcp.kernels.training import cpu, reference
from dcp.kernels.training.api import Heads, attention, resolve

WAYS = ("causal", "soft", "hard")


@pytest.mark.parametrize("way", WAYS)
def test_a_name_means_that_implementation_and_no_other(way) -> None:
    for name, module in (("reference", reference), ("cpu", cpu)):
        found = attention(way, name, Heads(64))
        assert found.compute is getattr(module, f"{way}_attention")
        assert str(found) == f"{way} attention: {name}"
    assert attention(way, "auto", Heads(64)).impl == "cpu"
    assert resolve(way, "reference", Heads(64, 2, "cuda")) == "reference"


@pytest.mark.parametrize("way", WAYS)
def test_what_a_named_implementation_cannot_do_is_one_line(way, monkeypatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    wrong = {
        ("fast", "cpu"): "'fast' is unknown; use auto, reference, cpu, triton",
        ("cpu", "cuda"): "impl cpu trains on cpu, not on cuda; use auto or reference",
        ("triton", "cpu"): r"impl triton (has no|needs a GPU|is not installed).*; use auto or",
    }
    for (name, device), said in wrong.items():
        with pytest.raises(DeviceError, match=said) as raised:
            resolve(way, name, Heads(64, 4, device))
        assert "\n" not in str(raised.value)
