"""GGUF files: read as `transformers` reads them, refused in one line where they are damaged."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from dcp.errors import ModelError
from dcp.model.checkpoint import Checkpoint
from dcp.model.gguf_file import GgufFile
from dcp.model.registry import open_model
from dcp.model.weights import LoadedModel, load
from tests.helpers import gguf_models
from tests.helpers.oracle import MaskedAttention

TEXTS = ("hello  world\n\nhe said:  naïve 🙂", "<|im_start|>user\nhello<|im_end|>", "x")


def logits(model: LoadedModel) -> torch.Tensor:
    ids = torch.arange(40)[None]
    with torch.inference_mode():
        return model.transformer(ids, ids, MaskedAttention(prune=False))[0]


@pytest.mark.parametrize("tied", [True, False])
def test_a_gguf_file_is_read_as_transformers_reads_it(tmp_path: Path, tied: bool) -> None:
    import transformers

    gguf_models.write(tmp_path, tied=tied)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="tiny.gguf")
    model = load(tmp_path, gates=False)
    file = Checkpoint.read(tmp_path).gguf
    assert file is not None
    expected = theirs.state_dict()
    for name in file.entries:
        assert torch.equal(torch.from_numpy(file.tensor(name)), expected[name]), name
    with torch.inference_mode():
        wanted = theirs.eval()(torch.arange(40)[None]).logits[0]
    # Of the largest: their sums go another way round, and float32 keeps seven digits.
    limit = 1e-5 * float(wanted.abs().max())
    torch.testing.assert_close(logits(model), wanted, atol=limit, rtol=0)
    assert file.parameters == sum(p.numel() for p in theirs.parameters())


def test_its_tokenizer_is_read_as_transformers_reads_it_but_for_digits(tmp_path: Path) -> None:
    import transformers

    gguf_models.write(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file="tiny.gguf")
    ours = Checkpoint.read(tmp_path).tokenizer
    for text in TEXTS:
        assert ours.encode(text).ids.tolist() == theirs(text)["input_ids"], text
    # The file says "smollm": digits stand alone, so that two spaces before one stay together.
    # llama.cpp and the model's own tokenizer do so; `transformers` loses it in reading the file.
    names = gguf_models.vocabulary()
    assert [names[i] for i in ours.encode("x  12").ids] == ["x", "ĠĠ", "1", "2"]


def test_what_the_file_says_beside_its_weights(tmp_path: Path) -> None:
    gguf_models.write(tmp_path)
    opened = open_model(tmp_path, gates=False)
    assert opened.stop_ids == (2,)
    assert opened.chat_template == gguf_models.CHAT
    assert (opened.info.architecture, opened.info.layers, opened.info.context) == ("llama", 2, 128)


def spoiled(path: Path, at: int, data: bytes) -> None:
    whole = bytearray(path.read_bytes())
    whole[at : at + len(data)] = data
    path.write_bytes(whole)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.999])
def test_a_file_cut_short_is_one_line(tmp_path: Path, share: float) -> None:
    path = gguf_models.write(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelError, match=r"tiny\.gguf") as refused:
        load(tmp_path, gates=False)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("at", "data", "says"),
    [
        (0, b"GGML", "does not begin with GGUF"),
        (4, struct.pack("<I", 9), "version is 9"),
        (8, struct.pack("<Q", 2**60), "counts"),
        (16, struct.pack("<Q", 2**40), "counts"),
        (24, struct.pack("<Q", 2**63), "counts"),
    ],
)
def test_a_damaged_header_is_one_line(tmp_path: Path, at: int, data: bytes, says: str) -> None:
    spoiled(gguf_models.write(tmp_path), at, data)
    with pytest.raises(ModelError, match=says) as refused:
        load(tmp_path, gates=False)
    assert "\n" not in str(refused.value)


def test_any_damaged_byte_of_the_header_is_read_or_refused(tmp_path: Path) -> None:
    path = gguf_models.write(tmp_path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(whole)
        for at in rng.integers(0, 6000, 3):
            broken[at] = rng.integers(256)
        path.write_bytes(broken)
        with contextlib.suppress(ModelError):
            load(tmp_path, gates=False)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"embedding_length": None}, "embedding_length"),
        ({"rope.scaling.type": "yarn"}, "RoPE scaling"),
        ({"rope.dimension_count": 8}, "part of each head"),
        ({"expert_count": 4}, "mixture of experts"),
        ({"block_count": 3}, "model.layers.2"),
        ({"block_count": 1}, "model.layers.1"),
        ({"attention.head_count": 0}, "damaged"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    gguf_models.write(tmp_path, changes=changes)
    with pytest.raises(ModelError, match=says):
        load(tmp_path, gates=False)


def test_another_architecture_is_named(tmp_path: Path) -> None:
    gguf_models.write(tmp_path, architecture="mamba")
    with pytest.raises(ModelError, match="architecture 'mamba'"):
        GgufFile.read(tmp_path / "tiny.gguf")
