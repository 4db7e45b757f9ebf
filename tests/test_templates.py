"""No JavaScript in templates, no HTML in Python, no markup made in the browser; no word unused."""

from __future__ import annotations

import ast
import dataclasses
import re
import typing
from pathlib import Path

import jinja2
import pytest
from jinja2 import nodes

import attnreport
from attnreport.page.context import PageContext
from attnreport.page.pack import PackedLayer

PACKAGE = Path(attnreport.__file__).parent
TEMPLATES = PACKAGE / "templates"
if not TEMPLATES.is_dir():
    TEMPLATES = PACKAGE.parent / "templates"
PARTS = sorted(TEMPLATES.glob("**/*.jinja"))
SCRIPTS = sorted(TEMPLATES.glob("js/*.js"))

# What the templates are given, by name; what render() makes itself are strings.
GIVEN = {
    "page": PageContext,
    "scripts": tuple[str, ...],
    "start": str,
    "style": str,
    "policy": str,
}
WHOLE = {PackedLayer}  # handed on as one JSON script

_MARKUP = re.compile(
    r"</?(a|b|body|br|button|circle|code|details|div|figure|form|g|h[1-6]|head|html|i|iframe|img|"
    r"input|li|link|main|meta|ol|p|path|pre|rect|script|section|span|style|svg|table|tbody|td|"
    r"text|th|tr|ul)(\s|/?>|$)",
    re.IGNORECASE,
)
_COMMENT = re.compile(r"/\*.*?\*/|(?:^|(?<=\s))//[^\n]*", re.DOTALL)


def ids(paths):
    return [path.name for path in paths]


@pytest.mark.parametrize("path", SCRIPTS, ids=ids(SCRIPTS))
@pytest.mark.parametrize(
    "forbidden",
    [
        r"\binnerHTML\b",
        r"\bouterHTML\b",
        r"\binsertAdjacentHTML\b",
        r"\bdocument\.write",
        r"\beval\(",
        r"\bnew Function\b",
        r"\bsetTimeout\(\s*['\"`]",
        r"\bfetch\(",
        r"\bXMLHttpRequest\b",
        r"\bWebSocket\b",
    ],
)
def test_script_makes_no_markup_and_asks_for_nothing(path, forbidden):
    code = _COMMENT.sub("", path.read_text(encoding="utf-8"))
    assert not re.search(forbidden, code)


@pytest.mark.parametrize("path", SCRIPTS, ids=ids(SCRIPTS))
def test_script_is_checked_and_says_its_job(path):
    first, second = path.read_text(encoding="utf-8").splitlines()[:2]
    assert first == "// @ts-check"
    assert second.startswith("// ")
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", PARTS, ids=ids(PARTS))
def test_template_holds_no_code_and_no_style(path):
    text = path.read_text(encoding="utf-8")
    if path.name != "report.html.jinja":
        assert "<script" not in text
        assert "<style" not in text
    assert not re.search(r"\sstyle\s*=", text)
    assert not re.search(r"\son[a-z]+\s*=", text)
    assert "javascript:" not in text
    assert not re.search(r"\|\s*safe\b", text)


def test_python_holds_no_markup_but_the_frame_of_a_notebook():
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = [text for text in strings(tree) if _MARKUP.search(text)]
        if texts:
            found[path.relative_to(PACKAGE).as_posix()] = texts
    [frame] = found.pop("page/notebook.py")
    assert "<iframe sandbox" in frame
    # Not markup, but what page.py takes out of scripts so that none can end early.
    assert found.pop("page/page.py") == ["</script"]
    assert found == {}


def strings(tree):
    """Every string of a module that is not a docstring."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from () if id(node) in docstrings else (node.value,)


class Words:
    """Walk a template with the types of its names, and note each field that it uses."""

    def __init__(self):
        self.used = set()

    def walk(self, node, scope):
        if isinstance(node, nodes.For):
            scope = self._bound(node.target, self.type_of(node.iter, scope), scope)
        if isinstance(node, nodes.Assign):  # what follows it in the same block knows the name
            scope[node.target.name] = self.type_of(node.node, scope)
        if isinstance(node, nodes.Getattr | nodes.Name):
            self.type_of(node, scope)
        for child in node.iter_child_nodes():
            self.walk(child, scope)

    def type_of(self, node, scope):
        """The type of an expression; None where it is one of Jinja's own."""
        if isinstance(node, nodes.Name):
            if node.name in {"loop", "range"}:
                return None
            assert node.name in scope, f"a template uses {node.name}, which nobody gives it"
            return scope[node.name]
        if isinstance(node, nodes.Call):  # .items() of a dict, or range()
            owner = node.node
            return self.type_of(owner.node, scope) if isinstance(owner, nodes.Getattr) else None
        if isinstance(node, nodes.Getattr):
            return self._field(self.type_of(node.node, scope), node.attr)
        return None

    def _field(self, owner, name):
        if not dataclasses.is_dataclass(owner):
            return None
        hints = typing.get_type_hints(owner)
        assert name in hints, f"a template uses {owner.__name__}.{name}, which does not exist"
        self.used.add((owner.__name__, name))
        return hints[name]

    def _bound(self, target, whole, scope):
        inside = typing.get_args(whole)
        if isinstance(target, nodes.Tuple):
            return {**scope, **{item.name: None for item in target.items}}
        return {**scope, target.name: inside[0] if inside else None}


def dataclasses_below(kind, found):
    if dataclasses.is_dataclass(kind) and kind not in found:
        found.add(kind)
        for hint in typing.get_type_hints(kind).values():
            dataclasses_below(hint, found)
    for inside in typing.get_args(kind):
        dataclasses_below(inside, found)
    return found


def test_templates_use_every_word_they_are_given_and_no_other():
    environment = jinja2.Environment(autoescape=True)
    environment.filters.update(json=str, picture=str)
    words = Words()
    for path in PARTS:
        words.walk(environment.parse(path.read_text(encoding="utf-8")), dict(GIVEN))
    given = {
        (kind.__name__, field.name)
        for whole in GIVEN.values()
        for kind in dataclasses_below(whole, set()) - WHOLE
        if kind.__module__.startswith("attnreport.page.")
        for field in dataclasses.fields(kind)
    }
    made_elsewhere = {name for name, _ in words.used} - {name for name, _ in given}
    assert {(name, field) for name, field in words.used if name not in made_elsewhere} == given


def test_every_part_is_included_once():
    included = re.findall(
        r'{% include "([^"]+)" %}', "".join(path.read_text(encoding="utf-8") for path in PARTS)
    )
    parts = [path.relative_to(TEMPLATES).as_posix() for path in PARTS]
    assert sorted(included) == sorted(part for part in parts if part != "report.html.jinja")


def test_every_id_that_a_script_asks_for_is_in_the_templates():
    asked = set()
    for path in SCRIPTS:
        asked |= set(re.findall(r'\b(?:element|picker)\("([\w-]+)"\)', path.read_text("utf-8")))
    given = set(re.findall(r'\bid="([\w-]+)"', "".join(path.read_text("utf-8") for path in PARTS)))
    assert asked
    assert asked <= given


def test_colours_stand_in_one_style_file():
    colour = re.compile(r"#[0-9a-fA-F]{3,8}\b|\brgba?\(|\bhsla?\(")
    for path in sorted(TEMPLATES.glob("css/*.css")):
        if path.name != "theme.css":
            assert not colour.findall(path.read_text(encoding="utf-8")), path.name
