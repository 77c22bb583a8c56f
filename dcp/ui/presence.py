"""Which windows are there, and whose they are: asked of their connections.

A page that is slow to be served has not left; a page whose connection is gone has, however lately
it was served.
"""

from __future__ import annotations

import ipaddress
import secrets

from streamlit.runtime import Runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

__all__ = ["connected", "left", "visitor", "window"]


def window() -> str:
    """The name of the window that this script runs for; one of its own where there is no server."""
    context = get_script_run_ctx(suppress_warning=True)
    # Streamlit's own tests of apps have a runtime that answers nothing, and one name for all.
    if context is None or not connected(context.session_id):
        return secrets.token_hex(8)
    return context.session_id


def connected(window: str) -> bool:
    """Whether the connection of ``window`` is open. Safe from any thread."""
    return Runtime.exists() and Runtime.instance().is_active_session(window) is True


def left(window: str) -> bool:
    """Whether there is a server, and the connection of ``window`` is not open."""
    return Runtime.exists() and Runtime.instance().is_active_session(window) is False


def visitor(window: str) -> str:
    """Whose window it is, by the address that it came from; the window itself where that is hidden.

    Behind a proxy that is the address that the proxy reports. Addresses can be made up: this shares
    a line fairly among people, and protects nothing.
    """
    client = Runtime.instance().get_client(window) if Runtime.exists() else None
    context = client.client_context if client is not None else None
    if context is None:
        return window
    reported = [
        value.split(",")[-1].strip()
        for name, value in context.headers
        if name.lower() == "x-forwarded-for"
    ]
    for address in (context.remote_ip, *reported):
        if address and not _of_a_proxy(address):
            return address
    return window


def _of_a_proxy(address: str) -> bool:
    """Whether this tells nothing of who is behind it: this machine, a private net, no address."""
    try:
        return not ipaddress.ip_address(address).is_global
    except ValueError:
        return True
