"""Who may import whom, of what is not part of the product."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def imported_by(folder: str) -> dict[str, set[str]]:
    """Return, for each module of a folder, the packages at the top that it imports, anywhere in it."""
    return {
        str(path.relative_to(ROOT)): packages_of(ast.parse(path.read_text())) for path in (ROOT / folder).rglob("*.py")
    }


def packages_of(module: ast.Module) -> set[str]:
    """Return the packages at the top that a module imports; it imports none relatively."""
    names: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize(
    ("folder", "kept_out"),
    [("tests", {"benchmarks"}), ("benchmarks", {"tests"}), ("pipeline", {"tests", "benchmarks"})],
)
def test_each_stands_without_the_other(folder: str, kept_out: set[str]) -> None:
    """Tests need no benchmark, benchmarks no test, and the product neither."""
    found = imported_by(folder)
    assert any("pipeline" in packages for packages in found.values()), "nothing was looked at"
    assert [path for path, packages in found.items() if packages & kept_out] == []
