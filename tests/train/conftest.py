"""A toy text with its tokenizer, and a base that has learned some of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dcp.train.data import pack_file
from dcp.train.loop import train
from dcp.train.tokenizer import train_tokenizer
from tests.helpers.training import TINY


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    text = "\n\n".join(" ".join(rng.choice(words, 120)) for _ in range(40))
    (folder / "text.txt").write_text(text)
    train_tokenizer([folder / "text.txt"], 270, folder)
    pack_file(folder / "text.txt", folder, folder / "shard.npy")
    return folder


@pytest.fixture(scope="session")
def base(corpus: Path) -> Path:
    shards = [corpus / "shard.npy"]
    return train(TINY.change(steps=30), shards, corpus, corpus / "base")
