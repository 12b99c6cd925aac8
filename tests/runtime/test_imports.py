"""What a process imports: each has to be back at once after a crash."""

import importlib
import subprocess
import sys

import pytest

from pipeline.runtime.imports import without
from pipeline.runtime.reports import ROLES


def test_no_process_imports_what_is_for_terminals() -> None:
    """Rich and what it needs are in the environment, and in no process."""
    importlib.import_module("rich")
    modules = ", ".join(f"pipeline.{role}.__main__" for role in (*ROLES, "intake"))
    code = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    imported = {name.partition(".")[0] for name in done.stdout.split()}
    assert {"structlog", "numpy"} <= imported
    assert not imported & {"rich", "pygments", "torch"}


@pytest.mark.parametrize("known", [True, False])
def test_what_is_left_out_is_there_afterwards(monkeypatch: pytest.MonkeyPatch, *, known: bool) -> None:
    """Whether it had been imported before or not."""
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    before = importlib.import_module("colorsys") if known else None
    if not known:
        monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with without("colorsys"), pytest.raises(ImportError):
        importlib.import_module("colorsys")
    assert sys.modules.get("colorsys") is before
    importlib.import_module("colorsys")
