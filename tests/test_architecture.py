"""Imports go down only, and each library of others lives where the design says.

The floors, from the top: cli and what it speaks through, build, report, page, charts, then
measures, recording, sources and demos side by side, then the words that everything speaks.
Exceptions stand here with their reason; one that is no longer needed fails as well.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

import attnreport

PACKAGE = Path(attnreport.__file__).parent
LONGEST = 400

FLOORS = (
    {
        "attention",
        "axis",
        "call",
        "errors",
        "files",
        "joining",
        "numbers",
        "picture",
        "picture_file",
        "pixels",
        "points",
        "reduced",
        "run",
        "runfile",
        "sound",
        "valuenorms",
    },
    {"demos", "measures", "recording", "sources"},
    {"charts"},
    {"page"},
    {"report"},
    {"interventions"},
    {"build", "export", "heads"},
    {"terminal"},
    {"options"},
    {"cli"},
    {"__main__"},
)
FLOOR = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}

# Only the words may import each other: of the rest, nothing imports its neighbour on a floor.
WORDS = FLOORS[0]

UPWARD = {
    ("run", "measures"): "Run.measure() is a door for the user; it imports when it is called",
}
HOMES = {
    "torch": {"demos", "recording", "sources"},
    "transformers": {"recording", "sources"},
    "altair": {"charts"},
    "vl_convert": {"page"},
    "jinja2": {"page"},
    "click": {"cli", "options", "terminal"},
    "rich": {"terminal"},
}
VISITS = {
    ("build", "torch"): "it calls the model without gradients; it imports when it is called",
    ("interventions", "torch"): "the same, for a probe",
}


@dataclass(frozen=True)
class Import:
    """One import: who, whom, and whether it happens when the module itself is imported."""

    module: str
    target: str
    at_once: bool

    @property
    def part(self):
        """The file or package of attnreport that imports."""
        return self.module.split(".")[0]


def modules():
    """Every module by its name below attnreport; a package is called by its folder's."""
    named = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


def imports_of(name, path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    later = set()
    for node in ast.walk(tree):
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if typing_only or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            later |= {id(child) for child in ast.walk(node)}
    for node in ast.walk(tree):
        at_once = id(node) not in later
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, alias.name, at_once)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            for alias in node.names:
                # `from attnreport.charts import picture` is an import of the module picture.
                whole = f"{node.module}.{alias.name}"
                inside = whole.removeprefix("attnreport.") in modules()
                yield Import(name, whole if inside else node.module, at_once)


IMPORTS = [found for name, path in modules().items() for found in imports_of(name, path)]
OWN = [
    Import(found.module, found.target.removeprefix("attnreport").lstrip("."), found.at_once)
    for found in IMPORTS
    if found.target.split(".")[0] == "attnreport"
]


def test_every_part_has_a_floor():
    parts = {name.split(".")[0] for name in modules()} - {""}
    assert parts == set(FLOOR)


def test_imports_go_down():
    wrong = set()
    for found in OWN:
        source, target = found.part, found.target.split(".")[0]
        if not source or not target or source == target:
            continue
        sideways = FLOOR[source] == FLOOR[target] and source not in WORDS
        if FLOOR[target] > FLOOR[source] or sideways:
            wrong.add((source, target))
    assert wrong == set(UPWARD)


def test_the_package_itself_needs_only_the_words():
    at_once = {found.target for found in OWN if not found.module and found.at_once}
    assert at_once <= WORDS


def test_the_words_do_not_need_the_package_itself():
    assert not [found for found in OWN if not found.target and found.part in WORDS]


def test_upward_imports_wait_until_they_are_needed():
    early = [
        found
        for found in OWN
        if found.at_once and (found.part, found.target.split(".")[0]) in UPWARD
    ]
    assert early == []


@pytest.mark.parametrize("library", HOMES)
def test_library_stays_at_home(library):
    users = {found.module for found in IMPORTS if found.target.split(".")[0] == library}
    strangers = {user for user in users if user.split(".")[0] not in HOMES[library]}
    assert strangers == {user for user, visited in VISITS if visited == library}


def test_sources_reach_demos_by_name_only():
    # Reached through importlib, so that a demo's weights cost nothing to whoever needs none.
    users = {found.part for found in OWN if found.target.split(".")[0] == "demos"}
    assert users <= {"demos"}


def test_no_module_imports_itself_over_others():
    graph = {name: set() for name in modules()}
    for found in OWN:
        if found.at_once and found.target in graph and found.target != found.module:
            graph[found.module].add(found.target)
    graph.pop("")
    leaves = {""}
    while leaves:
        leaves = {name for name, targets in graph.items() if not targets & graph.keys()}
        for name in leaves:
            del graph[name]
    assert graph == {}


@pytest.mark.parametrize("name", modules())
def test_module_is_short_and_says_its_job(name):
    text = modules()[name].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST
    assert ast.get_docstring(ast.parse(text)), "a module opens with its job"


def printing(tree):
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"print", "click.echo"}
    ]


def test_only_the_command_line_prints():
    printers = {
        name
        for name, path in modules().items()
        if printing(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert printers <= {"cli", "terminal"}
