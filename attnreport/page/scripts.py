"""Join the page's ES modules into one script.

A report is one file, and inline modules cannot import each other by path. The modules under
``templates/js`` keep to the two forms joined here, ``import { a, b } from "./file.js";`` and
``export`` before a declaration, so joining is putting them in order and dropping those words,
the comments and the indents, which every report would carry. No text of theirs spans lines.
"""

from __future__ import annotations

import re
from pathlib import Path

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?function|const|class)", re.MULTILINE)
# A comment that has its lines to itself, with the empty lines after it; one within a line.
_COMMENT = re.compile(r"^ *(?://.*|/\*\*(?:[^*]|\*(?!/))*\*/)?\n", re.MULTILINE)
_INLINE = re.compile(r" ?/\*\* @type [^*\n]*\*/| // [\w .,:;'–-]*$", re.MULTILINE)
_INDENT = re.compile(r"^ +", re.MULTILINE)
_TOP_LEVEL = re.compile(r"^(?:async )?(?:function|const|let|class) (\w+)", re.MULTILINE)


def joined(entry: Path) -> str:
    """Return one script of ``entry`` and everything it imports, dependencies first.

    Raises:
        ValueError: two modules declare the same name, or a module uses another form of import.
    """
    parts: dict[str, str] = {}
    _collect(entry, parts)
    script = _INLINE.sub("", _COMMENT.sub("", "\n".join(parts.values())))
    _check(script)
    return _INDENT.sub("", script)


def _collect(path: Path, parts: dict[str, str]) -> None:
    if path.name in parts:
        return
    source = path.read_text(encoding="utf-8")
    for name in _IMPORT.findall(source):
        _collect(path.parent / name, parts)
    parts[path.name] = _EXPORT.sub("", _IMPORT.sub("", source))


def _check(script: str) -> None:
    names = _TOP_LEVEL.findall(script)
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"declared in two modules of templates/js: {', '.join(sorted(twice))}")
    if re.search(r"^(import|export)\b", script, re.MULTILINE):
        raise ValueError(
            "templates/js may only use the import and export forms that joined() knows"
        )
    if any(line.count("`") % 2 for line in script.splitlines()):
        raise ValueError("a text in templates/js spans lines, and would lose its indents")
