"""The address names a place in the run, never a word of the text, and is hostile until checked."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from dcp.ui.explore.examples import EXAMPLES
from dcp.ui.session import Session

Open = Callable[..., AppTest]
HOSTILE = [
    "99999999", "-1", "1e3", "٣", "²", "", "9" * 5000, "<script>alert(1)</script>", "nan",
]  # fmt: skip


def session(page: AppTest) -> Session:
    found: Session = page.session_state["session"]
    return found


def address(page: AppTest) -> dict[str, str]:
    found = dict(page.query_params)
    return {name: at if isinstance(at, str) else at[-1] for name, at in found.items()}


def test_a_link_names_layer_step_and_token(open_page: Open) -> None:
    page = open_page(address={"layer": "2", "step": "40", "token": "7"})
    assert not page.exception
    shown = session(page)
    assert (shown.place.layer, shown.place.step, shown.place.token) == (2, 40, 7)
    assert address(page) == {"layer": "2", "step": "40", "token": "7"}
    assert not page.toast


@pytest.mark.parametrize(
    ("name", "value"), [("step", "196"), ("layer", "8"), *(("token", value) for value in HOSTILE)]
)
def test_what_is_not_there_is_ignored_with_a_note(open_page: Open, name: str, value: str) -> None:
    good = "token" if name == "layer" else "layer"
    page = open_page(address={name: value, good: "1"})
    assert not page.exception
    assert getattr(session(page).place, name) is None
    assert getattr(session(page).place, good) == 1
    assert address(page) == {good: "1"}
    assert [toast.value for toast in page.toast] == [
        f"This run has no such {name}: the link was followed in part."
    ]
    page.run()
    assert not page.toast


def test_a_place_survives_a_page_switch_and_ends_with_its_run(open_page: Open) -> None:
    page = open_page(address={"layer": "1", "token": "3"})
    page.switch_page("pages/cost.py").run()
    assert (session(page).place.layer, session(page).place.token) == (1, 3)
    other = session(page)
    assert other.shown.trace is not None
    other.show(other.shown.trace, (), "upload", "An opened trace.")
    assert (other.place.layer, other.place.token) == (None, None)


@pytest.mark.parametrize("name", list(EXAMPLES)[1:3])
def test_a_link_names_an_example(open_page: Open, name: str) -> None:
    page = open_page(address={"preset": name})
    assert page.text_area(key="text").value == EXAMPLES[name]
    assert address(page) == {"preset": name}


def test_an_unknown_example_is_ignored_with_a_note(open_page: Open) -> None:
    page = open_page(address={"preset": "<b>no</b>"})
    assert not page.exception
    assert page.text_area(key="text").value == EXAMPLES["A lighthouse"]
    assert len(page.toast) == 1
    assert "<b>" not in page.toast[0].value


def test_what_is_typed_never_reaches_the_address(open_page: Open) -> None:
    page = open_page()
    page.text_area(key="text").set_value("A private thought.").run()
    page.button(key="generate").click().run()
    page.run()
    assert "private" not in repr(address(page))
    assert set(address(page)) <= {"layer", "step", "token", "preset"}
