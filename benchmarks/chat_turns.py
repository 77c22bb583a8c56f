"""What a chat keeps of its turns: the template's tokens, the system's words, the user's, its own.

    python -m benchmarks.chat_turns --model smollm2-135m --file valid-*.txt.xz --json

A chat of two questions about a piece of each of some documents; the model writes both answers, the
likeliest token each time. At the end, for each part, the share of its entries that are held, mean
over tokens, layers and chats, and beside it the share held of the same places in plain text of the
same length, because what was read earlier has had longer to be dropped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dcp.evaluate.windows import read_windows
from dcp.model.registry import OpenModel, open_model
from dcp.runs.recorder import record
from dcp.text.chat import Message, render
from dcp.trace import Trace

_FIRST, _SECOND = "Summarise this text in one sentence.\n\n", "Who or what is it about?"
_START, _END = "<|im_start|>", "<|im_end|>"
_PIECE, _LONGEST = 160, 1024


@dataclass(frozen=True)
class Row:
    """One part of all chats. held, held_in_text: shares; layers: those that hold more than half."""

    part: str
    gate_shift: float
    tokens: int
    held: float
    held_in_text: float
    layers: int


def parts_of(tokens: Sequence[str]) -> list[str]:
    """What each token of a chat is: "start" and "end" of a turn (its markers), "role" (the name and
    the line break behind it), "break" between turns, or ``system``, ``user 1``, ``assistant 1``, …

    >>> parts_of(["<|im_start|>", "user", "\\n", "Hi", "<|im_end|>", "\\n"])
    ['start', 'role', 'role', 'user 1', 'end', 'break']
    """
    found: list[str] = []
    turns: dict[str, int] = defaultdict(int)
    place, role = "break", ""
    for token in tokens:
        if token == _START:
            place, role = "role", ""
            found.append("start")
        elif token == _END:
            place = "break"
            found.append("end")
        elif place == "role":
            found.append("role")
            role += token
            if "\n" in token:
                name = role.strip()
                turns[name] += 1
                place = name if name == "system" else f"{name} {turns[name]}"
        else:
            found.append(place)
    return found


def chat(model: OpenModel, piece: str, gate_shift: float, new_tokens: int) -> Trace:
    """Two questions about a text, and both answers."""
    assert model.chat_template is not None
    turns = [Message("user", _FIRST + piece)]

    def answered() -> Trace:
        return record(
            render(model.chat_template or "", turns),
            model=model,
            new_tokens=new_tokens,
            temperature=0.0,
            gate_shift=gate_shift,
            stop_at_eos=True,
        )

    first = answered()
    said = model.tokenizer.decode(first.token_ids[first.prompt_tokens :].tolist())
    said = said.removesuffix(_END).strip()
    turns += [Message("assistant", said), Message("user", _SECOND)]
    return answered()


def measure(
    model: OpenModel, documents: Sequence[Sequence[int]], gate_shift: float, new_tokens: int = 48
) -> list[Row]:
    """documents: token ids, `_LONGEST` each. Rows by part, in the order of a chat."""
    held: dict[str, list[npt.NDArray[np.bool_]]] = defaultdict(list)
    plain: dict[str, list[float]] = defaultdict(list)
    for ids in documents:
        piece = model.tokenizer.decode(list(ids[:_PIECE]))
        run = chat(model, piece, gate_shift, new_tokens)
        names = [model.tokenizer.decode([int(i)]) for i in run.token_ids[: run.n_queries]]
        beside = record(
            model.tokenizer.decode(list(ids)), model=model, new_tokens=0, gate_shift=gate_shift,
            truncate="right",
        )  # fmt: skip
        alive = run.death[:, : run.n_queries] >= run.n_queries
        in_text = beside.death[:, : run.n_queries] >= run.n_queries
        for place, part in enumerate(parts_of(names)):
            held[part].append(alive[:, place])
            plain[part].append(float(in_text[:, place].mean()))
    rows = []
    for part, columns in held.items():
        by_layer = np.mean(columns, axis=0)
        rows.append(
            Row(
                part,
                gate_shift,
                len(columns),
                float(by_layer.mean()),
                float(np.mean(plain[part])),
                int((by_layer > 0.5).sum()),
            )
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--file", type=Path, nargs="+", required=True)
    parser.add_argument("--chats", type=int, default=3, help="of each file")
    parser.add_argument("--gate-shift", type=float, default=-1.0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    model = open_model(args.model)
    documents = [
        ids.tolist()
        for file in args.file
        for ids in read_windows(file, model.tokenizer, _LONGEST, limit=args.chats).ids
    ]
    rows = measure(model, documents, args.gate_shift)
    if args.json:
        json.dump([asdict(row) for row in rows], sys.stdout, indent=1)
        print()
        return
    for row in rows:
        print(
            f"{row.part:12} {row.tokens:5} tokens  held {row.held:6.1%}, in plain text "
            f"{row.held_in_text:6.1%}; over half held in {row.layers} layers"
        )


if __name__ == "__main__":
    main()
