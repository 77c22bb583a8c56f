"""Sampling: the generator against published vectors, the draw against its definition."""

import numpy as np
import pytest
import torch

from dcp.engine.sampling import log_probabilities, philox, sample, uniform_table, uniforms
from dcp.model.config import Sampling

# Random123's known answers for philox4x32-10: counter, key, output.
KNOWN = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


def logits(batch: int, vocab: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(batch, vocab, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_gives_the_published_words(counter, key, expected):
    assert list(philox(tuple(counter), tuple(key))) == expected


def test_uniforms_are_in_range_even_and_differ_by_seed_row_and_position():
    many = uniforms(7, [3] * 20_000, range(20_000))
    assert many.dtype == np.float32
    assert many.min() >= 0
    assert many.max() < 1
    counts, _ = np.histogram(many, bins=20, range=(0, 1))
    # A chi-square of 19 degrees of freedom passes 43.8 once in a thousand.
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8
    base = uniforms(7, [0], [0])[0]
    assert len({base, uniforms(8, [0], [0])[0], uniforms(7, [1], [0])[0],
                uniforms(7, [0], [1])[0], uniforms(7 + 2**32, [0], [0])[0]}) == 5  # fmt: skip


@pytest.mark.parametrize("sampling", [
    Sampling(0.8, seed=3), Sampling(1.3, top_k=5), Sampling(0.7, top_p=0.6), Sampling(0)
])  # fmt: skip
def test_a_row_draws_the_same_token_in_every_batch(sampling):
    together = logits(9, 101)
    rows, positions = list(range(9)), [5 * i for i in range(9)]
    drawn = sample(together, sampling, rows, positions)
    for i in range(9):
        assert sample(together[i : i + 1], sampling, [i], [5 * i])[0] == drawn[i]
    backwards = sample(together.flip(0), sampling, rows[::-1], positions[::-1])
    assert torch.equal(backwards.flip(0), drawn)


def test_the_draw_is_the_inverse_cdf_of_its_uniform():
    scores = logits(1, 1000)
    p = torch.softmax(scores[0].double() / 0.9, 0).numpy()
    for position in range(63):
        u = float(uniforms(11, [2], [position])[0])
        token = int(sample(scores, Sampling(0.9, seed=11), [2], [position])[0])
        assert p[:token].sum() <= u + 1e-6
        assert p[: token + 1].sum() >= u - 1e-6


def test_frequencies_follow_the_softmax():
    scores = logits(1, 7, seed=4)
    n = 4000
    drawn = sample(scores.expand(n, 7), Sampling(1.0), [0] * n, range(n))
    p = torch.softmax(scores[0], 0)
    observed = torch.bincount(drawn, minlength=7)
    # A chi-square of 6 degrees of freedom passes 22.5 once in a thousand.
    assert float(((observed - n * p) ** 2 / (n * p)).sum()) < 22.5


def test_greedy_takes_the_lowest_id_among_equals():
    scores = torch.tensor([[0.0, 2.0, 2.0, 1.0]])
    assert sample(scores, Sampling(0), [0], [0]).tolist() == [1]


def test_top_k_keeps_the_k_largest_and_the_lowest_ids_among_equals():
    scores = torch.tensor([[1.0, 5.0, 5.0, 5.0, 0.0]]).expand(400, 5)
    drawn = sample(scores, Sampling(1.0, top_k=2), [0] * 400, range(400))
    assert set(drawn.tolist()) == {1, 2}


def test_top_p_keeps_the_fewest_tokens_that_hold_p():
    scores = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()[None].expand(400, 4)
    for p, kept in ((0.45, {0}), (0.6, {0, 1}), (0.94, {0, 1, 2}), (0.96, {0, 1, 2, 3})):
        drawn = sample(scores, Sampling(1.0, top_p=p), [0] * 400, range(400))
        assert set(drawn.tolist()) == kept


@pytest.mark.parametrize("same", [Sampling(0.8, top_k=101), Sampling(0.8, top_k=5000)])
def test_a_filter_that_keeps_all_changes_nothing(same):
    scores = logits(63, 101)
    plain = sample(scores, Sampling(0.8), range(63), range(63))
    assert torch.equal(sample(scores, same, range(63), range(63)), plain)


def test_a_tiny_temperature_is_greedy_and_hostile_logits_stay_in_range():
    scores = logits(5, 33)
    greedy = sample(scores, Sampling(0), range(5), range(5))
    assert torch.equal(sample(scores, Sampling(1e-30), range(5), range(5)), greedy)
    wild = torch.full((1, 33), -float("inf"))
    wild[0, 7] = 3e38
    assert sample(wild, Sampling(1.0), [0], [0]).tolist() == [7]


def test_log_probabilities_are_the_log_softmax_before_temperature():
    scores = logits(6, 50)
    tokens = torch.tensor([0, 49, 3, 3, 7, 21])
    expected = torch.log_softmax(scores.double(), 1).gather(1, tokens[:, None])[:, 0]
    torch.testing.assert_close(
        log_probabilities(scores, tokens).double(), expected, atol=1e-5, rtol=0
    )


def test_a_table_of_uniforms_holds_those_of_each_row_and_position():
    table = uniform_table(2**32 + 5, [3, 0, 7], [1, 40, 9], 17)
    for row, first, found in zip([3, 0, 7], [1, 40, 9], table, strict=True):
        wanted = uniforms(2**32 + 5, [row] * 17, range(first, first + 17))
        assert found.tolist() == wanted.tolist()
