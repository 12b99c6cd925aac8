"""What a log is of, from its name and from options."""

from pathlib import Path

import pytest

from pipeline.libvmaf.block import LogError
from pipeline.libvmaf.naming import Naming, same_jobs


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("", "a/bikes.json", {"job_id": "bikes", "source_id": "bikes"}),
        (
            "{source_id}_{codec}_{crf}",
            "big_bikes_libx264_26.json",
            {"job_id": "big_bikes_libx264_26", "source_id": "big_bikes", "codec": "libx264", "crf": 26.0},
        ),
        (
            "{source_id}/{codec}-{height}p",
            "logs/bikes/av1-540p.xml",
            {"job_id": "av1-540p", "source_id": "bikes", "codec": "av1", "height": 540},
        ),
        ("{job_id}/vmaf", "bikes.26/vmaf.csv", {"job_id": "bikes.26", "source_id": "vmaf"}),
        ("x{source_id}.v(1)", "xa.v(1).csv", {"job_id": "xa.v(1)", "source_id": "a"}),
    ],
)
def test_a_pattern_takes_fields_out_of_a_name(pattern: str, path: str, expected: dict[str, object]) -> None:
    """Numbers become numbers; what the pattern does not name is the file's name."""
    assert Naming(pattern).of(Path(path)) == expected


def test_options_count_more_than_names() -> None:
    """What is given is given for every log."""
    found = Naming("{source_id}_{crf}", {"crf": 30.0, "codec": "libx265"}).of(Path("bikes_26.json"))
    assert found == {"job_id": "bikes_26", "source_id": "bikes", "crf": 30.0, "codec": "libx265"}


def test_a_name_of_another_form_is_told() -> None:
    """With the form that was expected."""
    with pytest.raises(LogError, match=r"is not named as expected: \{source_id\}_\{crf\}, before the suffix"):
        Naming("{source_id}_{crf}").of(Path("bikes_high.json"))


@pytest.mark.parametrize("pattern", ["bikes", "{title}_{crf}", "{crf}_{crf}", "{}"])
def test_a_pattern_that_says_nothing_is_refused(pattern: str) -> None:
    """The fields that there are get listed."""
    with pytest.raises(LogError, match=r"expected, each at most once, job_id, source_id, .* in braces"):
        Naming(pattern)


def test_two_logs_of_one_job_are_found() -> None:
    """As where every encode has a folder, and the log in it the same name."""
    paths = [Path("a/vmaf.json"), Path("b/vmaf.json")]
    assert same_jobs(paths, Naming()) == "vmaf"
    assert same_jobs(paths, Naming("{job_id}/vmaf")) == ""
