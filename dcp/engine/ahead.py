"""Decoding on the device, the host launching ahead of the step that it reads.

Knows the room in the pool and when to stop; `dcp.engine.graph` knows what a step is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dcp.engine.graph import AHEAD, DecodeGraph
from dcp.engine.request import Reading, Start
from dcp.model.paged import PagedAttention
from dcp.model.transformer import Transformer
from dcp.progress import Cancel

__all__ = ["Ahead", "decode_ahead"]

Ahead = Callable[[Start, Cancel], Iterator[Reading]]
"""From where the rows stand, the readings of their steps until all have ended or it is cancelled;
what is under way by then still comes."""


def decode_ahead(
    transformer: Transformer, cache: PagedAttention, start: Start, cancelled: Cancel
) -> Iterator[Reading]:
    """An `Ahead` of the rows in ``cache``, whose prompts have been read.

    Raises DeviceError where the pool has no room to grow into.
    """
    graph, left = DecodeGraph(transformer, cache, start), max(start.wanted)
    rows = list(graph.rows)
    while rows:
        go_on = left > 0 and not cancelled()
        while go_on and left > 0 and graph.in_flight < AHEAD:
            if not cache.fits(graph.more):
                # The host knows too little to say that there is room: it catches up first.
                if graph.in_flight:
                    break
                if cache.make_room(graph.more):
                    graph.forget()
            graph.launch()
            left -= 1
        if not graph.in_flight:
            return
        reading = graph.read()
        if reading.rows:
            yield reading
            ended = {row for row, ends in zip(reading.rows, reading.ended, strict=True) if ends}
            rows = [row for row in rows if row not in ended]
            graph.shrink(rows)
