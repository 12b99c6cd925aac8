"""What the program's source says of its log events."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pipeline

_LEVELS = {"debug", "info", "warning", "error", "exception"}
ROOT = Path(pipeline.__file__).parent


def events() -> Iterator[tuple[str, set[str]]]:
    """Yield name and fields of every log call with a constant name."""
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr=level), args=[ast.Constant(value=str(name))], keywords=keywords):
                    if level in _LEVELS:
                        yield name, {field for keyword in keywords for field in _fields(keyword)}


def _fields(keyword: ast.keyword) -> Iterator[str]:
    """Yield the name of a keyword argument; of one that is unpacked, the names in the literals."""
    if keyword.arg:
        if keyword.arg != "exc_info":  # the traceback, which is shown and is no field
            yield keyword.arg
        return
    for node in ast.walk(keyword.value):
        if isinstance(node, ast.Dict):
            yield from (key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str))
