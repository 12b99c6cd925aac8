"""Building corpora with a real ffmpeg: every kind of reference, the cache, and what goes wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.corpus.cli import corpus
from pipeline.corpus.pairs import Limits, find_pairs, parse_ladder
from pipeline.corpus.read import by_pattern, load_corpus
from pipeline.corpus.score import score
from pipeline.corpus.table import FEATURES, TARGETS, CorpusError
from tests.libvmaf.reading import read
from tests.support.ffmpeg import needs_ffmpeg

pytestmark = needs_ffmpeg
TINY = "lavfi:testsrc2=size=96x80"


def build(*arguments: str | Path) -> tuple[int, str]:
    """Call the command; exit status and all output."""
    options = ["--frames", "3", "--jobs", "2"]
    result = CliRunner().invoke(corpus, ["build", *map(str, arguments), *options])
    return result.exit_code, result.output


def test_smoke_build_gives_scored_frames(tmp_path: Path) -> None:
    """Without any video, a corpus of two sources is made, and the better encode has the better score."""
    output = tmp_path / "corpus.parquet"
    result = CliRunner().invoke(corpus, ["build", "--smoke", "-o", str(output)])
    assert result.exit_code == 0, result.output
    made = load_corpus(output)
    assert made.sources() == ["mandelbrot", "testsrc2"]
    assert set(made.targets) == set(TARGETS)
    for source in made.sources():
        clips = made.rows(made.source == source)
        fine, coarse = (clips.target("vmaf")[clips.clip == clip].mean() for clip in np.unique(clips.clip))
        assert fine > coarse


def test_stopped_build_scores_only_what_is_missing(tmp_path: Path) -> None:
    """A pair in the cache is not scored again; one that was lost, or cut short, is."""
    output, cache = tmp_path / "corpus.parquet", tmp_path / "cache"
    arguments = (TINY, "--ladder", "libx264:20,40", "-o", output, "--cache", cache)
    assert build(*arguments)[0] == 0
    first = load_corpus(output)
    kept, lost = sorted(cache.glob("*/*.json"))
    marked = json.loads(kept.read_text())
    marked["columns"]["vmaf"] = [12.5] * 3
    kept.write_text(json.dumps(marked))
    lost.write_bytes(lost.read_bytes()[:-20])
    assert build(*arguments)[0] == 0
    again = load_corpus(output)
    assert again.target("vmaf")[again.clip == 0].tolist() == [12.5] * 3
    np.testing.assert_array_equal(again.target("vmaf")[again.clip == 1], first.target("vmaf")[first.clip == 1])


def test_columns_are_what_send_takes_of_the_same_log(tmp_path: Path) -> None:
    """To float32: a corpus and a sidecar that was sent the log hold the same rows."""
    (pair,) = find_pairs([TINY], parse_ladder(["libx264:40"]), limits := Limits(3, 80, ""))
    scored = score(pair, limits, tmp_path)
    sent = read(tmp_path / "scores.json", "phone")
    built = np.array([scored.columns[name] for name in FEATURES], np.float32).T
    np.testing.assert_array_equal(np.array(sent.features, np.float32), built)
    np.testing.assert_array_equal(np.array(sent.scores, np.float32), np.array(scored.columns["vmaf_phone"], np.float32))


def test_photograph_is_panned_over(tmp_path: Path) -> None:
    """A still becomes a moving picture: from the second frame on there is motion."""
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((640, 480)).save(tmp_path / "photo.png")
    output = tmp_path / "corpus.parquet"
    assert build(tmp_path / "photo.png", "--ladder", "libx264:30", "-o", output)[0] == 0
    assert load_corpus(output).features[1:, 5].min() > 0


def test_distorted_files_are_scored_as_they_are(tmp_path: Path) -> None:
    """A directory with ref/ and dis/ of raw YUV: the pair that is a copy scores higher than the damaged one."""
    size, frames = (96, 80), 3
    random = np.random.default_rng(0)
    smooth = np.tile(np.linspace(40, 200, size[0] * size[1] * 3 // 2), frames).astype(np.uint8)
    damaged = np.clip(smooth + random.normal(0, 30, smooth.size), 0, 255).astype(np.uint8)
    for name, content in {
        "ref/Pan_25fps": smooth,
        "dis/Pan_90_80_800": smooth,
        "dis/Pan_10_80_100": damaged,
    }.items():
        path = tmp_path / "set" / f"{name}.yuv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.tobytes())
    output = tmp_path / "corpus.parquet"
    status, message = build(tmp_path / "set", "--yuv-size", "96x80", "-o", output)
    assert status == 0, message
    made = load_corpus(output)
    assert made.sources() == ["Pan"]
    damaged_score, copy_score = (made.target("vmaf")[made.clip == clip].mean() for clip in (0, 1))
    assert copy_score > damaged_score + 20


def _no_layout(directory: Path) -> str:
    (directory / "set").mkdir()
    return str(directory / "set")


def _ill_named(directory: Path) -> str:
    for name in ("ref/Pan.yuv", "dis/Pan_best.yuv"):
        path = directory / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return str(directory / "set")


def _not_a_video(directory: Path) -> str:
    (directory / "text.mp4").write_text("this is no video")
    return str(directory / "text.mp4")


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        (lambda _: "absent.mp4", "absent.mp4: no such file"),
        (_not_a_video, "text, libx264-30: ffmpeg failed"),
        (_no_layout, "expected videos in"),
        (_ill_named, "expected a name like <source>_<quality>_<height>_<kbps>.yuv"),
        (lambda _: "lavfi:nosuchsource", "nosuchsource, libx264-30: ffmpeg failed"),
    ],
)
def test_unusable_references_are_named_in_one_line(tmp_path: Path, reference: object, reason: str) -> None:
    """What is wrong with a reference is said in one line that names it, and nothing is written."""
    assert callable(reference)
    output = tmp_path / "corpus.parquet"
    status, message = build(reference(tmp_path), "--ladder", "libx264:30", "-o", output)
    assert status == 1
    assert reason in message
    assert message.splitlines()[-1].startswith("Error: ")
    assert not output.exists()


@pytest.mark.parametrize("ladder", ["libx264", "libx264:a", "mpeg9:20", "libx264:"])
def test_unreadable_ladder_is_refused(tmp_path: Path, ladder: str) -> None:
    """A ladder of another form is refused with the form that was expected."""
    status, message = build(TINY, "--ladder", ladder, "-o", tmp_path / "corpus.parquet")
    assert status == 1
    assert "expected ENCODER:CRF" in message


def test_references_of_one_name_are_refused(tmp_path: Path) -> None:
    """Two contents that would become one source are refused: a source left out has to be left out whole."""
    status, message = build(TINY, "lavfi:testsrc2=size=64x64", "-o", tmp_path / "corpus.parquet")
    assert status == 1
    assert "references of the same name: testsrc2" in message


def test_more_features_are_measured_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that libvmaf logs then becomes columns; one cache serves corpora with and without them."""
    monkeypatch.setenv("VMAF_TINY_AI_CACHE", str(tmp_path / "cache"))
    plain, wide = tmp_path / "plain.parquet", tmp_path / "wide.parquet"
    assert build(TINY, "--ladder", "libx264:30", "-o", plain)[0] == 0
    assert build(TINY, "--ladder", "libx264:30", "--measure", "psnr", "--measure", "float_ssim", "-o", wide)[0] == 0
    assert len(list((tmp_path / "cache").glob("testsrc2/*.json"))) == 2
    assert not list(tmp_path.glob("*.cache"))
    asked = by_pattern(["psnr_y", "float_ssim", "adm2", "integer_adm_scale?"])
    corpus = load_corpus(wide, asked)
    assert corpus.names[:3] == ("psnr_y", "float_ssim", "adm2")
    assert len(corpus.names) == 7
    assert corpus.details["preset"].tolist() == ["veryfast"] * 3
    with pytest.raises(CorpusError, match=r"plain\.parquet: no column psnr_y"):
        load_corpus(plain, asked)
