"""How long words stay held, by part of speech: Kaplan-Meier curves. Kind "survival"."""

from __future__ import annotations

from matplotlib.ticker import PercentFormatter

from dcp.errors import RequestError
from dcp.figures.paper.caption import caption, counted, intervals, of_source, tagged
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.style import DASHES, drawing, figure
from dcp.speech.tagger import GROUPS, group_of
from dcp.stats import drop_curve
from dcp.stats.survival import MIN_WORDS

__all__ = ["survival", "too_few"]

_AGES = 128


def too_few(kind: str, subject: Subject, options: Options, unit: str = "single-token words") -> str:
    """Why there is nothing to draw, and what to do."""
    found = "these texts" if len(subject.samples) > 1 else "this text"
    other = "" if options.source == "both" else ", or words of both sources"
    return (
        f"{kind} needs a part of speech with {MIN_WORDS} {unit} {of_source(options)}, and {found} "
        f"has none: give a longer text, more traces{other}"
    )


def survival(subject: Subject, options: Options, page: Page) -> Drawing:
    """Share of words held by age, one panel per group of parts of speech.

    Raises RequestError where no part of speech has enough words.
    """
    ages = max(_AGES, options.horizon)
    data = drop_curve(
        subject.samples,
        "pos",
        ages=ages,
        source=options.source,
        layer=options.layer,
        seed=options.seed,
        n_boot=options.n_boot,
    )
    if data.empty:
        raise RequestError(too_few("survival", subject, options), remedy="source")
    curves = dict(list(data.groupby("group", sort=False)))
    panels = {
        name: [tag for tag in curves if group_of(tag) == name]
        for name in GROUPS
        if any(group_of(tag) == name for tag in curves)
    }
    columns = min(len(panels), 3 if page.width > 4.5 else 2)
    rows = -(-len(panels) // columns)
    with drawing(page):
        # The longest legend takes the upper half of its panel at most.
        longest = max(len(tags) for tags in panels.values()) * page.small * 1.3 / 72
        drawn = figure(page, 0.3 + rows * (0.25 + max(1.2, longest / 0.55)))
        grid = drawn.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for (name, tags), axes in zip(panels.items(), grid.flat, strict=False):
            for tag, curve in curves.items():
                if tag not in tags:
                    axes.step(
                        curve["age"], curve["survival"], where="post", color="#d3d3d3", lw=0.5
                    )
            axes.axvline(options.horizon, color=page.palette.soft, lw=0.5, ls=(0, (1, 2)))
            for tag, colour, dashes in zip(tags, page.palette.lines, DASHES, strict=False):
                curve = curves[tag]
                axes.fill_between(
                    curve["age"], curve["ci_low"], curve["ci_high"], step="post", color=colour,
                    alpha=0.16, lw=0,
                )  # fmt: skip
                axes.step(
                    curve["age"], curve["survival"], where="post", color=colour, ls=dashes, lw=1.1,
                    label=f"{tag} {int(curve['words'].iloc[0]):,}",
                )  # fmt: skip
            axes.set_title(name.replace("-", ", "), loc="left")
            late = max(curves[tag]["survival"].iloc[-1] for tag in tags)
            corner = "upper right" if late < 0.5 else "lower left"
            axes.legend(loc=corner, handlelength=1.8, labelspacing=0.2)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        # A column whose last panel is missing has its ages under the panel above.
        for axes in grid[-2, len(panels) - (rows - 1) * columns :] if rows > 1 else ():
            axes.tick_params(labelbottom=True)
        axes = grid[0, 0]
        axes.set_xlim(0, max(int(data["age"].max()), 1))
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        drawn.supxlabel("age (steps since the word was read)", fontsize=page.size)
        drawn.supylabel("still held", fontsize=page.size)
    words = data.groupby("group")["words"].first().sum()
    drops = int(data["events"].sum())
    where = "all layers" if options.layer is None else f"layer {options.layer}"
    caption_ = caption(
        subject,
        f"Share of words {of_source(options)} that are still held at an age, in {where}: "
        "Kaplan-Meier, words held at the end are censored. Numbers in the legends: words; "
        f"grey: the other parts of speech; dotted: the horizon of {options.horizon} steps.",
        f"{counted(int(words), 'single-token word')} and {counted(drops, 'drop')} up to age "
        f"{ages}; parts of speech with under {MIN_WORDS} words are left out.",
        intervals(data, options),
        tagged(subject),
    )
    return Drawing("survival", page, drawn, data, caption_)
