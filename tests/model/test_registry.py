"""Finding, describing and opening models; the sparsity dial."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dcp.errors import DeviceError, ModelError, RequestError
from dcp.model import registry as models
from dcp.model.gate_config import Calibration

Checkpoint = Callable[..., Path]
DIAL = [
    Calibration(2.0, 512, 0.2, 1.0),
    Calibration(0.0, 512, 0.6, 1.02),
    Calibration(-1, 512, 0.8, 1.1),
]


@pytest.fixture
def two_bundled(
    tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    for name in ("b-second", "a-first"):
        shutil.copytree(tiny_checkpoint("llama"), tmp_path / "bundle" / name)
    (tmp_path / "bundle" / "notes").mkdir()
    monkeypatch.setattr(models, "BUNDLED", tmp_path / "bundle")
    return tmp_path / "bundle"


def test_bundled_models_are_listed_the_default_first(two_bundled: Path) -> None:
    listed = models.list_models()
    assert [info.name for info in listed] == ["a-first", "b-second"]
    assert [info.default for info in listed] == [True, False]
    assert all(info.path.is_absolute() for info in listed)
    assert models.find() == two_bundled / "a-first"
    assert models.find("b-second") == two_bundled / "b-second"


def test_a_description_counts_parameters_from_headers_alone(tiny_checkpoint: Checkpoint) -> None:
    folder = tiny_checkpoint("qwen3")
    info = models.describe(folder)
    opened = models.open_model(folder)
    stored = {id(p): p.numel() for p in opened.loaded.transformer.parameters()}
    assert info.parameters == sum(stored.values())
    assert (info.architecture, info.layers, info.context, info.vocab) == ("qwen3", 3, 256, 259)
    assert opened.tokenizer.encode("abc").ids.tolist() == [97 - 33, 98 - 33, 99 - 33]
    assert opened.stop_ids == (256,)


def test_gates_are_needed_unless_told_otherwise(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_checkpoint("llama"), tmp_path / "base")
    (folder / "dcp_config.json").unlink()
    (folder / "dcp.safetensors").unlink()
    with pytest.raises(ModelError, match="gates"):
        models.open_model(folder)
    assert models.open_model(folder, gates=False).loaded.gates is None


def test_what_cannot_be_a_model_is_one_line(
    two_bundled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.pt").write_bytes(b"\x80\x04")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("no-such", str(tmp_path / "model.pt"), "a\0b", "x" * 5000, str(tmp_path)):
        with pytest.raises(ModelError) as caught:
            models.open_model(name)
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match=r"b-second"):
        models.find("no-such")


def test_a_damaged_header_is_one_line(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_checkpoint("llama"), tmp_path / "damaged")
    for junk in (b"", b"\xff" * 64, (10).to_bytes(8, "little") + b'{"a": []}  '):
        (folder / "model.safetensors").write_bytes(junk)
        with pytest.raises(ModelError, match=r"model\.safetensors"):
            models.describe(folder)
    (folder / "config.json").write_text("[1]")
    with pytest.raises(ModelError, match=r"config\.json"):
        models.describe(folder)


def test_an_unknown_dtype_is_refused(tiny_checkpoint: Checkpoint) -> None:
    with pytest.raises(DeviceError, match="float32"):
        models.open_model(tiny_checkpoint("llama"), "float16")


def test_several_stop_tokens_are_all_known(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_checkpoint("llama"), tmp_path / "stops")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "eos_token_id": [3, 256]}))
    assert models.open_model(folder).stop_ids == (3, 256)


def test_the_dial_interpolates_between_measured_points() -> None:
    assert models.shift_for(DIAL, 0.6) == 0.0
    assert models.shift_for(DIAL, 0.7) == pytest.approx(-0.5)
    assert models.shift_for(DIAL, 0.2) == 2.0


@pytest.mark.parametrize(
    ("tokens", "shift"), [(1, 5.0), (90, 5.0), (182, 0.0), (1447, 0.0), (1449, -5.0), (9000, -5.0)]
)
def test_the_dial_reads_the_context_nearest_to_the_text(tokens: int, shift: float) -> None:
    """Nearest by ratio: 64, 512 and 4,096 part at 181 and 1,448. Unknown, a text has 1,024."""
    beside = [Calibration(5.0, 64, 0.6, 1.0), Calibration(-5.0, 4096, 0.6, 1.0)]
    assert {point.context for point in DIAL} == {512}
    assert models.shift_for([*beside, *DIAL], 0.6, tokens) == shift
    assert models.shift_for([*beside, *DIAL], 0.6) == 0.0


@pytest.mark.parametrize("sparsity", [0.19, 0.81, -1.0, float("nan")])
def test_the_dial_ends_where_its_calibration_ends(sparsity: float) -> None:
    with pytest.raises(RequestError, match=r"0\.200 to 0\.800"):
        models.shift_for(DIAL, sparsity)


def test_no_dial_without_calibration() -> None:
    with pytest.raises(RequestError, match="give a gate shift") as refused:
        models.shift_for((), 0.5)
    assert refused.value.remedy == "gate_shift"
