"""What may happen to a live checkpoint directory, in any order, and what has to hold all the same.

    python -m tests.checkpoints.mutations 10000

mutates until that many changes have been made, and ends with the smallest series of steps that breaks a promise. The
exporter's own jobs run on real files, amid real regions; nothing is replaced.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from pipeline.checkpoints import commands, pins, pointers
from pipeline.checkpoints.checkpoint import Checkpoint, CheckpointError, State
from pipeline.checkpoints.names import file_of, published
from pipeline.checkpoints.reconcile import Overview
from pipeline.exporter.candidate import Refused
from pipeline.exporter.jobs import Jobs
from pipeline.fsck import files
from pipeline.model.errors import UnusableModel
from pipeline.model.graph import BaseModel
from pipeline.model.verify import verify
from pipeline.registry import registry
from pipeline.runtime.reports import ExporterReport, Reporter
from pipeline.runtime.restore import Saved
from pipeline.shm.segment import SHM_DIR
from tests.support.checkpoints import small_model
from tests.support.surroundings import Surroundings, settings_for

KEEP = 3
EXPECTED = (OSError, CheckpointError, registry.RegistryError, pins.PinsError, Refused, UnusableModel)
"""What a job may fail with while something is in its way; anything else is a mistake of the program."""

LEARNED = small_model(seed=3).vector()
BASES = (small_model(), small_model(seed=9))

STRANGE = (
    ".v1-old",
    ".v0000003",
    ".x.tmp",
    "model_v0000002.onnx",
    "model_v999999999999.onnx",
    "model_v999999999.onnx",
    "model_v000000.json",
    "model_v.onnx",
    "model_v000003.onnx.bak",
    "notes.txt",
    "state/.state-000000001.bin.tmp",
    "state/state-000000002.bin",
    "state/state-999999999.bin",
)
OURS = (
    *(f"model_v{n:06d}{suffix}" for n in (1, 2, 3, 4, 6, 30) for suffix in (".onnx", ".onnx.sha256", ".json")),
    "registry.json",
    "pins.json",
    "latest.onnx",
    "latest-stable.onnx",
    ".latest-stable",
    ".last-version",
)
EDITS: tuple[dict[str, object], ...] = (
    {"version": 7},
    {"created": "yesterday"},
    {"created": "2026-05-28T12:34:56"},
    {"created": "0001-01-01T00:00:00+00:00"},
    {"state": "splendid"},
    {"state": "stable"},
    {"sha256": "x"},
    {"samples": -1},
    {"samples": 10**30},
    {"reason": "because " * 100},
    {"metrics": [[]]},
)

Change = tuple[str, int, Any]
"""What happens, to which of the things that are there, by a number, and how."""


def _changes(what: str, how: Sequence[object]) -> st.SearchStrategy[Change]:
    return st.tuples(st.just(what), st.integers(0, 999), st.sampled_from(how))


CHANGES = st.one_of(
    _changes("damage", ("delete", "delete", "truncate", "garble", "chmod")),
    _changes("replace", ("directory", "nowhere", "itself", "another")),
    _changes("rename", STRANGE + OURS),
    _changes("duplicate", STRANGE + OURS),
    _changes("leave", STRANGE),
    _changes("edit", EDITS),
)

mutations: Counter[str] = Counter()
"""How many changes of each kind were made."""

_numbers = itertools.count()
_silent = structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(50))


class LiveDirectory(RuleBasedStateMachine):
    """A directory, its exporter, an operator, and somebody who breaks things."""

    def __init__(self) -> None:
        super().__init__()
        self._home = tempfile.TemporaryDirectory(prefix="mutations-", dir=SHM_DIR)
        self.directory = Path(self._home.name) / "online"
        environ = settings_for(
            self.directory,
            f"mutations-{os.getpid()}-{next(_numbers)}",
            VMAFX_SIDECAR_KEEP_CHECKPOINTS=str(KEEP),
        )
        self.around = Surroundings(environ, BASES[0])
        self.around.hold_out(BASES[0].with_weights(LEARNED))
        self.report = Reporter(self.around.board, "exporter", ExporterReport)
        self.work = self._start()
        self.given: dict[int, Checkpoint] = {}
        self.hit: set[int] = set()

    def teardown(self) -> None:
        """Clear what is in the way: everything has to work then."""
        try:
            self.mend()
        finally:
            self._end()
            self.around.discard()
            self._home.cleanup()

    def _start(self) -> Jobs:
        settings = self.around.settings
        return Jobs(settings, self.around.board, _silent, Saved(settings, _silent))

    def _end(self) -> None:
        """Give the claim up, as the end of a process does."""
        self.work._store._claim.release()

    @property
    def base(self) -> BaseModel:
        """The base model that the trainer serves."""
        return self.around.base

    # What the sidecar and its operator do.

    @initialize()
    def begin(self) -> None:
        """Publish two stable checkpoints."""
        self.export(True)
        self.export(True)

    @rule(job=st.sampled_from(("upkeep", "save", "restart", "roll_back", "change_base")))
    def work_on(self, job: str) -> None:
        """Do one of the other jobs."""
        getattr(self, job)()

    @rule(good=st.booleans())
    def export(self, good: bool) -> None:
        """Export, and look again at once, as the exporter's loop does."""
        self.around.feed(1)
        self.around.train(LEARNED if good else self.base.vector(), step=len(self.given) + 1)
        overview = self._attempt(self._exported)
        if overview is not None:
            made = overview.latest
            assert made is not None
            assert made.state == "stable" or not good or self._hit_stable(), made.reason
            self.hit.discard(made.version)
            assert _holds(file_of(self.directory, made.version))
        self.upkeep()

    def _exported(self) -> Overview:
        """Export, and take note of what was published before anybody asks whether older ones may be gone."""
        overview = self.work.export()
        assert overview.latest is not None
        assert overview.latest.version > max(self.given, default=0), "a version was given twice"
        self.given[overview.latest.version] = overview.latest
        return overview

    def upkeep(self) -> None:
        """Bring in line; pointers, registry, retention and the verifier are right then."""
        overview = self._attempt(self.work.upkeep)
        if overview is None:
            return
        if overview.latest is not None:
            self.report.report.version = overview.latest.version
            self.report.publish()
        self._check_pointers(overview)
        self._check_verifier()

    def save(self) -> None:
        """Save the state: it needs nothing but the right to the directory and a place to write to."""
        self.around.feed(1)
        obstacles = [self.directory / name for name in (".exporter.lock", "state")]
        free = not any(path.is_symlink() for path in obstacles) and not obstacles[0].is_dir()
        free = free and not obstacles[1].is_file() and not any(map(Path.is_dir, self.directory.glob("state/*")))
        if self._attempt(self.work.save) is None:
            assert not free, "the state was not saved, and nothing was in the way"

    def restart(self) -> None:
        """End the exporter, and start another."""
        self._end()
        self.work = self._start()
        self.upkeep()

    def roll_back(self) -> None:
        """Withdraw what is stable."""
        self._attempt(lambda: commands.roll_back(self.directory))
        self.upkeep()

    @rule(version=st.integers(1, 8), on=st.booleans())
    def pin(self, version: int, on: bool) -> None:
        """Keep a version, or no longer."""
        self._attempt(lambda: (commands.pin if on else commands.unpin)(self.directory, version))

    def change_base(self) -> None:
        """Have the trainer serve the other base model."""
        self.around.serve(BASES[self.base.digest == BASES[0].digest])
        self.upkeep()

    @rule()
    @precondition(lambda self: self.hit)
    def mend(self) -> None:
        """Take away all that is broken or in the way: the next jobs succeed, and nothing is left to find fault with."""
        for path in list(self.directory.iterdir()):
            name = path.name
            ours = name in ("registry.json", "pins.json") or name.startswith((".exporter", ".change", ".last"))
            broken = ours and (path.is_symlink() or not path.is_file())
            broken |= name in ("registry.json", "pins.json") and not _is_json(path)
            broken |= name.startswith(("latest", ".latest", ".v", "state", ".x"))
            broken |= name.startswith("model_v") and (not _is_canonical(path) or _version(path) in self._broken())
            if broken:
                _remove(path)
        with suppress(registry.RegistryError):
            registry.load(self.directory)
        self.hit.clear()
        for job in (self.work.upkeep, self.work.upkeep, self.work.save):
            problems = job().problems
        assert not problems, problems
        self.export(True)
        overview = self.work.upkeep()
        assert (overview.latest, overview.problems) == (self.given[max(self.given)], ())
        assert overview.stable == overview.latest, overview.incomparable
        assert [each for each in files.check(self.directory) if not each.sound] == []

    def _broken(self) -> set[int]:
        return {version for version in self._listed() if not self._is_whole(version)}

    # What may happen to it.

    @rule(changes=st.lists(CHANGES, min_size=2, max_size=6))
    def happen(self, changes: list[Change]) -> None:
        """Have a few of these happen before the exporter looks again."""
        for change, what, how in changes:
            getattr(self, f"_{change}")(what, how)

    def _damage(self, what: int, how: str) -> None:
        """Damage one file, or whatever lies there."""
        target = self._target(what)
        self._hits(target, how)
        if how == "delete":
            _remove(target)
        elif how == "chmod":
            if not target.is_symlink():
                target.chmod(0)  # means nothing to root
        elif target.is_file() and not target.is_symlink():
            data = target.read_bytes()
            target.write_bytes(data[: len(data) // 2] if how == "truncate" else b"\0garbled\xff" + data[8:])

    def _replace(self, what: int, how: str) -> None:
        """Put a directory or a link in the place of a file."""
        target = self._target(what)
        self._hits(target, how)
        another = self._target(what * 7 + 1)
        _remove(target)
        if how == "directory":
            target.mkdir()
        else:
            target.symlink_to({"nowhere": "nowhere", "itself": target.name, "another": str(another)}[how])

    def _rename(self, what: int, to: str) -> None:
        self._spread(what, to, "rename")

    def _duplicate(self, what: int, to: str) -> None:
        self._spread(what, to, "duplicate")

    def _spread(self, what: int, to: str, how: str) -> None:
        """Give a file another name, or a second one."""
        source, target = self._target(what), self.directory / to
        if source == target or source.is_dir():
            return
        self._hits(target, how)
        with suppress(OSError):
            if how == "rename":
                self._hits(source, how, count=False)
                source.replace(target)
            else:
                target.unlink(missing_ok=True)
                shutil.copy(source, target)

    def _leave(self, what: int, name: str) -> None:
        """Leave something of somebody else's."""
        how = ("directory", "file", "full directory")[what % 3]
        target = self.directory / name
        self._hits(target, f"foreign {how}")
        with suppress(OSError):
            if how == "file":
                target.write_bytes(b"theirs")
            else:
                target.mkdir()
                if how == "full directory":
                    (target / "theirs").touch()

    def _edit(self, what: int, edit: dict[str, object]) -> None:
        """Change what a sidecar says."""
        sidecars = sorted(path for path in self.directory.glob("model_v*.json") if _is_regular(path))
        if sidecars:
            target = sidecars[what % len(sidecars)]
            self._hits(target, "edit")
            with suppress(ValueError, TypeError):
                target.write_text(json.dumps(json.loads(target.read_bytes()) | edit))

    def _target(self, number: int) -> Path:
        """Pick what is there by a number."""
        there = [*self.directory.iterdir(), *self.directory.glob("state/*"), *self.directory.glob(".v*/*")]
        targets = sorted(path for path in there if path.name != "state")
        return targets[number % len(targets)]

    def _hits(self, target: Path, how: str, *, count: bool = True) -> None:
        mutations[how] += count
        if target.parent == self.directory and _is_canonical_name(target.name):
            self.hit.add(_version(target))
        else:
            self.hit.add(0)

    # What has to hold.

    def _attempt(self, job: Callable[[], Overview | object]) -> Overview | None:
        """Run a job, which may fail only as expected, and loses no stable checkpoint whether it fails or not."""
        before = {version for base in BASES for version in self._stable(base.digest)}
        try:
            result = job()
        except EXPECTED:
            return None
        finally:
            for version in before.difference(v for v in self._listed() if self._is_whole(v)):
                self._check_removal(version)
        return result if isinstance(result, Overview) else None

    def _check_removal(self, version: int) -> None:
        """Check that a stable checkpoint that was not hit made room for two newer ones of its base model."""
        if version in self.hit:
            return
        newer = [v for v in self._stable(self.given[version].base_sha256) if v > version]
        assert len(newer) >= 2, f"version {version} was lost"
        assert sum(v > version for v in self._listed()) >= KEEP, f"version {version} is one of the newest"
        with suppress(pins.PinsError):
            assert version not in pins.read(self.directory), f"version {version} is pinned"

    def _check_pointers(self, overview: Overview) -> None:
        refused = any(isinstance(each, OSError) for each in overview.problems)
        for pointer in (pointers.LATEST, pointers.LATEST_STABLE):
            link = self.directory / f"{pointer}.onnx"
            if not link.is_symlink():
                continue
            assert refused or link.exists(), f"{pointer} leads to nothing"
            if link.exists():
                assert _holds(link.resolve()), f"{pointer} leads to what does not verify"
        leads_to = pointers.pointed(self.directory, pointers.LATEST_STABLE)
        stable = self._stable(self.base.digest)
        if not refused and leads_to not in self.hit:
            assert leads_to == max((v for v in stable), default=None), "latest-stable leads to another"

    def _check_verifier(self) -> None:
        found = {each.what for each in files.check(self.directory) if not each.sound}
        for path in self.directory.iterdir():
            wrong = path.name.startswith("model_v") and not _is_canonical(path)
            wrong |= path.name.endswith(".onnx") and _is_canonical(path) and not self._is_whole(_version(path))
            wrong |= path.name in ("registry.json", "pins.json") and not _is_json(path)
            assert not wrong or path.name in found, f"fsck does not name {path.name}"

    def _listed(self) -> list[int]:
        return published(self.directory) if self.directory.is_dir() else []

    def _stable(self, base: str) -> list[int]:
        """Return the stable checkpoints that are whole, by what lies there and by nothing that the program keeps."""
        return [
            version
            for version in self._listed()
            if self._is_whole(version)
            and (said := json.loads(file_of(self.directory, version, ".json").read_bytes()))["state"] == "stable"
            and said["base_sha256"] == base
        ]

    def _is_whole(self, version: int) -> bool:
        path, sidecar = file_of(self.directory, version), file_of(self.directory, version, ".json")
        if not all(map(_is_regular, (path, sidecar, file_of(self.directory, version, ".onnx.sha256")))):
            return False
        if not _holds(path) or not _is_json(sidecar):
            return False
        said, made = json.loads(sidecar.read_bytes()), self.given.get(version)
        if not isinstance(said, dict) or said.get("sha256") != registry.digest_of(path) or made is None:
            return False
        unchanged = all(said.get(name) == getattr(made, name) for name in ("version", "created", "samples", "step"))
        return unchanged and isinstance(said.get("metrics"), dict) and said.get("state") in get_args(State)

    def _hit_stable(self) -> bool:
        """Whether the last stable checkpoint may be one that was hit: no candidate is stable then."""
        return any(version in self.hit for version in (*self.given, 0))


_held: dict[tuple[bytes, bytes], bool] = {}


def _holds(path: Path) -> bool:
    """Whether a model verifies; the same bytes are not tried twice."""
    try:
        content = path.read_bytes(), path.with_name(f"{path.name}.sha256").read_bytes()
        if content not in _held:
            _held[content] = all(check.passed for check in verify(path))
    except OSError:
        return False
    return _held[content]


def _is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _is_json(path: Path) -> bool:
    if path.name == "registry.json":
        with suppress(registry.RegistryError):
            return bool(registry.load(path.parent)) or True
        return False
    if path.name == "pins.json":
        with suppress(pins.PinsError):
            return bool(pins.read(path.parent)) or True
        return False
    try:
        json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return True


def _is_canonical_name(name: str) -> bool:
    body, dot, suffix = name.removeprefix("model_v").partition(".")
    return (
        name.startswith("model_v")
        and body.isdecimal()
        and f"{int(body):06d}" == body
        and 0 < int(body) < 10**9
        and f"{dot}{suffix}" in (".onnx", ".onnx.sha256", ".json")
    )


def _is_canonical(path: Path) -> bool:
    return _is_canonical_name(path.name) and _is_regular(path)


def _version(path: Path) -> int:
    return int(path.name.removeprefix("model_v").partition(".")[0])


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def run(examples: int, *, repeatable: bool) -> None:
    """Live so many lives of some forty steps; raises what breaks a promise, with the steps that lead to it.

    `repeatable`: the same lives each time, and no time spent on looking for a shorter series of steps.
    """
    run_state_machine_as_test(
        LiveDirectory,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            database=None,
            derandomize=repeatable,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate,) if repeatable else (Phase.generate, Phase.shrink),
        ),
    )


def _batches(wanted: int) -> Iterator[int]:
    while mutations.total() < wanted:
        yield mutations.total()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    for done in _batches(int(sys.argv[1])):
        _say(f"{done:,} mutations")
        run(20, repeatable=False)
    _say(f"{mutations.total():,} mutations, every promise held:")
    for kind, count in mutations.most_common():
        _say(f"{count:7,} {kind}")
