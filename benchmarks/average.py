"""Two adapters of one descent averaged, number by number (model soups, arXiv 2203.05482).

    python -m benchmarks.average --model runs/early runs/steps --out runs/averaged

Where one was trained from the other, or both from a third, the way between them is smooth, and
what is noise of few windows in either cancels. Factors of low ranks are averaged as they are: so
they must come from one start. Numbers in bfloat16; the calibration has to be measured again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.closed_form import changeable, save
from dcp.errors import RequestError
from dcp.model.registry import open_model
from dcp.model.transformer import Transformer

__all__ = ["average"]


@torch.no_grad()
def average(transformer: Transformer, other: Transformer, share: float) -> None:
    """Change ``transformer``'s parameters in place, all float32 of the other's shapes:

    W' = (1 - share) · W + share · W_other

    Raises RequestError where they do not have the same ones.
    """
    theirs, mine = dict(other.named_parameters()), dict(transformer.named_parameters())
    shapes = [{name: p.shape for name, p in each.items()} for each in (mine, theirs)]
    if shapes[0] != shapes[1]:
        raise RequestError("only adapters of one base that change the same numbers have an average")
    for name, parameter in mine.items():
        parameter.lerp_(theirs[name], share)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs=2, required=True, metavar="DIR")
    parser.add_argument("--share", type=float, default=0.5, help="of the second; default: 0.5")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    model, second = (open_model(name) for name in args.model)
    bases = [each.loaded.gates and each.loaded.gates.base for each in (model, second)]
    if bases[0] is None or bases[0] != bases[1]:
        raise SystemExit("average: these are not two adapters of one base")
    transformer = changeable(model)
    average(transformer, changeable(second), args.share)
    save(model, transformer, args.out)


if __name__ == "__main__":
    main()
