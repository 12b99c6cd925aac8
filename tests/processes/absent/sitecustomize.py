"""Hides the packages that VMAFX_TEST_ABSENT names, as if they were not installed. Python imports this at its start."""

import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

ABSENT = set(os.environ["VMAFX_TEST_ABSENT"].split())


class Finder(PathFinder):
    """Finds all packages but these."""

    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return where a module is; None where it is to be absent."""
        return None if fullname.partition(".")[0] in ABSENT else super().find_spec(fullname, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
