"""The soft gate of training and how it hardens. Kind "alpha-sigmoid"; needs no trace."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dcp import method
from dcp.figures.paper.caption import caption
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.style import depth_colour, drawing, figure

__all__ = ["alpha_sigmoid"]

ALPHAS = (1.0, 1.5, 2.0, 4.0, 8.0)
_DASHES = ("-", (0, (6, 1.5)), (0, (3, 1.2)), (0, (1, 1)), "-")


def alpha_sigmoid(subject: Subject, options: Options, page: Page) -> Drawing:
    """The family of σ_α, and the α of each moment of training."""
    z, progress = np.linspace(-3, 3, 601), np.linspace(0, 1, 201)
    curves = {alpha: method.alpha_sigmoid(z, alpha) for alpha in ALPHAS}
    schedule = np.array([method.alpha_at(share) for share in progress])
    with drawing(page):
        drawn = figure(page, min(page.width * 0.42, 2.3) if page.width > 4.5 else 1.75)
        left, right = drawn.subplots(1, 2, width_ratios=[1.35, 1])
        for at, ((alpha, p), dashes) in enumerate(zip(curves.items(), _DASHES, strict=True)):
            colour = depth_colour(at, len(curves), page)
            left.plot(z, p, color=colour, lw=1.2, ls=dashes, label=f"{alpha:g}")
            right.plot(
                [method.progress_at(alpha)], [alpha], marker="o", ms=4, color=colour, mec="white",
                mew=0.5, zorder=3, clip_on=False,
            )  # fmt: skip
        left.axvline(0, color=page.palette.soft, lw=0.4, ls=(0, (1, 2)), zorder=0)
        left.set_xlabel("gate logit $z$", parse_math=True)
        left.set_ylabel(r"gate $\sigma_\alpha(z)$", parse_math=True)
        left.set_yticks([0, 0.5, 1])
        left.set_xlim(-3, 3)
        left.legend(
            title=r"$\alpha$", title_fontproperties={"size": page.small}, loc="upper left",
            handlelength=1.8, labelspacing=0.2,
        )  # fmt: skip
        left.get_legend().get_title().set_parse_math(True)
        right.plot(progress, schedule, color=page.palette.ink, lw=1.1)
        right.set_xlabel("share of training")
        right.set_ylabel(r"$\alpha$", parse_math=True)
        right.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        right.set_yticks([1, 2, 4, 6, 8])
        right.set_xlim(-0.02, 1.02)
    parts = [
        pd.DataFrame({"panel": "gate", "alpha": alpha, "x": z, "y": p})
        for alpha, p in curves.items()
    ]
    parts.append(
        pd.DataFrame({"panel": "schedule", "alpha": schedule, "x": progress, "y": schedule})
    )
    words = caption(
        subject,
        "Left: the soft gate of training, two-class α-entmax of a gate logit: the logistic at "
        "α = 1, exactly 0 or 1 for |z| ≥ 1/(α-1), so nearly the step of inference at α = 8. "
        "Right: α over training, a cosine from 1 to 8; dots mark the curves at the left.",
        "Computed from the definition (arXiv 2305.15805, section 3.1); no text or model is "
        "involved.",
    )
    return Drawing("alpha-sigmoid", page, drawn, pd.concat(parts, ignore_index=True), words)
