"""What pages say of the repository exists: links, files, commands, targets, records of decisions."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from pipeline.cli import COMMANDS
from pipeline.runtime import regions

ROOT = Path(__file__).parents[1]
DECISIONS = ROOT / "docs" / "decisions"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)")
PYTHON_FILE = re.compile(r"[\w.-]+(?:/[\w.-]+)+\.(?:py|js)\b")
FILE_ROOTS = (ROOT, ROOT / "pipeline")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def code(page: Path) -> list[str]:
    """Return what a page shows as code: in back quotes, or indented lines."""
    return re.findall(r"`[^`\n]+`|^ {4}.*$", page.read_text(), re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return what headings can be linked to by, as GitHub makes it of them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    """Of this repository; what is elsewhere is not asked for."""
    for target, anchor in LINK.findall(page.read_text()):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{target} does not exist"
        assert not anchor or anchor in anchors(path), f"{target} has no heading #{anchor}"


@every_page
def test_named_files_of_code_exist(page: Path) -> None:
    """From the root of the repository, or from the package's."""
    for name in PYTHON_FILE.findall(page.read_text()):
        assert any((root / name).exists() for root in FILE_ROOTS), f"{name} does not exist"


@every_page
def test_python_shown_imports_what_exists(page: Path) -> None:
    """Each block of Python parses, and the names that it takes from this package are there."""
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pipeline"):
                module = importlib.import_module(node.module or "")
                assert all(hasattr(module, alias.name) for alias in node.names)


@every_page
def test_named_commands_exist(page: Path) -> None:
    """In code, where `vmafx-sidecar X` is meant to be typed."""
    assert {name for line in code(page) for name in re.findall(r"^\W*vmafx-sidecar ([a-z]+)", line)} <= set(COMMANDS)


@every_page
def test_named_targets_of_make_exist(page: Path) -> None:
    """Likewise `make X`, with or without variables."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.compile(r"\bmake (?:[A-Z_]+=\S+ )*([a-z][a-z-]*)")
    assert {target for line in code(page) for target in named.findall(line)} <= targets


def test_every_decision_is_in_the_index_with_its_title() -> None:
    """And none that there is not."""
    index = (DECISIONS / "README.md").read_text()
    rows = re.findall(r"^\| (\d+) \| \[(.+)\]\((.+)\) \|", index, re.MULTILINE)
    listed = {name: (int(number), title) for number, title, name in rows}
    records = {}
    for record in DECISIONS.glob("0*.md"):
        number, _, title = record.read_text().partition("\n")[0].removeprefix("# ").partition(". ")
        records[record.name] = (int(number), title)
        assert int(record.name[:4]) == int(number)
    assert listed == records


def test_every_region_is_in_the_architecture() -> None:
    """One row each, and no other."""
    table = (
        (ROOT / "docs" / "architecture.md").read_text().split("<!-- regions -->")[1].split("<!-- end of regions -->")[0]
    )
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(regions.NAMES)


def test_every_folder_is_in_the_architecture() -> None:
    """In the table of where a line of code belongs."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page.split("## Where a line of code belongs")[1].split("## Where to start reading")[0]
    folders = {path.parent.name for path in (ROOT / "pipeline").glob("*/__init__.py")}
    assert folders <= set(re.findall(r"\b\w+\b", table))


def test_contributing_names_what_to_run() -> None:
    """The targets that whoever changes something needs."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert {"make install", "make test"} <= set(re.findall(r"make [a-z-]+", text))
