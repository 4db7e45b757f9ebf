"""Stand between Playwright and the system's Firefox, and answer what this Firefox does not know.

Playwright drives a stock Firefox by WebDriver BiDi, and sets the colour scheme of every page by a
command that Debian's long-term Firefox lacks. Started in Firefox's place with Firefox's arguments,
this script starts Firefox, says where it listens as Firefox does, and hands every message on but
that one. A colour scheme is chosen by a preference instead (``browser.firefox``).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve

EXECUTABLE = "ATTNREPORT_FIREFOX"  # the variable that names the real one
_UNKNOWN_TO_FIREFOX = "emulation.setMediaFeaturesOverride"
_LISTENING = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")


async def main(arguments: list[str]) -> int:
    """Start Firefox and relay until it ends; return its exit code."""
    firefox = await asyncio.create_subprocess_exec(
        os.environ[EXECUTABLE], *arguments, stderr=asyncio.subprocess.PIPE
    )
    assert firefox.stderr is not None
    address = await _address(firefox.stderr)

    async def relay(playwright: ServerConnection) -> None:
        async with connect(f"{address}/session", max_size=None, proxy=None) as browser:
            await asyncio.gather(_ask(playwright, browser), _answer(browser, playwright))

    async with serve(relay, "127.0.0.1", 0, max_size=None, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        sys.stderr.write(f"WebDriver BiDi listening on ws://127.0.0.1:{port}\n")
        sys.stderr.flush()
        # Nothing is written where nobody reads: a full pipe would stop Firefox.
        while await firefox.stderr.readline():
            pass
        return await firefox.wait()


async def _address(stderr: asyncio.StreamReader) -> str:
    while line := await stderr.readline():
        if found := _LISTENING.search(line):
            return found[1].decode()
        sys.stderr.buffer.write(line)
    raise RuntimeError("Firefox ended before it listened")


async def _ask(playwright: ServerConnection, browser: ClientConnection) -> None:
    async for message in playwright:
        asked = json.loads(message)
        if asked.get("method") == _UNKNOWN_TO_FIREFOX:
            answer = {"type": "success", "id": asked["id"], "result": {}}
            await playwright.send(json.dumps(answer))
        else:
            await browser.send(message)


async def _answer(browser: ClientConnection, playwright: ServerConnection) -> None:
    async for message in browser:
        await playwright.send(message)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
