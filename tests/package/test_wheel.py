"""What a stranger gets who installs the wheel, in a folder far from any checkout."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from tests.package.conftest import ROOT, Installed


def test_the_wheel_carries_every_asset_and_nothing_of_the_workshop(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if not name.endswith("/")}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "dcp").rglob("*.py")}
    assert modules <= inside
    for source in ("assets", "pages", ".streamlit"):
        for path in (ROOT / source).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert f"dcp/bundle/{path.relative_to(ROOT).as_posix()}" in inside
    assert {"dcp/bundle/app.py", "dcp/py.typed"} <= inside
    tops = {name.partition("/")[0] for name in inside}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"dcp"}
    licences = {name.rpartition("/")[2] for name in inside if "dist-info/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE"}


def test_the_commands_work_from_another_folder(installed: Installed) -> None:
    listed = json.loads(installed.run(installed.dcp, "models", "--json").stdout)
    mini = next(model for model in listed if model["name"] == "dcp-mini")
    assert Path(mini["path"]).is_relative_to(installed.python.parents[1])

    trace = installed.work / "run.safetensors"
    text = ("--text", "The museum opened in 1901.", "--new-tokens", "5")
    made = installed.run(
        installed.dcp, "trace", "--model", "dcp-mini", *text, "--out", trace, "--json"
    )
    assert json.loads(made.stdout)["new_tokens"] == 5
    assert "warn" not in made.stderr.lower()

    page = installed.work / "view.html"
    installed.run(installed.python, "-m", "dcp", "view", trace, "--out", page)
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_library_shows_a_run_in_a_notebook(installed: Installed) -> None:
    script = """
import dcp, pathlib, sys
assert not pathlib.Path("dcp").exists()
run = dcp.record("The museum opened in 1901.", model="dcp-mini", new_tokens=3)
assert "<iframe sandbox" in run._repr_html_()
assert {"NOUN", "NUM"} <= set(run.to_frame()["pos"].dropna())
print(dcp.__file__, "torchao" in sys.modules, "tensorboard" in sys.modules)
"""
    home, *unused = installed.run(installed.python, "-c", script).stdout.split()
    assert Path(home).is_relative_to(installed.python.parents[1])
    assert unused == ["False", "False"]


def test_the_installed_app_paints_its_sample(installed: Installed) -> None:
    script = """
import json
from streamlit.testing.v1 import AppTest
from dcp.resources import root
import dcp.ui.services
dcp.ui.services.warm = lambda: None
page = AppTest.from_file(str(root() / "app.py"), default_timeout=60).run()
assert page.session_state["session"].shown.origin == "sample"
found = {"first": [error.message for error in page.exception]}
for name in ("put_back", "method"):
    page.switch_page(f"pages/{name}.py").run()
    assert len(page.title) == 1, name
    found[name] = [error.message for error in page.exception]
print(json.dumps(found))
"""
    found = json.loads(installed.run(installed.python, "-c", script).stdout.splitlines()[-1])
    assert found == {"first": [], "put_back": [], "method": []}


def test_dcp_app_serves_the_bundled_app_in_its_own_look(installed: Installed) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [str(installed.dcp), "app", "--port", str(port), "--no-browser"]
    log = installed.work / "app.log"
    with (
        log.open("w") as sink,
        subprocess.Popen(
            command, cwd=installed.work, env=installed.env, stdout=sink, stderr=sink
        ) as server,
    ):
        try:
            health = f"http://localhost:{port}/_stcore/health"
            assert _answer(health, server, seconds=60) == "ok", log.read_text()
        finally:
            server.send_signal(signal.SIGINT)
    # The bundled settings were read: they keep Streamlit on this machine.
    assert "localhost" in log.read_text()
    assert "Network URL" not in log.read_text()


def _answer(address: str, server: subprocess.Popen[bytes], *, seconds: float) -> str:
    """What a server says once it is up; empty if it never is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5) as reply:
                return str(reply.read().decode())
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    return ""
