"""Chat templates: what `transformers` makes of the same messages; a bad one is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcp.errors import ModelError
from dcp.text.chat import Message, render

TURNS = (Message("system", "Be brief."), Message("user", " Are dogs real?\n"))
TEMPLATES = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "{%- for m in messages %}\n    {%- if m.role == 'system' %}\n[S] {{ m.content }}\n"
    "    {%- continue %}\n    {%- endif %}\n{{ m.content }}{{ eos_token }}\n{%- endfor %}",
)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_gives_what_transformers_makes_of_it(
    tiny_checkpoint: object, template: str
) -> None:
    from transformers import AutoTokenizer

    folder = tiny_checkpoint("llama")  # type: ignore[operator]
    theirs = AutoTokenizer.from_pretrained(Path(folder))
    expected = theirs.apply_chat_template(
        [{"role": turn.role, "content": turn.content} for turn in TURNS],
        chat_template=template,
        tokenize=False,
        add_generation_prompt=True,
    )
    assert render(template, TURNS, eos_token="<|endoftext|>") == expected


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{% for %}", "fails"),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "fails"),
        ("{{ messages.append(1) }}", "fails"),
        ("{{ 1 // 0 }}", "fails"),
    ],
)
def test_a_template_that_fails_or_reaches_out_is_one_line(template: str, says: str) -> None:
    with pytest.raises(ModelError, match=says) as refused:
        render(template, TURNS)
    assert "\n" not in str(refused.value)
