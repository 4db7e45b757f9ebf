"""Stand between Playwright and the system's Firefox, and answer what this Firefox does not know.

Playwright drives a stock Firefox by WebDriver BiDi, and sets the colour scheme of every page by a
command that Debian's long-term Firefox lacks. Started in Firefox's place with Firefox's arguments,
this script starts Firefox, says where it listens as Firefox does, and hands every message on but
that one. Whoever connects to ``/ask`` beside Playwright speaks to the same Firefox, and can set by
scripts of the browser itself what Playwright cannot (``browser.Firefox``).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve

EXECUTABLE = "ATTNREPORT_FIREFOX"  # the variable that names the real one
DOOR = "ATTNREPORT_FIREFOX_DOOR"  # the variable that names the file to write the address of /ask to
_UNKNOWN_TO_FIREFOX = "emulation.setMediaFeaturesOverride"
_LISTENING = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")
_ASKED = 1 << 40  # what is asked at the door counts from here on, which Playwright never reaches


class Relay:
    """One connection to Firefox, and up to two to those who speak to it."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._firefox: ClientConnection | None = None
        self._door: ServerConnection | None = None

    async def meet(self, somebody: ServerConnection) -> None:
        """Serve whoever connects: Playwright, or who asks beside it."""
        if somebody.request is not None and somebody.request.path == "/ask":
            self._door = somebody
            await self._ask_beside(somebody)
            return
        async with connect(f"{self._address}/session", max_size=None, proxy=None) as firefox:
            self._firefox = firefox
            await asyncio.gather(self._ask(somebody, firefox), self._answer(firefox, somebody))

    async def _ask(self, playwright: ServerConnection, firefox: ClientConnection) -> None:
        async for message in playwright:
            asked = json.loads(message)
            if asked.get("method") == _UNKNOWN_TO_FIREFOX:
                answer = {"type": "success", "id": asked["id"], "result": {}}
                await playwright.send(json.dumps(answer))
            else:
                await firefox.send(message)

    async def _ask_beside(self, door: ServerConnection) -> None:
        async for message in door:
            asked = json.loads(message)
            assert self._firefox is not None
            await self._firefox.send(json.dumps({**asked, "id": asked["id"] + _ASKED}))

    async def _answer(self, firefox: ClientConnection, playwright: ServerConnection) -> None:
        async for message in firefox:
            answer = json.loads(message)
            number = answer.get("id") or 0
            if number >= _ASKED and self._door is not None:
                await self._door.send(json.dumps({**answer, "id": number - _ASKED}))
            else:
                await playwright.send(message)


async def main(arguments: list[str]) -> int:
    """Start Firefox and relay until it ends; return its exit code."""
    firefox = await asyncio.create_subprocess_exec(
        os.environ[EXECUTABLE],
        "--remote-allow-system-access",
        *arguments,
        stderr=asyncio.subprocess.PIPE,
    )
    assert firefox.stderr is not None
    relay = Relay(await _address(firefox.stderr))
    async with serve(relay.meet, "127.0.0.1", 0, max_size=None, compression=None) as server:
        here = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        Path(os.environ[DOOR]).write_text(f"{here}/ask")
        sys.stderr.write(f"WebDriver BiDi listening on {here}\n")
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


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
