"""Parts of a chat: every token has one, whatever was said."""

from __future__ import annotations

import pytest

from benchmarks.chat_turns import parts_of


def test_turns_are_counted_by_who_speaks() -> None:
    said = "<|im_start|> system \n Be kind . <|im_end|> \n <|im_start|> user \n Hi <|im_end|> \n "
    said += "<|im_start|> ass istant \n Hello , you <|im_end|> \n <|im_start|> user \n Bye"
    tokens = said.split(" ")
    turn = ["start", "role", "role"]
    assert parts_of(tokens) == [
        *turn, "system", "system", "system", "end", "break",
        *turn, "user 1", "end", "break",
        *turn, "role", "assistant 1", "assistant 1", "assistant 1", "end", "break",
        *turn, "user 2",
    ]  # fmt: skip


@pytest.mark.parametrize("said", [["\n", "system", "\n"], ["user"], ["<|im_end", "|>"]])
def test_words_that_look_like_a_template_are_words(said: list[str]) -> None:
    found = parts_of(["<|im_start|>", "user", "\n", *said, "<|im_end|>"])
    assert found[3:-1] == ["user 1"] * len(said)
