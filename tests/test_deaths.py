"""Deaths by order: a table that a caller makes, one token at a time."""

from __future__ import annotations

import numpy as np
import pytest

from dcp.deaths import ALIVE, GATE, ForcedDeaths
from dcp.errors import RequestError


def test_alive_is_beyond_any_step_and_fits_into_its_type() -> None:
    assert np.iinfo(np.int32).max == ALIVE
    assert GATE < 0


def test_nothing_is_forced_at_first() -> None:
    none = ForcedDeaths.none(layers=2, tokens=3)
    assert none.death.dtype == np.int32
    assert none.death.tolist() == [[GATE] * 3] * 2


def test_one_order_changes_one_cell_or_one_column_and_not_the_table_before() -> None:
    none = ForcedDeaths.none(layers=3, tokens=4)
    one = none.drop(1, step=3, layer=2)
    assert np.argwhere(one.death != GATE).tolist() == [[2, 1]]
    assert one.death[2, 1] == 3
    every = none.keep(0)
    assert (every.death[:, 0] == ALIVE).all()
    assert (every.death[:, 1:] == GATE).all()
    both = one.keep(3).drop(0, step=1, layer=0)
    assert both.death[:, 3].tolist() == [ALIVE] * 3
    assert both.death[0, 0] == 1
    assert both.death[2, 1] == 3
    assert (none.death == GATE).all()
    with pytest.raises(ValueError, match="read-only"):
        one.death[0, 0] = 9


@pytest.mark.parametrize(
    ("token", "layer"), [(4, None), (5, None), (-1, None), (0, 3), (0, 4), (0, -1), (4, 0)]
)
def test_what_is_not_there_cannot_be_forced(token: int, layer: int | None) -> None:
    none = ForcedDeaths.none(layers=3, tokens=4)
    with pytest.raises(RequestError, match=f"no token {token} in layer {layer} to force"):
        none.keep(token, layer)


def test_the_last_token_of_the_last_layer_can_be_forced() -> None:
    none = ForcedDeaths.none(layers=3, tokens=4)
    assert none.keep(3, layer=2).death[2, 3] == ALIVE
    assert none.keep(0, layer=0).death[0, 0] == ALIVE


@pytest.mark.parametrize("step", [0, 1, 2, -2])
def test_a_token_never_dies_before_a_later_one_is_read(step: int) -> None:
    none = ForcedDeaths.none(layers=2, tokens=4)
    with pytest.raises(RequestError, match=f"token 2 cannot die at step {step} in layer 1"):
        none.drop(2, step=step, layer=1)
    assert none.drop(2, step=3, layer=1).death[1, 2] == 3


@pytest.mark.parametrize("table", [np.zeros(3, np.int32), np.zeros((1, 2, 2), int), [[1.5, 2.5]]])
def test_a_table_of_another_kind_is_refused(table: object) -> None:
    with pytest.raises(RequestError, match="whole numbers, layers x tokens"):
        ForcedDeaths(table)  # type: ignore[arg-type]


@pytest.mark.parametrize("tokens", [1, 3, 4, 7])
def test_tokens_beyond_the_table_are_left_to_the_gates(tokens: int) -> None:
    made = ForcedDeaths.none(layers=2, tokens=4).keep(0).drop(2, step=5, layer=1)
    padded = made.padded(tokens)
    assert padded.dtype == np.int32
    assert padded.shape == (2, tokens)
    both = min(tokens, 4)
    assert (padded[:, :both] == made.death[:, :both]).all()
    assert (padded[:, both:] == GATE).all()
