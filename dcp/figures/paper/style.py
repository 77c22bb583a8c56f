"""How every paper figure looks, and how it becomes a file: type, ink, palette, metadata.

Colours come from the page's palette and never carry information alone. Knows no kind of figure.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import RLock
from typing import Any, Literal, get_args

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure

from dcp.errors import RequestError
from dcp.figures.paper.presets import PLAIN, Page
from dcp.speech.tagger import GROUPS

__all__ = [
    *("DASHES", "GROUP_MARKERS", "Format", "depth_colour", "depth_map", "drawing", "figure"),
    *("grey", "group_colour", "preview", "ramp", "reach", "render", "state_colours"),
]

Format = Literal["pdf", "svg", "png"]

GROUP_MARKERS = dict(zip(GROUPS, "oDsX^", strict=True))

# As many as a palette has lines: what is told apart by colour is told apart in grey too.
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (3, 1, 1, 1)),
    (0, (1, 1)),
    (0, (8, 2)),
    (0, (2, 2)),
)

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
        "axes.edgecolor": page.palette.soft,
        "axes.linewidth": 0.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": True,
        "xtick.labelsize": page.small,
        "ytick.labelsize": page.small,
        "xtick.color": page.palette.soft,
        "ytick.color": page.palette.soft,
        "xtick.labelcolor": page.palette.ink,
        "ytick.labelcolor": page.palette.ink,
        "xtick.major.size": 2,
        "ytick.major.size": 2,
        "xtick.major.width": 0.5,
        "ytick.major.width": 0.5,
        "xtick.major.pad": 2,
        "ytick.major.pad": 2,
        "text.color": page.palette.ink,
        "text.parse_math": False,
        "mathtext.fontset": "stix" if page.families[0].startswith("STIX") else "dejavusans",
        "axes.labelcolor": page.palette.ink,
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


def depth_colour(layer: int, layers: int, page: Page) -> Any:
    """A colour for a layer, from the first (light) to the last (dark)."""
    return depth_map(page)(layer / max(layers - 1, 1))


def depth_map(page: Page) -> LinearSegmentedColormap:
    """First to last layer, light to dark."""
    return LinearSegmentedColormap.from_list("depth", list(page.palette.depth))


def group_colour(group: str, page: Page) -> str:
    """The colour of a group of parts of speech."""
    return page.palette.groups[list(GROUPS).index(group)]


def ramp(page: Page) -> LinearSegmentedColormap:
    """Shares from 0 to 1, light to dark: it reads in grey."""
    return _map("share", list(page.palette.ramp))


def reach(page: Page) -> LinearSegmentedColormap:
    """Share of a block of pairs that is held, from dropped to held; nan is white."""
    ends = [page.palette.gone, page.palette.held]
    return _map("reach", ends)


def _map(name: str, colours: list[str]) -> LinearSegmentedColormap:
    # A copy: `set_bad` is deprecated in the newest release, `bad` unknown to the oldest.
    made = LinearSegmentedColormap.from_list(name, colours).with_extremes(bad="#ffffff")
    assert isinstance(made, LinearSegmentedColormap)
    return made


def state_colours(page: Page) -> ListedColormap:
    """Not read yet, dropped earlier, held, dropped at this step."""
    return ListedColormap(["#ffffff", page.palette.gone, page.palette.held, page.palette.drop])


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
        # Where STIX is missing, fonts of the same width.
        data = data.replace(
            b"'STIXGeneral'", b"'STIXGeneral', 'STIX Two Text', 'Times New Roman', Times"
        )
    return data


def preview(figure: Figure, page: Page = PLAIN, pixels: int = 900) -> bytes:
    """The figure as a PNG for a screen, ``pixels`` wide."""
    dpi, out = figure.dpi, io.BytesIO()
    with drawing(page):
        figure.savefig(out, format="png", dpi=pixels / page.width, metadata={"Software": "dcp"})
        figure.set_dpi(dpi)
    return out.getvalue()


def grey(png: bytes) -> bytes:
    """A PNG by its luminance alone, as a printer without colour shows it."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        colours = np.asarray(picture.convert("RGB")) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    light = linear @ (0.2126, 0.7152, 0.0722)
    seen = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    out = io.BytesIO()
    Image.fromarray(np.rint(seen * 255).astype(np.uint8)).save(out, "png")
    return out.getvalue()


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
