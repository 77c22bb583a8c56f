"""The folder of a Docker Space, started as its container would start it, without a Docker daemon.

The same user (uid 1000, where this process may change it), the environment and the command that the
Dockerfile names, in a virtual environment of its own far from the checkout. What pip would have
installed there is borrowed from the environment of the tests. Another port, so that two can run.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcp.space import docker
from tests.helpers.dockerfile import instructions

__all__ = ["Container", "container"]

UID = 1000


@dataclass(frozen=True)
class Container:
    """A started one: where it listens, and a folder with what it has printed."""

    address: str
    log: Path
    uid: int


@contextmanager
def container() -> Iterator[Container]:
    """Write, start, wait until the image's own health check passes; ended and removed at last."""
    # Not pytest's folder, which nobody else may enter.
    folder = Path(tempfile.mkdtemp(prefix="dcp-space-"))
    try:
        app = folder / "app"
        docker.write(docker.build(), app)
        image = instructions((app / "Dockerfile").read_text(encoding="utf-8"))
        (folder / "home").mkdir()
        command, env, user = _command(image), _environment(image, folder), _user()
        for path in (folder, *folder.rglob("*")) if user else ():
            os.chown(path, UID, UID, follow_symlinks=False)
        folder.chmod(0o755)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        (exposed,) = image["EXPOSE"]
        here = [word.replace(exposed, port) for word in command]
        with (folder / "log.txt").open("wb") as log:
            server = subprocess.Popen(
                here, cwd=app, env=env, stdout=log, stderr=log, start_new_session=True, **user
            )
        try:
            (check,) = image["HEALTHCHECK"]
            words = ["sh", "-c", check.partition("CMD ")[2].replace(exposed, port)]
            _wait(words, server, folder / "log.txt", cwd=app, env=env, **user)
            yield Container(f"http://localhost:{port}", folder / "log.txt", user.get("user", 0))
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(20)
    finally:
        shutil.rmtree(folder)


def _command(image: dict[str, list[str]]) -> list[str]:
    (line,) = image["CMD"]
    command: list[str] = json.loads(line)
    return command


def _environment(image: dict[str, list[str]], folder: Path) -> dict[str, str]:
    """What the image sets and nothing of ours; ``python`` is that of a fresh environment."""
    # The interpreter of the tests may lie where another user cannot go.
    own, minor = Path(sys.executable).resolve(), f"python3.{sys.version_info[1]}"
    python = own if not _user() or _open_to_all(own) else Path(f"/usr/bin/{minor}")
    subprocess.run([python, "-m", "venv", "--without-pip", folder / "env"], check=True, timeout=60)
    packages = folder / "env" / "lib" / minor / "site-packages"
    borrowed = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (packages / "borrowed.pth").write_text("".join(f"{path}\n" for path in borrowed))
    said = dict(word.split("=", 1) for line in image["ENV"] for word in line.split())
    path = f"{folder / 'env' / 'bin'}:/usr/bin:/bin"
    return said | {"PATH": path, "HOME": str(folder / "home")}


def _user() -> dict[str, Any]:
    """Arguments of Popen that make it run as the image's user; none where we may not."""
    if os.geteuid() != 0 or not Path(f"/usr/bin/python3.{sys.version_info[1]}").exists():
        return {}
    return {"user": UID, "group": UID, "extra_groups": []}


def _open_to_all(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in path.parents)


def _wait(check: list[str], server: subprocess.Popen[bytes], log: Path, **settings: Any) -> None:
    end = time.monotonic() + 240
    while time.monotonic() < end:
        if subprocess.run(check, capture_output=True, timeout=60, **settings).returncode == 0:
            return
        assert server.poll() is None, log.read_text()[-2000:]
        time.sleep(0.5)
    raise AssertionError("the container did not become healthy: " + log.read_text()[-2000:])
