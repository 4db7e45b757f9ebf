"""One HTML string: templates, raw files, and a policy that lets nothing else run.

Data reach the page in two ways only: through Jinja's autoescape, and as JSON scripts whose ``<``,
``>`` and ``&`` are escaped. The policy names the hash of every script and style it allows.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import msgspec
from markupsafe import Markup

import attnreport
from attnreport.charts.labels import printable
from attnreport.charts.theme import unchecked
from attnreport.errors import OutputError
from attnreport.joining import SHORTEST
from attnreport.page.base85 import text_of
from attnreport.page.context import PageContext, context
from attnreport.page.form import Form, MeasuredRun
from attnreport.page.joining import joined_run
from attnreport.page.opening import Opening
from attnreport.page.pack import pack, pack_smallest
from attnreport.page.scripts import joined
from attnreport.page.shrinking import shrunk_run
from attnreport.page.vega import bundle
from attnreport.run import Run

_STYLES = ("theme.css", "page.css")


@dataclass(frozen=True)
class Rendered:
    """Hold a page and, in words, what it lacks of its run; nothing where it has all."""

    html: str
    reductions: tuple[str, ...]


def measured_for(run: Run, max_size: int) -> MeasuredRun:
    """Return a run measured, its pictures small enough for a page of ``max_size`` bytes."""
    with unchecked():
        return MeasuredRun.of(shrunk_run(run, max_size - scripts_size()))


def render(measured: MeasuredRun, place: Opening, max_size: int) -> Rendered:
    """Return the whole page, which needs nothing else, with as much of the run as it may hold.

    Args:
        measured: what to show.
        place: the attention and the head shown first.
        max_size: how many bytes the page may take.

    Raises:
        OutputError: even the smallest page of this run takes more.
    """
    run = measured.run
    with unchecked():
        for block in _blocks(run):
            drawn = joined_run(run, block)
            room = max_size - scripts_size()
            while packed := pack(drawn, room, joined=block > 1):
                form = Form(drawn, packed, block)
                html = _html(context(measured, form, place, attnreport.__version__))
                excess = len(html.encode()) - max_size
                if excess <= 0:
                    return Rendered(html, form.reductions)
                room = packed.characters - excess
        # Sizes were estimated so far, which close to the limit is not enough.
        sizes = []
        for block in _blocks(run):
            drawn = joined_run(run, block)
            form = Form(drawn, pack_smallest(drawn), block)
            html = _html(context(measured, form, place, attnreport.__version__))
            sizes.append(len(html.encode()))
            if sizes[-1] <= max_size:
                return Rendered(html, form.reductions)
    smallest = min(sizes)
    raise OutputError(
        f"a report of this run takes at least {smallest} bytes, more than the {max_size} allowed; "
        "allow more, or give a shorter input"
    )


def _blocks(run: Run) -> Iterator[int]:
    """Yield how many neighbouring positions to join, until nothing is left to join."""
    longest = max(len(axis) for axis in run.axes)
    block = 1
    yield block
    while longest / block > SHORTEST:
        block = block + 1 if block < 4 else block * 3 // 2
        yield block


def _html(page: PageContext) -> str:
    start = _script(joined(_folder() / "js" / "start.js"))
    style = Markup("\n".join(own_file("css", name) for name in _STYLES))  # noqa: S704 - our own files
    html: str = (
        _environment()
        .get_template("report.html.jinja")
        .render(
            page=page,
            scripts=_packed_scripts(),
            start=start,
            style=style,
            policy=_policy([*_scripts(), start], style),
        )
    )
    return html


def scripts_size() -> int:
    """Return how many characters of every page are Vega and our own scripts, deflated."""
    return sum(map(len, _packed_scripts()))


def json_script(content: Any) -> Markup:
    """Return JSON that no HTML parser can leave: it holds no ``<``, ``>``, ``&`` or U+2028/9."""
    text = msgspec.json.encode(content).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - escaped just above


def picture(svg: str) -> Markup:
    """Return an SVG of vl-convert, whose texts it escaped, to stand in the page as it is."""
    return Markup(svg)  # noqa: S704 - tested with hostile labels


def _policy(scripts: list[str], style: Markup) -> str:
    allowed = " ".join(_hash(script) for script in scripts)
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {allowed}",
            f"style-src {_hash(style)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types default",
        )
    )


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _script(source: str) -> Markup:
    # In a string or a comment `<\/script` means the same to JavaScript, and nothing to HTML.
    safe = source.replace("</script", "<\\/script").replace("<!--", "<\\!--")
    return Markup(safe)  # noqa: S704 - our own files


@cache
def _scripts() -> tuple[str, str]:
    return bundle(), joined(_folder() / "js" / "main.js")


@cache
def _packed_scripts() -> tuple[str, ...]:
    return tuple(text_of(zlib.compress(script.encode(), 9)) for script in _scripts())


def own_file(*parts: str) -> str:
    """Return the text of one of the project's own templates, styles or scripts."""
    return _folder().joinpath(*parts).read_text(encoding="utf-8")


@cache
def _folder() -> Path:
    """Return the templates: inside the package in a wheel, beside it in a checkout."""
    package = Path(attnreport.__file__).parent
    inside = package / "templates"
    return inside if inside.is_dir() else package.parent / "templates"


def _printed(value: Any) -> Any:
    """Return what a template puts in its place: a text of the run only as a page can hold it."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_folder()),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printed,
        trim_blocks=True,
    )
    environment.filters.update(json=json_script, picture=picture)
    return environment
