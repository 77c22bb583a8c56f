"""A server of the app, its visitors, and what they saw."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import psutil

from benchmarks.load.ended import Ended
from benchmarks.load.window import Window

__all__ = ["Health", "Server", "Trial", "places", "served"]

ROOT = Path(__file__).resolve().parents[2]
TTL = 30
"""Seconds that the server keeps the session of a visitor who has left."""
_ALONE = 60.0
"""Seconds at most that one visitor has the server to itself, so that its memory is known."""
_TEXTS = (
    "The museum opened in 1901, and for a century nobody asked what it had cost.",
    "Rivers rose for three days before anyone in the village moved a chair.",
    "She kept the letters in a tin under the stairs, in the order in which they had come.",
)


@dataclass(frozen=True)
class Server:
    """A server on this machine."""

    host: str
    process: psutil.Process

    def mib(self) -> float:
        """Resident memory."""
        return float(self.process.memory_info().rss / 2**20)


@contextmanager
def served(script: Path = ROOT / "app.py", **environment: str) -> Iterator[Server]:
    """The app for strangers, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    with TemporaryFile() as log:
        made = subprocess.Popen(
            [
                *(sys.executable, "-m", "streamlit", "run", str(script)),
                *("--server.address", "127.0.0.1", "--server.port", host.partition(":")[2]),
                *("--server.headless", "true", "--server.maxUploadSize", "4"),
                *("--server.disconnectedSessionTTL", str(TTL)),
            ],
            cwd=ROOT,
            env=os.environ | {"DCP_PUBLIC": "1", "DCP_TOUR": "0"} | environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            end = time.monotonic() + 120
            while Health.ask(host) is None:
                if made.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    raise RuntimeError(f"no server: {log.read().decode(errors='replace')[-2000:]}")
                time.sleep(0.1)
            yield Server(host, psutil.Process(made.pid))
        finally:
            os.killpg(made.pid, signal.SIGTERM)
            made.wait(20)


@dataclass
class Health:
    """Asks the server how it is, five times a second; counts its memory."""

    server: Server
    seconds: list[float] = field(default_factory=list)
    peak_mib: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Health:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            # An answer that never came took as long as it was waited for.
            self.seconds.append(self.ask(self.server.host) or 10.0)
            self.peak_mib = max(self.peak_mib, self.server.mib())

    @staticmethod
    def ask(host: str) -> float | None:
        """Seconds until ``/_stcore/health`` answered; None where it did not."""
        start = time.perf_counter()
        connection = http.client.HTTPConnection(host, timeout=10)
        try:
            connection.request("GET", "/_stcore/health")
            good = connection.getresponse().status == 200
        except OSError:
            return None
        finally:
            connection.close()
        return time.perf_counter() - start if good else None


@dataclass
class Trial:
    """Visitors who write, press and look on; memory is the server's largest resident size."""

    server: Server
    new_tokens: int

    async def run(self, visitors: int, seconds: float, crowd: int) -> dict[str, Any]:
        """Everything: one visitor everywhere, ``visitors`` for ``seconds``, ``crowd`` at once."""
        async with self._window() as first:
            for page in first.pages:
                await first.visit(page)
        async with self._window() as first:
            await first.generate(_TEXTS[0], self.new_tokens)
        await self._left()
        before = self.server.mib()
        with Health(self.server) as one:
            await self._stay(1, min(seconds, _ALONE))
        with Health(self.server) as health:
            ended = await self._stay(visitors, seconds)
            stayed_mib = health.peak_mib
            many = await self.at_once(crowd)
        await self._left()
        told, wrong = places(many)
        times = [one.seconds for one in ended] or [float("nan")]
        return {
            "visitors": visitors,
            "seconds": seconds,
            "new_tokens": self.new_tokens,
            "runs": len(ended),
            "lost": sum(not one.note.startswith("Done:") for one in ended),
            "p50_s": float(np.median(times)),
            "max_s": max(times),
            "health_asked": len(health.seconds),
            "health_p50_ms": 1e3 * float(np.percentile(health.seconds, 50)),
            "health_p99_ms": 1e3 * float(np.percentile(health.seconds, 99)),
            "health_max_ms": 1e3 * max(health.seconds),
            "crowd": crowd,
            "crowd_lost": sum(not one.note.startswith("Done:") for one in many),
            "places": told,
            "wrong_places": wrong,
            "before_mib": before,
            "one_mib": one.peak_mib,
            "visitors_mib": stayed_mib,
            "peak_mib": health.peak_mib,
            "after_mib": self.server.mib(),
        }

    def _window(self) -> Window:
        return Window(self.server.host)

    async def _left(self) -> None:
        """Until the server has given back what visitors held."""
        await asyncio.sleep(TTL + 15)

    async def _stay(self, visitors: int, seconds: float) -> list[Ended]:
        end = time.monotonic() + seconds

        async def visitor(number: int) -> list[Ended]:
            seen: list[Ended] = []
            async with self._window() as window:
                while time.monotonic() < end and window.open:
                    text = f"{_TEXTS[number % len(_TEXTS)]} Visit {len(seen) + 1}."
                    seen.append(await window.generate(text, self.new_tokens))
                    await asyncio.sleep(1)
            return seen

        all_seen = await asyncio.gather(*(visitor(number) for number in range(visitors)))
        return [one for seen in all_seen for one in seen]

    async def at_once(self, crowd: int) -> list[Ended]:
        """``crowd`` windows that press "Generate" together."""
        async with AsyncExitStack() as stack:
            windows = [await stack.enter_async_context(self._window()) for _ in range(crowd)]
            asked = (window.generate(_TEXTS[0], self.new_tokens) for window in windows)
            return list(await asyncio.gather(*asked))


def places(ended: list[Ended]) -> tuple[int, int]:
    """How many places in line were told, and how many of them were wrong.

    Of visitors with one run each: whoever was served as number r and was told that ``a`` runs are
    ahead was told that r - a had begun. In time that number only grows. Ends are seen late, by a
    visitor who looks once a second: as many runs as end in 2 s are let pass.
    """
    if len(ended) < 2:
        return 0, 0
    over = sorted(one.over for one in ended)
    slack = 1 + round(2.0 * (len(over) - 1) / max(over[-1] - over[0], 1.0))
    told = sorted(
        (moment, over.index(one.over) - ahead) for one in ended for moment, ahead in one.places
    )
    wrong = 0
    for moment, started in told:
        before = [other for then, other in told if then < moment - 0.5]
        wrong += started < max(before, default=0) - slack
    return len(told), wrong
