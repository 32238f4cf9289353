"""The house keeps its own rules: cards, sizes, names, pages that lead somewhere. import-linter has the order of the rooms."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "qsup"
ROOMS = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))
MODULES = sorted(PACKAGE.rglob("*.py"))
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
MOST_LINES = 400
BANNED_NAMES = {"driver", "manager", "core", "common", "base", "utils", "util", "helpers", "misc", "models"}
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
PAGE_NAMED = re.compile(r"docs/[a-z-]+\.md")


def test_rooms_are_those_of_the_architecture_page() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"^\| `([a-z]+)` \|", page, re.MULTILINE))
    assert named == {room.name for room in ROOMS}


@pytest.mark.parametrize("room", ROOMS, ids=lambda path: path.name)
def test_room_has_its_card(room: Path) -> None:
    card = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""
    missing = [word for word in ("Enters:", "Leaves:", "May touch:", "Must not:", "Start") if word not in card]
    assert missing == []


@pytest.mark.parametrize("room", ROOMS, ids=lambda path: path.name)
def test_room_shows_nothing_but_its_card(room: Path) -> None:
    """Names are imported from the module that has them: one that re-exports would load its whole room for one name."""
    body = ast.parse((room / "__init__.py").read_text()).body
    assert [type(node).__name__ for node in body[1:]] == []


def test_files_are_small() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_names_say_what_is_in_them() -> None:
    assert [path for path in MODULES if path.stem in BANNED_NAMES] == []


def test_every_module_says_what_it_is() -> None:
    assert [path for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_pages_lead_to_files_that_exist() -> None:
    dead = [
        f"{page.name}: {target}"
        for page in PAGES
        for target in LINK.findall(page.read_text())
        if not (page.parent / target).exists()
    ]
    assert dead == []


def test_pages_that_are_named_exist() -> None:
    sources = [*PAGES, *MODULES, *(ROOT / "systemd").iterdir(), *(ROOT / "configs").iterdir()]
    dead = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources
        for name in PAGE_NAMED.findall(path.read_text())
        if not (ROOT / name).exists()
    ]
    assert dead == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    pages = [page.name for page in PAGES if page.parent.name == "docs" and page.name != "README.md"]
    assert [name for name in pages if f"({name})" not in index] == []


def test_every_dependency_has_its_reason() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"], *project["build-system"]["requires"]]
    page = (ROOT / "docs" / "dependencies.md").read_text()
    names = [re.split(r"[<>=\[]", requirement)[0] for requirement in wanted]
    assert [name for name in names if f"`{name}`" not in page] == []
