"""Where state lies, and that no name leads out of there."""

from pathlib import Path

import pytest

from pipeline.correction import CorrectionError, CorrectionStore
from pipeline.correction.files import default_cache_dir, state_path

BAD_NAMES = [
    "",
    ".",
    "..",
    "../libx264",
    "a/b",
    "/etc",
    "a\\b",
    "lib\0x264",
    "libx264\n",
    "x" * 65,
    ".hidden",
    "-rf",
    "libx264 ",
    "a\u2215b",
    "~root",
    "$HOME",
]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("field", ["codec", "predictor version"])
def test_unsafe_names_are_refused_before_anything_is_touched(tmp_path: Path, name: str, field: str) -> None:
    """The error names the field and says what a name may be; no file or directory is made."""
    version, codec = ("v1", name) if field == "codec" else (name, "libx264")
    with pytest.raises(CorrectionError, match=f"^{field} .*1 to 64 letters"):
        CorrectionStore(version, tmp_path).load(codec)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["libx264", "libsvtav1", "h264_nvenc", "x265-10bit", "v1.2+g3f", "0", "x" * 64])
def test_plain_names_stay_below_the_cache_directory(tmp_path: Path, name: str) -> None:
    """Names in use are taken as they are, one directory each."""
    assert state_path(tmp_path, "v1", name) == tmp_path / "v1" / name / "state.json"


def test_xdg_cache_home_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An absolute XDG_CACHE_HOME is where state lies."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/me")
    path = CorrectionStore("v1").path("libx264")
    assert path == Path("/var/cache/me/vmaf-tune/sidecar/v1/libx264/state.json")


@pytest.mark.parametrize("value", [None, "", "cache", "./cache", "../cache"])
def test_unset_empty_and_relative_xdg_cache_home_mean_the_default(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """The specification has relative paths ignored: state must not depend on the working directory."""
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert default_cache_dir() == Path("/home/me/.cache/vmaf-tune/sidecar")
