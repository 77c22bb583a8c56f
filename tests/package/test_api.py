"""docs/api.md says what the library does: it is made from the docstrings, whose examples run."""

from __future__ import annotations

import doctest

import griffe
import pytest

import dcp
from docs.write_api import PAGE, entries, page

ENTRIES = entries()


def test_the_page_is_what_the_docstrings_make() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make api"


def test_the_page_has_every_public_name() -> None:
    assert {*ENTRIES, "__version__"} == set(dcp.__all__)


def examples_of(entry: griffe.Object) -> list[doctest.DocTest]:
    """The examples in the docstrings of an entry and of its public members."""
    members = [each for each in entry.members.values() if isinstance(each, griffe.Object)]
    found = []
    for each in (entry, *members):
        if each.docstring is None or (each.name.startswith("_") and each is not entry):
            continue
        parsed = doctest.DocTestParser().get_doctest(
            each.docstring.value, {"dcp": dcp}, each.path, str(each.filepath), each.lineno
        )
        found += [parsed] if parsed.examples else []
    return found


@pytest.mark.parametrize("name", ENTRIES)
def test_the_examples_of_an_entry_run(name: str) -> None:
    examples = examples_of(ENTRIES[name])
    assert examples, "an entry shows how it is used"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report: list[str] = []
    for example in examples:
        runner.run(example, out=report.append, clear_globs=False)
    assert runner.failures == 0, "".join(report)


def test_the_docstring_of_the_package_runs() -> None:
    assert doctest.testmod(dcp).failed == 0
