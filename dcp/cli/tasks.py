"""What ``dcp eval --task`` computes: zero-shot choices, retrieval of a key, word perplexity."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from dcp.cli.budgets import made
from dcp.cli.terminal import note, notes
from dcp.errors import RequestError

if TYPE_CHECKING:
    from dcp.evaluate.tasks import Task
    from dcp.model.registry import OpenModel

__all__ = ["check_keep", "named", "rows_of_tasks"]


def check_keep(args: argparse.Namespace) -> None:
    """Raise RequestError where ``--keep`` does not go with the tasks, or has no place."""
    if args.task and args.keep is not None:
        if without := sorted(_OTHERS.keys() & set(args.task)):
            raise RequestError(f"--keep is not for {without[0]}: leave it out")
        made(args.keep)


def rows_of_tasks(
    args: argparse.Namespace, model: OpenModel, baseline: OpenModel | None, shifts: list[float]
) -> list[dict[str, Any]]:
    """The rows of ``args.task``: each task and gate shift, then the baseline's."""
    from dcp.evaluate.tasks import read_task

    # All files are read before the first is scored.
    tasks: list[_Task] = [
        _OTHERS.get(name) or partial(_choices, read_task(name, args.data, args.limit))
        for name in args.task
    ]
    arms: list[tuple[OpenModel, list[float | None]]] = [(model, [*shifts])]
    if baseline is not None:
        arms.append((baseline, [None]))
    return [
        {**asdict(result), **named(arm)}
        for of_task in tasks
        for arm, settings in arms
        for result in of_task(args, arm, settings)
    ]


def _choices(
    task: Task, args: argparse.Namespace, arm: OpenModel, settings: list[float | None]
) -> list[Any]:
    from dcp.evaluate.parts import Parts
    from dcp.evaluate.task_score import evaluate_task

    parts = Parts(args.keep, note)
    return evaluate_task(
        arm.loaded, arm.tokenizer, task, settings, parts=parts, progress=notes("eval")
    )


def _passkey(args: argparse.Namespace, arm: OpenModel, settings: list[float | None]) -> list[Any]:
    from dcp.evaluate.passkey import evaluate_passkey

    contexts, keys = args.context or [arm.info.context], args.limit or 10
    return evaluate_passkey(
        arm.loaded, arm.tokenizer, contexts, settings, keys=keys, progress=notes("eval")
    )


def _wikitext(args: argparse.Namespace, arm: OpenModel, settings: list[float | None]) -> list[Any]:
    from dcp.evaluate.wikitext import evaluate_wikitext, read_wikitext

    articles = read_wikitext(_first(args.data, "wikitext2-test.txt"), args.limit)
    return [
        result
        for context in args.context or [arm.info.context]
        for result in evaluate_wikitext(
            arm.loaded, arm.tokenizer, articles, context, settings, progress=notes("eval")
        )
    ]


def _first(folder: Path, name: str) -> Path:
    plain = folder / name
    return plain if plain.exists() else folder / f"{name}.xz"


_Task: TypeAlias = "Callable[[argparse.Namespace, OpenModel, list[float | None]], list[Any]]"
_OTHERS: dict[str, _Task] = {"passkey": _passkey, "wikitext2": _wikitext}


def named(opened: OpenModel) -> dict[str, Any]:
    """Whose results a row has."""
    return {"model": opened.info.name, "weights_sha256": opened.loaded.weights_sha256}
