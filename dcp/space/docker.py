"""A Docker Space: the app itself as a folder for the hub, or for any host that builds containers.

    README.md          the hub's front matter, a few lines for people
    Dockerfile         what is installed, as whom the app runs, with which command
    requirements.lock  the exact releases, each file by its hash
    app.py  pages/  dcp/  assets/  .streamlit/   the app as it lies in this installation

Nothing is built here and no network is needed; the host that builds the image needs it. No file is
over `dcp.space.pack.PART_BYTES`, above which hosts ask for large-file storage.
"""

from __future__ import annotations

import re
from pathlib import Path

import dcp
from dcp.errors import ModelError
from dcp.resources import asset, root
from dcp.space.folder import write as fill
from dcp.space.pack import PART_BYTES
from dcp.space.readme import docker_readme

__all__ = ["build", "write"]

_FOLDERS = ("assets", "pages")
# Named one by one: secrets.toml is the owner's and lies in the same folder.
_FILES = (
    *("app.py", "Dockerfile", "requirements.lock", "LICENSE", "NOTICE", ".streamlit/config.toml"),
)
_OURS = (
    *("dcp/**/*", "assets/**/*", "pages/**/*", "README.md", "thumbnail.png", ".dockerignore"),
    # Of folders written before there was a lock.
    "requirements.txt",
    *_FILES,
)


def build(*, models: tuple[str, ...] = (), space: str | None = None) -> dict[str, bytes]:
    """The files of the Space by path.

    models  pages on the hub (OWNER/NAME) of the models shown, which the README then links
    space   what the Space will be called (OWNER/NAME): the thumbnail needs a whole address

    Raises ModelError where a file of this installation is too large for a host to take.
    """
    home, package = root(), Path(dcp.__file__).parent
    files = {name: (home / name).read_bytes() for name in _FILES}
    for folder in _FOLDERS:
        files |= _below(home / folder, folder)
    files |= _below(package, "dcp", leave_out="bundle")
    for name, data in files.items():
        if len(data) > PART_BYTES:
            raise ModelError(
                f"{name} has {len(data) / 1e6:.1f} MB, hosts take {PART_BYTES / 1e6:.0f}: "
                "move it out of assets, or save that model in shards"
            )
    files["thumbnail.png"] = asset("space/thumbnail.png").read_bytes()
    files[".dockerignore"] = b".git\n**/__pycache__\n"
    files["README.md"] = docker_readme(_port(files["Dockerfile"]), models, space).encode()
    return files


def write(files: dict[str, bytes], folder: Path) -> None:
    """Write ``files`` to ``folder``, taking the place of a Docker Space written there before.

    Raises RequestError where the folder holds anything else, or cannot be written.
    """
    fill(files, folder, before=_is_ours, ours=_OURS)


def _is_ours(folder: Path) -> bool:
    """A checkout has all the files that a Space has, but another README."""
    readme = folder / "README.md"
    return readme.is_file() and "python -m dcp space docker" in readme.read_text("utf-8", "replace")


def _below(source: Path, name: str, leave_out: str = "") -> dict[str, bytes]:
    found = {}
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source)
        hidden = any(part.startswith((".", "__pycache__")) for part in inside.parts)
        if path.is_file() and not hidden and inside.parts[0] != leave_out:
            found[f"{name}/{inside.as_posix()}"] = path.read_bytes()
    return found


def _port(dockerfile: bytes) -> int:
    found = re.search(r"^EXPOSE (\d+)$", dockerfile.decode(), re.M)
    assert found is not None
    return int(found[1])
