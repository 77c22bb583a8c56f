"""WikiText-2: spacing undone, articles apart, and nats that one forward of the text finds again."""

from __future__ import annotations

import json
import lzma
import math
from pathlib import Path

import pytest
import torch

from dcp.cli.main import main
from dcp.errors import DataError
from dcp.evaluate.wikitext import detokenize, evaluate_wikitext, read_wikitext
from dcp.model.masked import MaskedAttend
from dcp.model.registry import open_model

FILE = """ 
 = Robert Boulter = 
 
 Robert Boulter is an actor . He had a guest @-@ starring role in 2000 @,@ 5 ( at last ) . 
 
 = = Career = = 
 
 He said " Craig is n't here " ; it was the boys ' last @.@ 5 . 
 
 = Du Fu = 
 
 Du Fu was a poet . 
"""  # noqa: W291, W293


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "wikitext2-test.txt.xz").write_bytes(lzma.compress(FILE.encode()))
    return tmp_path


def test_the_spacing_is_undone() -> None:
    line = ' He said " Craig is n\'t here " ; a guest @-@ star , 2 @,@ 000 ( at last ) . \n'
    assert detokenize(line) == 'He said "Craig isn\'t here"; a guest-star, 2,000 (at last).\n'
    assert detokenize(" = = Career = = \n") == "= = Career = =\n"
    assert detokenize(" the boys ' last . ") == "the boys' last."
    assert detokenize("Teddy 's story <unk> .") == "Teddy's story <unk>."


def test_articles_begin_at_their_titles_and_count_the_files_words(folder: Path) -> None:
    first, second = read_wikitext(folder / "wikitext2-test.txt.xz")
    assert first.text.startswith("= Robert Boulter =\n")
    assert "= = Career = =" in first.text
    assert second.text == "= Du Fu =\n\nDu Fu was a poet."
    assert first.words + second.words == len(FILE.split())
    assert read_wikitext(folder / "wikitext2-test.txt.xz", 1) == [first]


@pytest.mark.parametrize("context", [16, 256])
def test_nats_are_those_of_one_forward_a_window(folder: Path, context: int) -> None:
    mini = open_model("dcp-mini")
    articles = read_wikitext(folder / "wikitext2-test.txt.xz")
    dense, pruned = evaluate_wikitext(mini.loaded, mini.tokenizer, articles, context, (None, 0.0))
    end = mini.tokenizer.id_of("<|endoftext|>")
    assert end is not None
    nats, tokens = 0.0, 0
    for article in articles:
        ids = [end, *mini.tokenizer.encode(article.text).ids]
        tokens += len(ids) - 1
        for at in range(1, len(ids), context):
            window = torch.tensor([ids[at - 1 : at + context]])
            steps = torch.arange(window.shape[1] - 1)[None]
            with torch.inference_mode():
                way = MaskedAttend(prune=False)
                logits = mini.loaded.transformer(window[:, :-1], steps, way)[0]
            nats -= float(logits.log_softmax(-1).gather(1, window[0, 1:, None]).sum())
    words = len(FILE.split())
    assert dense.tokens == tokens
    assert dense.words == words
    assert math.log(dense.perplexity) == pytest.approx(nats / words, rel=1e-5)
    size = sum(len(article.text.encode()) for article in articles)
    assert dense.bits_per_byte == pytest.approx(nats / size / math.log(2), rel=1e-5)
    assert dense.sparsity == pytest.approx(0)
    assert 0 < pruned.sparsity < 1


def test_the_command_reads_it_beside_other_tasks(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--task", "wikitext2", "--data", str(folder), "--context", "64", "--json"]
    assert main(["eval", "--model", "dcp-mini", *arguments]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["articles"] == 2
    assert row["weights_sha256"]


def test_another_file_is_one_line(tmp_path: Path) -> None:
    other = tmp_path / "wikitext2-test.txt"
    other.write_text("no title\n")
    with pytest.raises(DataError, match="no article of WikiText"):
        read_wikitext(other)
    with pytest.raises(DataError, match="cannot read"):
        read_wikitext(tmp_path / "missing.txt")
