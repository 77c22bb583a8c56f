"""Explore under any policy of the registry: what is asked is what runs, and what fits is said."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import dcp.ui.services
from dcp.errors import ModelError
from dcp.model.checkpoint import Checkpoint
from dcp.model.dial import shift_for_budget
from dcp.model.gate_config import GateConfig
from dcp.model.registry import list_models
from dcp.policies.registry import POLICIES
from dcp.runs.request import TextRequest
from dcp.stats.policies import title_of
from dcp.trace import Trace
from dcp.trace.amounts import size
from dcp.ui import sidebar
from dcp.ui.explore.policy import ENTRIES, SHARE, SHIFT
from dcp.ui.services import begin as real_begin
from tests.app.conftest import ROOT
from tests.app.rooms import bundle
from tests.app.test_page import finish, press, problems, session, view, write

Open = Callable[..., AppTest]
TEXT = "The museum opened in 1901. It closed for a year, and then it opened again."
BUDGET = 16


@pytest.fixture
def real(
    open_page: Open,
    tiny_checkpoint: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., AppTest]:
    """``real()`` -> the page with one bundled model that really runs, and a short text."""

    def open_one(public: bool = False, architecture: str = "llama") -> AppTest:
        monkeypatch.setattr(dcp.ui.services, "begin", real_begin)
        page = open_page(public=public)
        bundle(tiny_checkpoint(architecture, drop=0.2), tmp_path / "real", monkeypatch, "tiny")
        page.run()
        page.number_input(key="new_tokens").set_value(6).run()
        return write(page, TEXT)

    return open_one


def choose(page: AppTest, name: str, budget: int | None = BUDGET) -> AppTest:
    page.selectbox(key="policy").set_value(name).run()
    if budget is not None and POLICIES[name].budgeted:
        key = "gates budget" if name == "gates" else "budget"
        page.number_input(key=key).set_value(budget).run()
    if name == "snapkv":
        page.number_input(key="policy snapkv window").set_value(3).run()
    if POLICIES[name].instructed != "no":
        page.text_area(key="instruction").set_value("When did it open?").run()
    return page


def shown(page: AppTest) -> Trace:
    trace = session(page).shown.trace
    assert trace is not None
    return trace


def captions(page: AppTest) -> str:
    return "\n".join(caption.value for caption in page.caption)


def test_every_policy_of_the_registry_runs_and_says_what_it_is(real: Open) -> None:
    page = real()
    assert len(page.selectbox(key="policy").options) == len(POLICIES)
    for name, policy in POLICIES.items():
        choose(page, name)
        said = captions(page)
        # Its rule, its paper and where ours differs, before anything is run.
        for part in (policy.rule[1:], policy.paper, policy.differs):
            assert part in said
        assert ("slow path" in said) == (name not in ("gates", "none"))
        assert ("attention weights" in said) == ("attention" in policy.needs or "-" in name)
        finish(press(page, "generate"))
        assert problems(page) == []
        trace = shown(page)
        budget = BUDGET if policy.budgeted else None
        assert (trace.meta.policy, trace.meta.budget) == (name, budget)
        assert trace.tokens - trace.prompt_tokens == 6
        if budget is not None:
            assert trace.held()[:, trace.prompt_tokens + 1 :].max() <= budget + 1
        # The page, the view and what is taken away name it.
        assert title_of(name) in view(page)["label"]
        assert title_of(name) in view(page)["line"]
        assert view(page)["rule"] == ("" if name == "gates" else title_of(name))
        if name not in ("gates", "none", "snapkv", "citrus-shared"):
            continue
        # The link that is offered makes the same run again, settings and all.
        again = finish(follow(page, view(page)["link"]))
        assert shown(again).meta.policy_settings == trace.meta.policy_settings
        assert (shown(again).death == trace.death).all()


def follow(page: AppTest, link: dict[str, str]) -> AppTest:
    """As the page does when a browser arrives with a link."""

    def script(link: dict[str, str]) -> None:
        from functools import partial

        import streamlit as st

        from dcp.ui.explore.arrivals import arrive
        from dcp.ui.explore.controls import generate
        from dcp.ui.settings import settings

        limits, found = settings(), st.session_state["session"]
        arrive(found, limits, link, partial(generate, found, limits))

    other = AppTest.from_function(script, kwargs={"link": link}, default_timeout=60)
    for key in ("session", "model", "new_tokens", "seed", "temperature", "counter"):
        if key in page.session_state:
            other.session_state[key] = page.session_state[key]
    other.run()
    assert not other.exception, other.exception
    page.session_state["link ignored"] = other.session_state["link ignored"]
    return page.run()


@pytest.mark.parametrize(
    ("link", "ignored"),
    [
        ({"policy": "best"}, "policy"),
        ({"policy": "<b>"}, "policy"),
        ({"policy": "h2o", "budget": "0"}, "budget"),
        ({"policy": "h2o", "budget": "-3"}, "budget"),
        ({"policy": "h2o", "budget": "9" * 9}, "budget"),
        ({"policy": "none", "budget": "9"}, "budget"),
        ({"policy": "h2o", "budget": "9", "settings": "window=3"}, "settings"),
        ({"policy": "h2o", "budget": "9", "settings": "recent=nan"}, "settings"),
        ({"policy": "h2o", "budget": "9", "settings": "recent"}, "settings"),
        ({"policy": "tova", "budget": "9", "instruction": "Who?"}, "instruction"),
        ({"policy": "gates", "budget": "9", "settings": "by=magic"}, "settings"),
        ({"kv_dtype": "int4"}, "kv_dtype"),
        ({"kv_dtype": "<b>"}, "kv_dtype"),
    ],
)
def test_what_of_a_link_makes_no_sense_is_left_out_and_named(
    real: Open, link: dict[str, str], ignored: str
) -> None:
    page = finish(follow(real(), {"text": TEXT, "new": "2", **link}))
    assert problems(page) == []
    assert f"This link's {ignored} cannot be used here" in view(page)["line"]
    assert shown(page).tokens - shown(page).prompt_tokens == 2


def test_a_share_is_a_budget_that_drops_as_much(real: Open) -> None:
    page = choose(real(), "window", None)
    page.get("button_group")[-1].set_value(SHARE).run()
    page.slider(key="share").set_value(60).run()
    finish(press(page, "generate"))
    assert shown(page).sparsity_mean_steps() == pytest.approx(0.6, abs=0.05)
    assert view(page)["link"]["budget"] == str(shown(page).meta.budget)
    assert page.session_state["policy by"] == SHARE != ENTRIES


def test_the_gates_keep_to_a_budget_in_two_ways(
    real: Open, monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Callable[..., Path]
) -> None:
    from dcp.model.gate_config import Calibration

    page = real()
    points = tuple(Calibration(d, 256, s, 1.1) for d, s in ((-3.0, 0.95), (0.0, 0.7), (3.0, 0.3)))
    # The bundled folder is a copy: its calibration may be written.
    import json

    path = list_models()[0].path / "dcp_config.json"
    told = json.loads(path.read_text())
    told["calibration"] = [vars(point) for point in points]
    path.write_text(json.dumps(told))
    page.run()
    choose(page, "gates", 40)
    finish(press(page, "generate"))
    assert (shown(page).meta.budget, shown(page).meta.gate_shift) == (40, 0.0)
    assert "at most 40 entries a layer" in view(page)["label"]
    page.get("button_group")[-1].set_value(SHIFT).run()
    # The dial is taken: a second shift beside it would mean nothing.
    assert not [s for s in page.select_slider if s.key == "gate_shift"]
    finish(press(page, "generate"))
    meta = shown(page).meta
    delta = shift_for_budget(GateConfig(8, points), 40, shown(page).n_queries)
    assert meta.gate_shift == pytest.approx(delta)
    assert (meta.policy, meta.budget, meta.policy_settings) == ("gates", 40, {"by": "shift"})
    assert "shifted as for 40 entries a layer" in view(page)["label"]
    assert "shift" not in view(page)["link"]
    page.number_input(key="gates budget").set_value(1).run()
    finish(press(page, "generate"))
    assert len(problems(page)) == 1
    assert "no measured gate shift keeps to 1 entries a layer" in problems(page)[0]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("sink", {"budget": 4}, "Sink needs a budget of at least 5 entries a layer, not 4."),
        ("snapkv", {"budget": 3}, "at least 4 entries a layer, not 3"),
        ("citrus", {"budget": 3}, "at least 4 entries a layer, not 3"),
        ("h2o", {"budget": 1}, "at least 2 entries a layer, not 1"),
        ("strided", {"budget": 2}, "at least"),
        ("citrus-shared", {"instruction": "  "}, "keeps what an instruction asks for"),
        ("citrus-shared", {"instruction": "Who? " * 80}, "leave no room for text in a context"),
        ("citrus-individual", {"instruction": "Who? " * 40}, "of the instruction"),
    ],
)
def test_what_does_not_fit_is_one_line_and_nothing_runs(
    real: Open, name: str, change: dict[str, str | int], message: str
) -> None:
    page = choose(real(), name)
    for key, value in change.items():
        box = page.text_area if key == "instruction" else page.number_input
        box(key=key).set_value(value).run()
    press(page, "generate")
    assert not page.exception
    assert len(problems(page)) == 1
    assert message in problems(page)[0]
    assert "\n" not in problems(page)[0]
    assert session(page).work.job is None


def test_a_model_without_gates_is_ruled(
    real: Open, tiny_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(tiny_checkpoint("gpt2"), plain)
    for gate in ("dcp_config.json", "dcp.safetensors"):
        (plain / gate).unlink()

    def choice(name: str) -> None:
        from dcp.ui.explore.policy import policy_choice
        from dcp.ui.settings import Settings

        policy_choice(name, None, Settings())

    page = AppTest.from_function(choice, kwargs={"name": str(plain)}, default_timeout=60).run()
    assert not page.exception
    assert "Learned gates" not in page.selectbox(key="policy").options
    assert len(page.selectbox(key="policy").options) == len(POLICIES) - 1
    assert "This model has no gates: a rule decides." in captions(page)
    # A run of it, and what is asked about it later, open it without gates; the gates are refused.
    job = real_begin(TextRequest(TEXT, model=str(plain), new_tokens=2, policy="h2o", budget=9),
                     lambda: False)  # fmt: skip
    for _ in job:
        pass
    assert job.trace().meta.policy == "h2o"
    assert dcp.ui.services._open(str(plain)).loaded.gates is None
    with pytest.raises(ModelError, match="choose a policy that needs none"):
        real_begin(TextRequest(TEXT, model=str(plain)), lambda: False)


def test_the_public_page_caps_a_policys_run_too(real: Open) -> None:
    page = choose(real(public=True), "h2o")
    # No more than the context, whatever is typed.
    assert page.number_input(key="budget").max == 256
    finish(press(page, "generate"))
    assert shown(page).meta.policy == "h2o"
    choose(page, "citrus-shared")
    page.text_area(key="instruction").set_value("w" * 100_001).run()
    press(page, "generate")
    assert "at most 100,000 are read here" in problems(page)[0]


def test_this_windows_runs_say_who_dropped(real: Open) -> None:
    page = choose(real(), "tova")
    finish(press(page, "generate"))
    page.session_state["your runs"] = True
    page.run()
    (button,) = [b for b in page.button if b.key and b.key.startswith("open run-")]
    assert "TOVA, at most 16 entries a layer" in button.label
    assert sidebar._who(shown(page).meta) == {"who drops": "TOVA, at most 16 entries a layer"}


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_only_tokens_of_the_text_are_written_and_the_counter_says_what_that_saves(
    real: Open, architecture: str
) -> None:
    page = real(architecture=architecture)
    finish(press(page, "generate"))
    whole = view(page)["rows"]
    config = Checkpoint.read(list_models()[0].path).config
    stops = set(Checkpoint.read(list_models()[0].path).stop_ids)
    seen = {*shown(page).token_ids.tolist(), *(s for s in stops if s < config.vocab)}
    assert (whole["of"], whole["seen"]) == (config.vocab, len(seen))
    assert not whole["left_out"]
    # A tied head needs every row again: input rows alone save nothing.
    assert whole["tied"] == config.tied
    row = 4 * config.width
    left = config.vocab - len(seen)
    assert whole["input_saves"] == (0 if config.tied else left * row)
    assert whole["both_save"] == left * row * (1 if config.tied else 2)
    page.toggle(key="seen").set_value(True).run()
    finish(press(page, "generate"))
    assert problems(page) == []
    trace = shown(page)
    assert set(trace.token_ids.tolist()) <= set(trace.token_ids[: trace.prompt_tokens].tolist())
    assert view(page)["rows"]["left_out"]
    assert view(page)["rows"]["both_save"] == trace.meta.vocabulary["bytes_saved"]
    assert view(page)["link"]["vocabulary"] == "seen"
    # Rows that are not there cannot be asked what they would have said.
    assert not view(page)["written"]["asks"]
    again = finish(follow(page, view(page)["link"]))
    assert shown(again).token_ids.tolist() == trace.token_ids.tolist()


def test_keys_and_values_are_kept_as_chosen_and_every_place_says_so(real: Open) -> None:
    page = real()
    finish(press(page, "generate"))
    plain = shown(page)
    assert plain.meta.kv_dtype is None
    assert "kv_dtype" not in view(page)["link"]
    assert "keys and values" not in view(page)["label"]
    page.selectbox(key="kv_dtype").set_value("int8").run()
    # The settings in one line, before the run.
    assert "8-bit keys and values" in captions(page)
    finish(press(page, "generate"))
    assert problems(page) == []
    trace = shown(page)
    assert trace.meta.kv_dtype == "int8"
    assert view(page)["memory"]["kv_bytes_per_entry"] == trace.meta.memory.entry
    assert trace.meta.memory.entry < plain.meta.memory.entry / 2
    assert "8-bit keys and values" in view(page)["label"]
    assert view(page)["link"]["kv_dtype"] == "int8"
    # What a browser brings of a link is what it knows by name.
    known = (ROOT / "web" / "viewer" / "hello.js").read_text("utf-8")
    assert all(f'"{key}"' in known for key in view(page)["link"])
    assert sidebar._facts(trace)["cache"] == "8-bit keys and values"
    assert "cache" not in sidebar._facts(plain)
    page.session_state["your runs"] = True
    page.run()
    labels = [b.label for b in page.button if b.key and b.key.startswith("open run-")]
    assert ["8\\-bit keys" in label for label in labels] == [True, False]
    # A link's run is kept as the link says, whatever the form had.
    page.selectbox(key="kv_dtype").set_value("float16").run()
    again = finish(follow(page, view(page)["link"]))
    assert shown(again).meta.kv_dtype == "int8"
    assert (shown(again).death == trace.death).all()
    page.switch_page("pages/cost.py").run()
    assert not page.exception
    assert "8-bit keys and values" in captions(page)
    dense = next(m.delta for m in page.metric if m.label.startswith("Live at the end"))
    assert size(trace.layers * trace.n_queries * trace.meta.memory.entry) in dense
