"""At the door: numpy's numbers are taken for what they are, all else is one line."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from dcp.arguments import flag, one_of, real, whole
from dcp.errors import RequestError


@pytest.mark.parametrize("number", [7, np.int64(7), np.uint8(7), torch.tensor(7), np.array(7)])
def test_whole_numbers_of_any_make_become_an_int(number: Any) -> None:
    assert whole("n", number) == 7
    assert type(whole("n", number)) is int


@pytest.mark.parametrize("number", [0.5, np.float32(0.5), np.float64(0.5), Fraction(1, 2)])
def test_finite_numbers_of_any_make_become_a_float(number: Any) -> None:
    assert real("x", number) == 0.5
    assert type(real("x", number)) is float


def test_flags_stay_flags() -> None:
    for yes in (True, np.True_):
        assert flag("f", yes) is True
    assert flag("f", np.bool_(False)) is False


@pytest.mark.parametrize(
    ("check", "value"),
    [
        *((whole, v) for v in (1.0, "1", None, True, np.True_, np.float32(1), [1], np.ones(2))),
        *((real, v) for v in ("1", None, True, np.True_, 1j, np.nan, -np.inf, [1.0], b"1")),
        *((flag, v) for v in (0, 1, "yes", None, np.int64(1))),
    ],
    ids=lambda part: getattr(part, "__name__", repr(part)),
)
def test_all_else_is_refused_in_one_line_that_names_it(check: Any, value: Any) -> None:
    with pytest.raises(RequestError, match=r"^the dial must be .*, not ") as caught:
        check("the dial", value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 120


def test_a_choice_is_a_name_from_the_list() -> None:
    one_of("side", "left", ("left", "right"))
    for wrong in ("middle", 3, None, ["left"]):
        with pytest.raises(RequestError, match=r"side .* is unknown: choose one of left, right"):
            one_of("side", wrong, ("left", "right"))
