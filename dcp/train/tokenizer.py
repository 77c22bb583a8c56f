"""Train a byte-level BPE tokenizer and write the files that ``transformers`` expects.

Knows text files and the `tokenizers` library; of models only where they keep their tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcp.errors import DataError, ModelError
from dcp.model.checkpoint import Checkpoint
from dcp.text.documents import END_OF_TEXT, read_documents

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = [
    "end_of_text",
    "open_tokenizer",
    "train_tokenizer",
]


def open_tokenizer(folder: Path) -> Tokenizer:
    """The fast tokenizer of a checkpoint or tokenizer folder, whole texts in, no padding.

    Raises ModelError.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.exists():
        if not _is_elsewhere(folder):
            raise ModelError(f"{folder} has no tokenizer.json; save its fast tokenizer there")
        return Checkpoint.read(folder).tokenizer.backend
    try:
        tokenizer = Tokenizer.from_file(str(path))
    # `tokenizers` raises plain Exception for every kind of broken file.
    except Exception as wrong:
        raise ModelError(f"{path} is not a readable tokenizer: {wrong}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _is_elsewhere(folder: Path) -> bool:
    """An adapter's tokenizer is that of its base, and a GGUF file has its own."""
    return (folder / "dcp_config.json").exists() or any(folder.glob("*.gguf"))


def end_of_text(folder: Path, tokenizer: Tokenizer) -> int:
    """The id that ends a document: ours by name, else the eos token that the folder names.

    Raises ModelError when there is none.
    """
    names: list[Any] = [END_OF_TEXT]
    for file, key in (("tokenizer_config.json", "eos_token"), ("config.json", "eos_token_id")):
        try:
            names.append(json.loads((folder / file).read_text(encoding="utf-8")).get(key))
        except (OSError, ValueError, AttributeError):
            continue
    if not (folder / "tokenizer.json").exists():
        names += Checkpoint.read(folder).stop_ids
    for name in names:
        name = name.get("content") if isinstance(name, dict) else name
        found = tokenizer.token_to_id(name) if isinstance(name, str) else name
        found = found[0] if isinstance(found, list) and found else found
        if isinstance(found, int):
            return found
    raise ModelError(f"{folder} names no end-of-text token (eos_token in tokenizer_config.json)")


def train_tokenizer(
    files: Sequence[Path], vocab: int, folder: Path, characters: int = 40_000_000
) -> None:
    """Learn ``vocab`` byte-level BPE tokens from the first ``characters`` of ``files``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    # Digits are split one by one: numbers are then made of few, well-trained tokens.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_some(files, characters), trainer)
    if tokenizer.get_vocab_size() != vocab:
        raise DataError(
            f"the text gives only {tokenizer.get_vocab_size()} of {vocab} tokens; add more text"
        )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1_000_000,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def _some(files: Sequence[Path], characters: int) -> Iterator[str]:
    # An equal part of every file, so that the sample is as mixed as the whole.
    for path in files:
        left = characters // len(files)
        for paragraphs in read_documents(path):
            text = "\n".join(paragraphs)
            left -= len(text)
            yield text
            if left < 0:
                break
