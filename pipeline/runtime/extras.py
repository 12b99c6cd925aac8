"""The optional parts of an installation: what each brings, and what to say where it is missing."""

from importlib.util import find_spec

_PACKAGES = {
    "torch": "torch",
    "plot": "matplotlib",
    "corpus": "pyarrow",
    "archive": "pyarrow",
    "registry": "oras",
    "fleet": "nats",
}
_ELSEWHERE = dict.fromkeys(("torch", "archive", "fleet"), ", or the full image")


def lacking(extra: str, purpose: str) -> str:
    """Return what `purpose` needs and where to get it, in a line; empty where that is installed."""
    package = _PACKAGES[extra]
    if find_spec(package) is not None:
        return ""
    return f"{purpose} needs {package} (pip install 'vmafx-sidecar[{extra}]'{_ELSEWHERE.get(extra, '')})"
