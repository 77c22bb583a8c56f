"""What the page is made of: real runs through the worker, token counts, tails, samples."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dcp.model.registry
from dcp.errors import RequestError, TraceError
from dcp.model.checkpoint import Checkpoint
from dcp.model.registry import OpenModel
from dcp.runs.request import TextRequest
from dcp.speech.words import words_of
from dcp.ui import samples, services
from dcp.ui.explore import counting
from dcp.ui.explore.counting import LastCount
from dcp.ui.session import Session
from dcp.ui.settings import Settings
from dcp.ui.task import Report, Task, TaskStatus
from dcp.ui.worker import Worker
from tests.app.conftest import PlainTagger, plain_words
from tests.app.fakes import tiny_model
from tests.helpers.traces import DESIGN


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("bundle") / "models") / "tiny")


def test_a_real_run_goes_through_the_worker(tiny_checkpoint: Callable[..., Path]) -> None:
    worker = Worker(services.begin, plain_words)
    model = str(tiny_checkpoint("llama"))
    request = TextRequest("The keeper wrote it down.", model=model, new_tokens=9, seed=3)
    job = worker.submit("me", request)
    end = time.monotonic() + 60
    while not job.status().settled:
        assert time.monotonic() < end
        time.sleep(0.02)
    status = job.status()
    assert (status.state, status.message) == ("done", "")
    assert status.trace is not None
    assert status.trace.tokens - status.trace.prompt_tokens == 9
    assert status.trace.text.startswith("The keeper wrote it down.")
    assert status.counters.new_tokens == 9
    again = worker.submit("me", request)
    while not again.status().settled:
        time.sleep(0.02)
    assert again.status().trace.token_ids.tolist() == status.trace.token_ids.tolist()
    worker.close()


def test_a_folder_that_is_no_model_fails_in_one_line(tmp_path: Path) -> None:
    worker = Worker(services.begin, plain_words)
    job = worker.submit("me", TextRequest("Some text.", model=str(tmp_path)))
    end = time.monotonic() + 60
    while not job.status().settled:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert job.status().state == "failed"
    assert "\n" not in job.status().message
    assert "inside the app" not in job.status().message
    worker.close()


def over(task: Task[Any]) -> TaskStatus[Any]:
    end = time.monotonic() + 60
    while task.status().active:
        assert time.monotonic() < end
        time.sleep(0.02)
    return task.status()


def test_a_task_is_given_the_model_it_asked_for(tiny_checkpoint: Callable[..., Path]) -> None:
    limits = Settings(workers=1)
    model = str(tiny_checkpoint("llama"))

    def layers(opened: OpenModel, report: Report) -> int:
        report.progress(0.5, "counting")
        return opened.info.layers

    status = over(services.submit_task("me", model, layers, limits))
    assert (status.state, status.line) == ("done", "counting")
    assert status.result == dcp.model.registry.describe(Path(model)).layers
    services.worker(limits).close()
    services.worker.clear()


def test_the_app_sees_a_replaced_checkpoint(
    tiny_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    limits = Settings(workers=1)
    folder = shutil.copytree(tiny_checkpoint("llama"), tmp_path / "tiny")

    def weights(opened: OpenModel, report: Report) -> str:
        return opened.loaded.weights_sha256

    before = over(services.submit_task("me", str(folder), weights, limits)).result
    assert counting.count(str(folder), "abc") == 3
    shutil.copytree(tiny_checkpoint("llama", seed=1), folder, dirs_exist_ok=True)
    after = over(services.submit_task("me", str(folder), weights, limits)).result
    assert before != after == dcp.model.registry.open_model(folder).loaded.weights_sha256
    services.worker(limits).close()
    services.worker.clear()


def test_a_public_server_opens_no_folder_for_a_task(tiny_checkpoint: Callable[..., Path]) -> None:
    limits = Settings(public=True, workers=1)
    status = over(services.submit_task("me", str(tiny_checkpoint("llama")), lambda m, r: 1, limits))
    assert status.state == "failed"
    assert "only the bundled models" in status.message
    services.worker(limits).close()
    services.worker.clear()


@pytest.mark.parametrize("text", ["Some words.", "a"])
def test_the_session_says_how_a_run_ended(tiny_checkpoint: Callable[..., Path], text: str) -> None:
    worker = Worker(services.begin, lambda trace: ())
    request = TextRequest(text, model=str(tiny_checkpoint("llama")), new_tokens=4)
    session = Session()
    session.begin(worker.submit(session.owner, request), request)
    while not session.work.job.status().settled:
        time.sleep(0.02)
    session.end(session.work.job.status())
    assert session.work.job is None
    given = session.shown.trace.prompt_tokens
    assert (given == 1) == (text == "a")
    read = "1 token" if given == 1 else f"{given} tokens"
    assert session.shown.note.startswith(f"Done: {read} read, 4 written.")
    assert "Parts of speech are not available." in session.shown.note
    worker.close()


@pytest.mark.parametrize("limit", [5, 7, 63, 400])
def test_the_tail_fits_and_is_an_end_of_the_text(folder: str, limit: int) -> None:
    text = "word after word, naïve 🙂 café. " * 60
    tail = counting.tail(folder, text, limit)
    assert 0 < counting.count(folder, tail) <= limit
    assert text.endswith(tail)


def test_the_tail_begins_at_a_word(folder: str) -> None:
    text = "understanding " * 100
    assert counting.tail(folder, text, 40).split()[0] == "understanding"


def test_text_without_spaces_has_a_tail_too(folder: str) -> None:
    text = "x" * 999
    tail = counting.tail(folder, text, 17)
    assert text.endswith(tail)
    assert tail


@pytest.mark.parametrize(
    "text", ["word" + " " * 50_000, "y" * 30_000, "a b " * 20_000, "x " + "漢" * 20_000]
)
def test_a_tail_takes_a_few_encodings(
    folder: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer, asked = type(Checkpoint.read(Path(folder)).tokenizer), []
    own = tokenizer.encode
    monkeypatch.setattr(
        tokenizer, "encode", lambda self, text: asked.append(len(text)) or own(self, text)
    )
    try:
        tail = counting.tail(folder, text, 100)
    except RequestError:
        assert not text[-100:].strip()
    else:
        assert text.endswith(tail)
        assert own(Checkpoint.read(Path(folder)).tokenizer, tail).ids.size in range(80, 101)
    assert asked.count(len(text)) == 1
    assert len(asked) <= 9


def test_no_room_is_refused(folder: str) -> None:
    with pytest.raises(RequestError, match="nothing of the text fits"):
        counting.tail(folder, "some text that is here", 0)


def test_the_bundled_sample_loads_with_its_words() -> None:
    names = samples.sample_names()
    assert names
    trace, words = samples.load_sample(names[0])
    assert trace.tokens > 100
    assert words
    assert all(trace.text[word.start : word.end] == word.text for word in words)


def test_typed_samples_stand_before_held_out_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "FOLDER", tmp_path)
    for name in ("heldout-a", "typed", "heldout-b", "another"):
        (tmp_path / f"{name}.safetensors").touch()
    assert samples.sample_names() == ["another", "typed", "heldout-a", "heldout-b"]
    assert [samples.held_out(name) for name in samples.sample_names()] == [False, False, True, True]


def test_an_unknown_sample_is_refused() -> None:
    with pytest.raises(TraceError, match="no sample 'x'"):
        samples.load_sample("x")


def test_words_written_beside_a_sample_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcp.speech.tagger.load_tagger", PlainTagger)
    monkeypatch.setattr(samples, "FOLDER", tmp_path)
    (tmp_path / "one.safetensors").write_bytes(DESIGN.read_bytes())
    samples.write_words(tmp_path / "one.safetensors")
    trace, words = samples.load_sample("one")
    assert words == words_of(trace, PlainTagger())


def test_the_default_model_is_counted_too(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dcp.model.registry, "BUNDLED", Path(folder).parent)
    assert counting.count(None, "A text of words.") == counting.count(folder, "A text of words.")


def test_the_last_count_is_kept_and_no_other_text(
    tiny_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, asked = str(tiny_checkpoint("llama")), []
    tokenizer = type(Checkpoint.read(Path(folder)).tokenizer)
    own = tokenizer.count
    monkeypatch.setattr(
        tokenizer, "count", lambda self, text: asked.append(text) or own(self, text)
    )
    count = LastCount()
    assert [count(folder, text) for text in ("abc", "abc", "abcd")] == [3, 3, 4]
    assert asked == ["abc", "abcd"]
    assert "abc" not in {text for text in vars(count)["_asked"] if isinstance(text, str)}


def test_no_cache_of_the_process_holds_a_text() -> None:
    """What all sessions share is bundled: models, samples, studies, assets, their previews."""
    shared = re.compile(
        r"@(?:lru_cache|cache|st\.cache_\w+)(?:\((?![^)]*session)[^)]*\))?\ndef (\w+)"
    )
    found = {
        name
        for path in (Path(services.__file__).parent).rglob("*.py")
        for name in shared.findall(path.read_text(encoding="utf-8"))
    }
    assert found == {
        *("picture", "_component", "settings", "_thread", "_samples", "worker", "warm"),
        *("_departures", "_dial", "_read", "_run", "open_study", "_sample", "_view", "_ear"),
    }
