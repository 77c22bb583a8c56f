"""The picture of the decoding table: tokens a second over context, dense and pruned.

python -m benchmarks.gpu.plot      reads decode-*.json in $OUT, writes decode.svg there
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from dcp.figures.paper.marks import logarithmic


def main() -> None:
    folder = Path(os.environ.get("OUT") or "docs/gpu")
    found = [json.loads(p.read_text()) for p in sorted(folder.glob("decode-*.json"))]
    rows = [row for result in found for row in result["rows"] if row.get("arm") in _ARMS]
    models = sorted({row["model"] for row in rows})
    batches = sorted({row["batch"] for row in rows})
    contexts = sorted({row["context"] for row in rows})
    if not rows:
        raise SystemExit(f"{folder} holds no decoding results; run make gpu PART=3 first")
    figure, axes = plt.subplots(
        len(models), len(batches), squeeze=False, sharex=True,
        figsize=(2.6 * len(batches), 2.4 * len(models)), layout="constrained",
    )  # fmt: skip
    shares = sorted({row["dropped"] for row in rows if row["dropped"] is not None})
    colours = {None: "black"} | {s: plt.cm.viridis(0.1 + 0.75 * s) for s in shares}
    for i, model in enumerate(models):
        for j, batch in enumerate(batches):
            axis = axes[i, j]
            for dropped, colour in colours.items():
                points = sorted(
                    (row["context"], row["tokens_per_second"])
                    for row in rows
                    if (row["model"], row["batch"], row["dropped"]) == (model, batch, dropped)
                )
                label = "dense" if dropped is None else f"{dropped:.0%} dropped"
                axis.plot(
                    [x for x, _ in points],
                    [y for _, y in points],
                    "o-",
                    color=colour,
                    label=label,
                    markersize=3,
                )
            axis.set(xscale="log", title=f"{model}, batch {batch}")
            axis.set_xlabel("context (tokens)")
            axis.set_xticks(contexts, [f"{n / 1024:g}K" for n in contexts])
            logarithmic(axis, *axis.dataLim.intervaly)
        axes[i, 0].set_ylabel("tokens a second")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8
    )
    machine = found[0]["machine"]
    figure.suptitle(f"{machine['gpu']}, {machine['date']}", fontsize=9)
    plt.rcParams["svg.fonttype"] = "none"
    figure.savefig(folder / "decode.svg")


_ARMS = ("dense", "pruned")

if __name__ == "__main__":
    main()
