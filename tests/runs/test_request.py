"""A request on a text is checked once, where it is made; every door says the same."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcp.engine.engine import Engine
from dcp.errors import RequestError
from dcp.model.config import Sampling
from dcp.model.registry import OpenModel, open_model
from dcp.runs.recorder import record
from dcp.runs.request import TextRequest

Checkpoint = Callable[..., Path]


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Checkpoint) -> OpenModel:
    return open_model(tiny_checkpoint("llama", drop=0.6))


def test_record_takes_what_a_request_holds_with_the_same_defaults() -> None:
    asked = inspect.signature(record).parameters
    fields = {field.name: field.default for field in dataclasses.fields(TextRequest)}
    assert fields.pop("text") is dataclasses.MISSING
    assert {name: p.default for name, p in asked.items() if name != "text"} == fields
    assert all(p.kind is p.KEYWORD_ONLY for name, p in asked.items() if name != "text")


NUMPY: dict[str, Any] = {
    "new_tokens": np.int64(5),
    "seed": np.int64(3),
    "temperature": np.float32(0.5),
    "top_k": np.int32(40),
    "top_p": np.float64(0.9),
    "gate_shift": np.float16(0.25),
    "stop_at_eos": np.False_,
}


def test_numpy_scalars_are_the_numbers_they_are(model: OpenModel, tmp_path: Path) -> None:
    plain: dict[str, Any] = {name: value.item() for name, value in NUMPY.items()}
    found, wanted = (record("The river", model=model, **given) for given in (NUMPY, plain))
    assert found.token_ids.tolist() == wanted.token_ids.tolist()
    assert np.array_equal(found.death, wanted.death)
    found.save(tmp_path / "run.safetensors")
    for name in ("seed", "gate_shift", "sampling"):
        assert getattr(found.meta, name) == getattr(wanted.meta, name)


def test_the_engine_takes_numpy_scalars_too(model: OpenModel) -> None:
    ids = np.frombuffer(b"The river", np.uint8).astype(np.int64)
    large = 2**40 + 1
    runs = [
        Engine(model.loaded).run([row], new_tokens=new, gate_shift=shift, sampling=sampling)
        for row, new, shift, sampling in (
            (
                ids,
                np.int64(6),
                np.float32(0.5),
                Sampling(np.float32(0.5), seed=np.int64(large)),
            ),
            (ids.tolist(), 6, 0.5, Sampling(0.5, seed=large)),
        )
    ]
    one, two = ([part.tokens.tolist() for step in run for part in step.rows] for run in runs)
    assert one == two
    for new in ("6", 6.0, [True], None):
        with pytest.raises(RequestError, match="new_tokens must be a whole number"):
            Engine(model.loaded).run([ids.tolist()], new_tokens=new)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"text": b"bytes"}, "the text must be a string, not bytes"),
        ({"text": None}, "the text must be a string"),
        ({"text": " \n"}, "there is no text"),
        ({"new_tokens": 2.5}, "new_tokens must be a whole number"),
        ({"new_tokens": True}, "new_tokens must be a whole number"),
        ({"new_tokens": -1}, "new_tokens must be 0 or more"),
        ({"seed": "3"}, "seed must be a whole number"),
        ({"seed": -1}, "seed must be in 0"),
        ({"temperature": "hot"}, "temperature must be a finite number"),
        ({"temperature": float("inf")}, "temperature must be a finite number"),
        ({"top_k": 1.5}, "top_k must be a whole number"),
        ({"top_p": None}, "top_p must be a finite number"),
        ({"gate_shift": [1.0]}, "gate_shift must be a finite number"),
        ({"sparsity": "half"}, "sparsity must be a finite number"),
        ({"sparsity": 0.5, "gate_shift": 1.0}, "not both"),
        ({"truncate": "middle"}, "truncate 'middle' is unknown"),
        ({"stop_at_eos": "no"}, "stop_at_eos must be True or False"),
        ({"impl": None}, "impl must be a name"),
        ({"dtype": 32}, "dtype must be a name"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_before_a_model_is_opened(
    wrong: dict[str, Any], said: str
) -> None:
    given = {"text": "The river", "model": "/no/such/folder", **wrong}
    for door in (TextRequest, record):
        with pytest.raises(RequestError, match=said) as caught:
            door(**given)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("tokens", "fits"), [(1, True), (63, True), (64, False), (1000, False)])
def test_a_text_fits_beside_its_new_tokens_or_is_refused(tokens: int, fits: bool) -> None:
    request = TextRequest("a", new_tokens=37)
    assert request.room(100) == 63
    if fits:
        request.check_length(tokens, 100)
        return
    with pytest.raises(RequestError, match=f"{tokens:,} tokens.*100.*63 fit") as caught:
        request.check_length(tokens, 100)
    assert caught.value.remedy == "truncate"
    assert "--" not in str(caught.value), "the library does not speak command line"
    dataclasses.replace(request, truncate="left").check_length(tokens, 100)
    with pytest.raises(RequestError, match="no room for text"):
        request.room(37)


def test_an_error_keeps_its_remedy_between_processes() -> None:
    error = RequestError("one line", remedy="truncate")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.remedy) == (RequestError, "one line", "truncate")
