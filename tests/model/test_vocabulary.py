"""Rows of seen tokens alone: same states and deaths, a softmax over what is left, restored."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dcp.cli.main import main
from dcp.errors import RequestError
from dcp.model.masked import MaskedAttend
from dcp.model.registry import open_model
from dcp.model.vocabulary import open_seen, restore, restrict, seen
from dcp.model.weights import load
from dcp.runs.recorder import record
from dcp.runs.replay import replay
from dcp.runs.rescore import gates_off
from dcp.runs.settled import settle
from dcp.trace import Trace

TEXT = "The river rose for three days. Then it fell."


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_states_are_the_same_and_the_softmax_is_over_what_is_kept(
    tiny_checkpoint: Callable[..., Path], architecture: str
) -> None:
    whole = load(tiny_checkpoint(architecture, drop=0.4))
    kept = np.array([3, 5, 64, 65, 100, 200, 258])
    small, rows = restrict(whole, kept)
    assert small.config.vocab == 7
    ids = torch.from_numpy(kept[[0, 3, 3, 6, 2, 1, 5]])[None]
    steps = torch.arange(7)[None]
    full, some = MaskedAttend(), MaskedAttend()
    with torch.inference_mode():
        all_logits = whole.transformer(ids, steps, full)
        logits = small.transformer(torch.from_numpy(rows.place)[ids], steps, some)
    assert torch.equal(full.deaths, some.deaths)
    assert torch.allclose(logits, all_logits[..., kept], atol=1e-5)
    tied = whole.config.tied
    assert tied == (architecture == "gpt2")
    matrices = 1 if tied else 2
    assert rows.bytes_saved == (259 - 7) * whole.config.width * 4 * matrices
    held = {p.data_ptr(): p.nbytes for p in small.transformer.parameters()}
    before = {p.data_ptr(): p.nbytes for p in whole.transformer.parameters()}
    assert sum(before.values()) - sum(held.values()) == rows.bytes_saved


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_all_rows_come_back_with_what_changed(
    tiny_checkpoint: Callable[..., Path], architecture: str
) -> None:
    whole = load(tiny_checkpoint(architecture))
    small, rows = restrict(whole, [4, 9, 77])
    again = restore(small, rows, whole)
    for name, tensor in whole.transformer.state_dict().items():
        assert torch.equal(again.transformer.state_dict()[name], tensor), name
    assert again.weights_sha256 == whole.weights_sha256 != small.weights_sha256
    with torch.no_grad():
        small.transformer.embed.weight[1] += 1
    changed = restore(small, rows, whole).transformer.embed.weight - whole.transformer.embed.weight
    assert changed.abs().sum(dim=1).nonzero()[:, 0].tolist() == [9]
    other = replace(whole, config=replace(whole.config, layers=1))
    with pytest.raises(RequestError, match="another model"):
        restore(small, rows, other)


def test_a_run_is_the_whole_models_with_its_draws_among_seen_tokens(
    tiny_checkpoint: Callable[..., Path],
) -> None:
    folder = tiny_checkpoint("llama", drop=0.4)
    model, whole = open_seen(folder, [TEXT]), open_model(folder)
    run = record(TEXT, model=model, new_tokens=20)
    ids = whole.tokenizer.encode(TEXT).ids.tolist()
    seen = {*ids, 256}
    assert set(run.token_ids.tolist()) <= seen
    assert run.text.startswith(TEXT)
    assert run.token_ids[: len(ids)].tolist() == ids
    assert run.meta.vocabulary == {
        "kept": len(seen), "of": 259, "bytes": len(seen) * 32 * 8,
        "bytes_saved": (259 - len(seen)) * 32 * 8,
    }  # fmt: skip
    # The same tokens through the whole model die at the same steps; scores differ by the mass that
    # the whole model gave to tokens left out.
    asked = replay(whole, run)
    assert np.array_equal(asked.death, run.death)
    above = run.logprob[1:] - asked.logprob[1:]
    assert (above > -1e-5).all()
    assert above.max() > 0.1
    assert Trace.from_bytes(run.to_bytes()) == run


def test_what_it_cannot_do_is_said(tiny_checkpoint: Callable[..., Path]) -> None:
    folder = tiny_checkpoint("llama", drop=0.4)
    model, whole = open_seen(folder, [TEXT]), open_model(folder)
    run = record(TEXT, model=model, new_tokens=2)
    for call, message in (
        (lambda: record("Quay!", model=model, new_tokens=1), "token 'Q', which the corpus"),
        (lambda: open_seen(folder, []), "no text"),
        (lambda: open_seen(folder, [""]), "no text"),
        (lambda: open_seen(folder, [TEXT], "int8"), "float32 or bfloat16"),
        (lambda: gates_off(model, run), "all of them"),
        (lambda: settle(model, run), "all of them"),
        (lambda: replay(model, run), "cannot read a trace again"),
        (lambda: gates_off(whole, run), "other weights"),
        (lambda: restrict(whole.loaded, [1, 1]), "distinct"),
        (lambda: restrict(whole.loaded, [259]), "from 0 to 258"),
        (lambda: restrict(whole.loaded, []), "distinct"),
    ):
        with pytest.raises(RequestError, match=message):
            call()


def test_the_command_line_says_what_is_saved(
    tiny_checkpoint: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["trace", "--model", str(tiny_checkpoint("gpt2", drop=0.4)), "--text", TEXT]
    words += ["--new-tokens", "3"]
    assert main([*words, "--vocabulary", "seen", "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)["vocabulary"]
    (tmp_path / "more.txt").write_text("0123456789")
    more = [*words, "--vocabulary", "seen", "--corpus", str(tmp_path / "more.txt")]
    assert main([*more, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["vocabulary"]["kept"] == alone["kept"] + 10
    assert main(more) == 0
    assert "softmax over these rows" in capsys.readouterr().err
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["vocabulary"] is None
    asked = ["--policy", "citrus-shared", "--budget", "16", "--instruction", "Quay?"]
    assert main([*words, "--vocabulary", "seen", *asked]) == 0
    capsys.readouterr()
    for wrong, message in (
        (["--corpus", str(tmp_path / "more.txt")], "for --vocabulary seen"),
        (["--vocabulary", "seen", "--gates-off"], "leave --vocabulary seen out"),
        (["--vocabulary", "seen", "--dtype", "int8"], "float32 or bfloat16"),
        (["--vocabulary", "seen", "--corpus", str(tmp_path / "none.txt")], "cannot read"),
        (["--vocabulary", "most"], "invalid choice"),
    ):
        assert main([*words, *wrong]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1


def test_an_open_model_is_restricted_without_being_read_again(
    tiny_checkpoint: Callable[..., Path],
) -> None:
    whole = open_model(tiny_checkpoint("llama"))
    model, read = seen(whole, [TEXT]), open_seen(tiny_checkpoint("llama"), [TEXT])
    assert model.vocabulary.to_json() == read.vocabulary.to_json()
    assert model.loaded.weights_sha256 == read.loaded.weights_sha256
    assert whole.vocabulary is None
    one, other = (
        record(TEXT, new_tokens=4, **options)
        for options in ({"model": whole, "vocabulary": "seen"}, {"model": read})
    )
    assert one.token_ids.tolist() == other.token_ids.tolist()
    assert one.meta.vocabulary == other.meta.vocabulary
    for wrong in (lambda: seen(model, [TEXT]), lambda: record(TEXT, vocabulary="some")):
        with pytest.raises(RequestError):
            wrong()
