"""Messages as the text that a chat model was taught to read, by its tokenizer's Jinja template.

A template comes from whoever made the model, so it runs in Jinja's sandbox. Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NoReturn

from dcp.errors import ModelError

__all__ = ["Message", "render"]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


def render(template: str, messages: Sequence[Message], **tokens: str) -> str:
    """The text of ``messages`` up to where the assistant's answer begins.

    tokens  names of special tokens that a template may ask for, such as ``eos_token``

    As ``apply_chat_template(..., tokenize=False, add_generation_prompt=True)`` of ``transformers``
    gives it. Raises ModelError for a template that fails.
    """
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> NoReturn:
        raise TemplateError(message)

    jinja = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    jinja.globals["raise_exception"] = refuse
    turns: list[dict[str, Any]] = [asdict(message) for message in messages]
    try:
        return jinja.from_string(template).render(
            messages=turns, add_generation_prompt=True, **tokens
        )
    # A template can fail in any way that Python can.
    except Exception as wrong:
        reason = (str(wrong).strip() or type(wrong).__name__).splitlines()[0]
        raise ModelError(f"the model's chat template fails: {reason[:160]}") from None
