"""``dcp trace``: run a model on a text, save what each layer drops."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dcp.cli.parser import add_json, add_model, count, number, output, read_text
from dcp.cli.terminal import note, print_json
from dcp.errors import RequestError

if TYPE_CHECKING:
    from dcp.model.gate_config import Shares
    from dcp.model.registry import OpenModel
    from dcp.policies.rule import Value
    from dcp.trace import Trace

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--text", metavar="T", help="the text itself")
    source.add_argument("--file", type=Path, metavar="F", help="a UTF-8 file with the text")
    add_model(parser)
    parser.add_argument(
        "--new-tokens", type=count, default=64, metavar="N", help="exactly N; 0 scores the text"
    )
    parser.add_argument("--seed", type=count, default=0, metavar="S")
    parser.add_argument(
        "--temperature", type=number, default=0.8, metavar="τ", help="default 0.8; 0 is greedy"
    )
    parser.add_argument("--top-k", type=count, default=0, metavar="K", help="default 0: off")
    parser.add_argument("--top-p", type=number, default=1.0, metavar="P", help="default 1: off")
    from dcp.policies.names import NAMES

    dial = parser.add_mutually_exclusive_group()
    dial.add_argument(
        "--gate-shift", type=number, default=0.0, metavar="δ", help="below 0 drops more"
    )
    dial.add_argument(
        "--sparsity",
        type=number,
        metavar="S",
        help="in place of δ: the dropped share, mean over steps, of validation text as long as the "
        "text with its new tokens; a line says where this text drops another",
    )
    parser.add_argument(
        "--policy",
        default="gates",
        metavar="P",
        help=f"who drops: {', '.join(NAMES)} (default: gates); all but gates run on any model",
    )
    parser.add_argument(
        "--budget", type=count, metavar="N", help="entries that a layer may hold after each step"
    )
    parser.add_argument(
        "--policy-setting",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="the rule's own knobs, as window=32 for snapkv",
    )
    parser.add_argument(
        "--instruction",
        metavar="TEXT",
        help="the question that citrus, citrus-shared or citrus-individual keeps the text for",
    )
    parser.add_argument(
        "--impl",
        default="auto",
        metavar="I",
        help="auto (default), reference, cpu, native or triton",
    )
    parser.add_argument(
        "--dtype", default="float32", metavar="D", help="float32 (default), bfloat16, int8 or int4"
    )
    parser.add_argument(
        "--kv-dtype",
        metavar="D",
        help="how keys and values are kept: float32, float16, bfloat16 or int8 (default: as the "
        "model makes them)",
    )
    parser.add_argument(
        "--vocabulary",
        choices=("all", "seen"),
        default="all",
        help="seen: only the rows of embedding and head that the text, and --corpus, use",
    )
    parser.add_argument(
        "--corpus", type=Path, nargs="+", metavar="F", help="UTF-8 files, of --vocabulary seen"
    )
    parser.add_argument(
        "--truncate", choices=("left", "right"), help="the end to cut from a text that is too long"
    )
    parser.add_argument(
        "--stop-at-eos", action="store_true", help="end where the model ends its text"
    )
    parser.add_argument(
        "--gates-off",
        action="store_true",
        help="read the text again with the gates off: what dropping cost at each token",
    )
    parser.add_argument("--out", type=output, metavar="RUN", help="save the trace there")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    text = args.text if args.file is None else read_text(args.file)
    _check_vocabulary(args)
    from dcp.cli.summary import show, summary
    from dcp.runs.recorder import Recorder
    from dcp.runs.request import TextRequest

    request = TextRequest(
        text,
        model=_model(args, text),
        new_tokens=args.new_tokens,
        seed=args.seed,
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        gate_shift=args.gate_shift,
        sparsity=args.sparsity,
        impl=args.impl,
        dtype=args.dtype,
        truncate=args.truncate,
        stop_at_eos=args.stop_at_eos,
        policy=args.policy,
        budget=args.budget,
        policy_settings=_settings(args.policy_setting, args.instruction),
        kv_dtype=args.kv_dtype,
    )
    recorder = Recorder.begin(request)
    trace = recorder.finish()
    if args.gates_off:
        from dcp.model.registry import open_model
        from dcp.runs.rescore import gates_off

        # A policy's run had no gates, and its weights go by another name.
        gated = args.policy == "gates"
        model = open_model(args.model, args.dtype, gates=gated, base=args.base)
        trace = gates_off(model, trace)
    if args.out is not None:
        trace.save(args.out)
    if args.sparsity is not None and args.policy == "gates":
        _say_what_came(args.sparsity, trace, recorder.model.info.shares)
    if args.json:
        print_json(summary(trace, args.out))
    else:
        show(trace, args.out)
    return 0


_NEAR = 0.05


def _say_what_came(asked: float, trace: Trace, shares: Shares | None) -> None:
    """A line where a text dropped another share than it was asked to."""
    found, shift = trace.sparsity_mean_steps(), trace.meta.gate_shift
    if abs(found - asked) <= _NEAR:
        return
    if shares is None:
        note(
            f"sparsity {asked:g} is gate shift {shift:g} by the calibration, at its length; these "
            f"{trace.n_queries:,} tokens dropped {found:.2f}: shorter texts drop less, so ask for "
            "more or give --gate-shift"
        )
        return
    from dcp.model.dial import share_at

    usual = share_at(shares, shift, trace.n_queries)
    note(
        f"sparsity {asked:g} is gate shift {shift:g}: {trace.n_queries:,} tokens of validation "
        f"text drop {usual:.2f} with it, this text dropped {found:.2f}"
    )


def _settings(given: list[str], instruction: str | None) -> dict[str, Value]:
    found: dict[str, Value] = {} if instruction is None else {"instruction": instruction}
    for each in given:
        key, equals, value = each.partition("=")
        if not (key and equals and value):
            raise RequestError(f"--policy-setting takes KEY=VALUE, not {each!r}")
        found[key] = value
    return found


def _check_vocabulary(args: argparse.Namespace) -> None:
    if args.corpus and args.vocabulary == "all":
        raise RequestError("--corpus is for --vocabulary seen")
    if args.vocabulary == "seen" and args.gates_off:
        raise RequestError("--gates-off reads again with all rows: leave --vocabulary seen out")


def _model(args: argparse.Namespace, text: str) -> str | OpenModel | None:
    """The name, to be opened when all else is found well; opened at once where a base is given, or
    where rows are left out."""
    if args.vocabulary == "seen":
        from dcp.model.vocabulary import open_seen

        corpus = [text, args.instruction or "", *map(read_text, args.corpus or ())]
        gated = args.policy == "gates"
        return open_seen(args.model, corpus, args.dtype, gates=gated, base=args.base)
    if args.base is None:
        named: str | None = args.model
        return named
    from dcp.model.registry import open_model

    return open_model(args.model, args.dtype, base=args.base)
