"""How every paper figure looks, and how it becomes a file: type, ink, palette, metadata.

Colours are Okabe and Ito's (jfly.uni-koeln.de/color) and one sequential ramp; whatever a colour
says, a mark, a label or a place says too. No kind of figure is known here.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import RLock
from typing import Any, Literal, get_args

from matplotlib import rc_context
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure

from dcp.errors import RequestError
from dcp.figures.paper.presets import PLAIN, Page
from dcp.pos import GROUPS

__all__ = [
    *("BLUE", "DEPTH", "DROP", "GONE", "HELD", "INK", "SOFT"),
    *("GROUP_COLOURS", "GROUP_MARKERS", "RAMP", "STATES"),
    *("Format", "depth_colour", "drawing", "figure", "render"),
]

Format = Literal["pdf", "svg", "png"]

INK, SOFT, GONE = "#16181d", "#555b66", "#dcd9d3"
BLUE = HELD = "#0072b2"
DROP = "#d55e00"
GROUP_COLOURS = dict(zip(GROUPS, (BLUE, "#009e73", "#b87a00", "#16181d", "#b0568a"), strict=True))
"""Blue, bluish green, orange, black, reddish purple; orange and purple a little darker."""
GROUP_MARKERS = dict(zip(GROUPS, "oDsX^", strict=True))
RAMP = LinearSegmentedColormap.from_list(
    "dcp", ["#f4f2ee", "#7fb2d6", BLUE, "#002a47"], bad="#ffffff"
)
"""Shares from 0 to 1, light to dark: it reads in grey."""
STATES = ListedColormap(["#ffffff", GONE, HELD, DROP])
"""Not read yet, dropped earlier, held, dropped at this step."""
DEPTH = LinearSegmentedColormap.from_list("depth", ["#e69f00", "#009e73", BLUE, "#3a1d5c"])

# matplotlib's settings are one for the whole process, and a server draws from many threads.
_ONE_AT_A_TIME = RLock()


def _settings(page: Page) -> Any:
    return {
        "pdf.fonttype": 42,
        "svg.fonttype": "none",
        "svg.hashsalt": "dcp",
        "font.family": list(page.families),
        "font.size": page.size,
        "axes.titlesize": page.size,
        "axes.labelsize": page.size,
        "axes.labelpad": 2.5,
        "axes.titlepad": 4,
        "axes.edgecolor": SOFT,
        "axes.linewidth": 0.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": True,
        "xtick.labelsize": page.small,
        "ytick.labelsize": page.small,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.major.size": 2,
        "ytick.major.size": 2,
        "xtick.major.width": 0.5,
        "ytick.major.width": 0.5,
        "xtick.major.pad": 2,
        "ytick.major.pad": 2,
        "text.color": INK,
        "text.parse_math": False,
        "axes.labelcolor": INK,
        "axes.formatter.use_mathtext": False,
        "legend.fontsize": page.small,
        "legend.frameon": False,
        "legend.handlelength": 1.2,
        "legend.handletextpad": 0.5,
        "legend.columnspacing": 1.2,
        "legend.borderaxespad": 0.2,
        "figure.constrained_layout.w_pad": 0.02,
        "figure.constrained_layout.h_pad": 0.02,
    }


@contextmanager
def drawing(page: Page) -> Iterator[None]:
    """matplotlib set up for ``page``, for this thread alone."""
    with _ONE_AT_A_TIME, rc_context(_settings(page)):
        yield


def figure(page: Page, height: float) -> Figure:
    """An empty figure, exactly ``page.width`` by ``height`` inches."""
    return Figure(figsize=(page.width, height), layout="constrained")


def depth_colour(layer: int, layers: int) -> Any:
    """A colour for a layer, from the first (light) to the last (dark)."""
    return DEPTH(layer / max(layers - 1, 1))


def render(
    figure: Figure, kind: Format, page: Page = PLAIN, about: Mapping[str, str] | None = None
) -> bytes:
    """The figure as a file. Deterministic: no dates, no random ids.

    about  metadata to embed: any of "Title", "Subject" (the caption), "Keywords" (model, weights,
           the command that makes the figure again)

    Raises RequestError for an unknown format.
    """
    if kind not in get_args(Format):
        raise RequestError(
            f"format {kind!r} is unknown: choose one of {', '.join(get_args(Format))}"
        )
    out = io.BytesIO()
    # Cells of an image are cut at this resolution; text and lines in a PDF or SVG are vectors.
    dpi = 300 if kind == "png" else 600
    with drawing(page):
        figure.savefig(out, format=kind, dpi=dpi, metadata=_metadata(kind, about or {}))
    data = out.getvalue()
    if kind == "svg":
        # The reader's machine may lack STIX; its nearest of kin keep the text's width.
        data = data.replace(
            b"'STIXGeneral'", b"'STIXGeneral', 'STIX Two Text', 'Times New Roman', Times"
        )
    return data


def _metadata(kind: Format, about: Mapping[str, str]) -> dict[str, Any]:
    # A date or a version would make equal figures differ.
    if kind == "pdf":
        return {"CreationDate": None, "Producer": "dcp", "Creator": "dcp", **about}
    names = {"Subject": "Description"}
    named: dict[str, Any] = {names.get(key, key): value for key, value in about.items()}
    if kind == "svg":
        words = named.pop("Keywords", None)
        return {"Date": None, "Creator": "dcp", **named, **({"Keywords": [words]} if words else {})}
    return {"Software": "dcp", **named}
