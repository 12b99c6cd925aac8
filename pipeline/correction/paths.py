"""Where state lies: $XDG_CACHE_HOME/vmaf-tune/sidecar/<predictor-version>/<codec>/state.json."""

import os
import re
from pathlib import Path

from pipeline.correction.captures import CorrectionError

_COMPONENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


def default_cache_dir() -> Path:
    """Return the cache directory of this user.

    As the XDG Base Directory Specification says, an XDG_CACHE_HOME that is empty or relative counts as unset.

    Raises:
        CorrectionError: the user has no home directory and XDG_CACHE_HOME does not stand in for it.

    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():
        return given / "vmaf-tune" / "sidecar"
    try:
        return Path.home() / ".cache" / "vmaf-tune" / "sidecar"
    except RuntimeError as error:
        raise CorrectionError(
            "there is no home directory: say where state may lie with --cache-dir or XDG_CACHE_HOME"
        ) from error


def state_path(cache_dir: Path, predictor_version: str, codec: str) -> Path:
    """Return the state file's path; it lies below the cache directory whatever the two names are.

    Raises:
        CorrectionError: a name is empty, too long, or holds a separator, a NUL or anything else that is not
            a letter, a digit or one of . _ + - after a letter or digit.

    """
    version = path_component("predictor version", predictor_version)
    return cache_dir / version / path_component("codec", codec) / "state.json"


def path_component(field: str, name: str) -> str:
    """Return the name where it is safe as one component of a path.

    Raises:
        CorrectionError: see `state_path`; the message names the field.

    """
    if not _COMPONENT.fullmatch(name):
        raise CorrectionError(
            f"{field} {name[:80]!r}: 1 to 64 letters, digits, . _ + and - are expected, a letter or digit first"
        )
    return name
