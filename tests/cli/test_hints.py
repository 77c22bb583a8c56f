"""The library speaks of parameters; the command line adds its option behind what it says."""

import ast
import re
from pathlib import Path

import pytest

import dcp
from dcp.cli.hints import worded
from dcp.cli.main import COMMANDS, main
from dcp.errors import RequestError

PACKAGE = Path(dcp.__file__).parent


def test_a_remedy_gets_the_name_of_its_option_and_others_none() -> None:
    assert worded(RequestError("too long", remedy="truncate")) == (
        "too long (--truncate left or right)"
    )
    assert worded(RequestError("too long")) == "too long"
    assert worded(RequestError("too long", remedy="of a later version")) == "too long"


def test_every_remedy_that_the_library_names_has_an_option() -> None:
    named = {
        remedy
        for path in PACKAGE.rglob("*.py")
        for remedy in re.findall(r'remedy="(\w+)"', path.read_text(encoding="utf-8"))
    }
    assert {"truncate", "span", "results"} <= named
    for remedy in named:
        assert worded(RequestError("x", remedy=remedy)) != "x", f"{remedy} has no hint in dcp/cli"


def test_a_command_prints_the_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "--text", " "]) == 2
    assert capsys.readouterr().err == (
        "dcp: there is no text: give at least one word (--text or --file)\n"
    )


OPTION = re.compile(rf"(^|\s)--[a-z]|python -m dcp|\bdcp ({'|'.join(COMMANDS)})\b")


def commands_in_errors(source: str) -> list[str]:
    """The literal parts of raised messages that name an option or a command."""
    return [
        part.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith("Error")
        for part in ast.walk(node)
        if isinstance(part, ast.Constant)
        and isinstance(part.value, str)
        and OPTION.search(part.value)
    ]


def test_no_error_of_the_library_names_an_option_or_a_command() -> None:
    wrong = "raise RequestError(f'no {x}; give --heads')\nprint('--heads')"
    assert commands_in_errors(wrong) == ["; give --heads"]
    found = {}
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        front_end = path.name == "cli.py" or path.parent.name == "cli"
        # Parsing takes long; most files have no such word at all.
        if not front_end and OPTION.search(source):
            found[path.name] = commands_in_errors(source)
    assert not {name: texts for name, texts in found.items() if texts}
