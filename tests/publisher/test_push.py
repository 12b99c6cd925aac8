"""Passes of a publisher over every kind of registry: pushed, moved back, healed, cut off anywhere, and racing."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests

from pipeline.artifacts.artifact import MODEL_SHA256, WITHDRAWN_TYPE, Artifact
from pipeline.artifacts.faults import RegistryFault
from pipeline.artifacts.published import mark_of, older, version_of
from pipeline.artifacts.reference import LATEST_STABLE, Reference
from pipeline.artifacts.store import Store, open_store
from pipeline.artifacts.transfer import manifest_of, pull, push
from pipeline.checkpoints import checkpoint as sidecar
from pipeline.checkpoints import commands
from pipeline.checkpoints.checkpoint import CheckpointError
from pipeline.checkpoints.names import file_of
from pipeline.publisher.push import Outcome, Pusher
from tests.support.checkpoints import publish_one, reconciled, small_model
from tests.support.dying import completes, kill
from tests.support.processes import REPOSITORY
from tests.support.registries import S3, DockerRegistry, set_in


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Make a directory with one stable checkpoint."""
    path = tmp_path / "online"
    path.mkdir()
    add(path, 1)
    return path


def add(directory: Path, seed: int) -> None:
    """Publish one more stable checkpoint."""
    publish_one(directory, seed=seed)
    reconciled(directory)


def led_to(store: Store) -> int:
    """Return the version that the pointer leads to, verified to be whole; 0 where it leads to nothing.

    docker-registry cannot tell where a tag leads while another client moves it.
    """
    pointer = store.pointer(LATEST_STABLE)
    if pointer is None or not pointer.digest:
        return 0
    artifact = pull(store, pointer.digest)
    if artifact.kind == WITHDRAWN_TYPE:
        return 0
    artifact.check()
    return version_of(manifest_of(store, pointer.digest))


def test_the_newest_stable_version_is_pushed_once(store: Store, directory: Path) -> None:
    """With its name for ever; a second pass, also of another publisher, finds nothing to do."""
    done = Pusher(store, directory).run("")
    assert (done.version, led_to(store)) == (1, 1)
    assert done.pushed == done.pointed
    again = Pusher(store, directory).run(done.pushed)
    assert (again.pushed, again.pointed, again.version) == ("", done.pushed, 1)
    add(directory, 2)
    assert Pusher(store, directory).run(done.pushed).version == 2
    assert led_to(store) == 2
    assert [name.split("-")[0] for name in store.names()] == ["latest", "v000001", "v000002"]


def test_a_rolled_back_version_moves_the_pointer_back(store: Store, directory: Path) -> None:
    """To the one before, then to nothing; and another directory with the same model does not bring it back."""
    pusher = Pusher(store, directory)
    pusher.run("")
    add(directory, 2)
    last = pusher.run("").pushed
    twin = directory.parent / "twin"
    twin.mkdir()
    add(twin, 2)
    commands.roll_back(directory)
    assert pusher.run(last).version == 1
    assert led_to(store) == 1
    assert Pusher(store, twin).run("").pushed == ""
    commands.roll_back(directory)
    pusher.run("")
    assert led_to(store) == 0
    assert Pusher(store, twin).run("").pushed == ""
    add(directory, 3)
    pusher.run("")
    assert led_to(store) == 3


def test_all_that_were_rolled_back_are_marked(store: Store, directory: Path) -> None:
    """Also those before the one that the pointer led to; what never was in the registry is not."""
    pusher = Pusher(store, directory)
    for seed in (2, 3):
        pusher.run("")
        add(directory, seed)
    last = pusher.run("").pushed
    for _ in range(2):
        commands.roll_back(directory)
    publish_one(directory, "unstable", seed=9)
    reconciled(directory)
    assert pusher.run(last).version == 1
    withdrawn = {name for name in store.names() if name.startswith("withdrawn-")}
    assert withdrawn == {mark_of(sidecar.read(directory, version).sha256) for version in (2, 3)}
    assert older(store.names(), 0) == [name for name in store.names() if name.startswith("v000001-")]


def test_a_version_comes_back_with_its_base_model(store: Store, directory: Path) -> None:
    """Another base model retires it, and the first one brings it back: it was not bad."""
    last = Pusher(store, directory).run("").pushed
    reconciled(directory, base=small_model(seed=5).digest)
    Pusher(store, directory).run(last)
    assert led_to(store) == 0
    reconciled(directory)
    Pusher(store, directory).run(last)
    assert led_to(store) == 1


def test_what_the_registry_has_lost_is_pushed_again(directory: Path, tmp_path: Path) -> None:
    """The pointer, content, or all of it; what is broken, too; and it is said."""
    share = tmp_path / "share"
    share.mkdir()
    store = open_store(Reference.parse(share.as_uri()))
    last = Pusher(store, directory).run("").pushed
    kinds = []
    for path in [path for path in share.rglob("*") if path.is_file() and path.name != ".lock"]:
        if path.name.startswith("v000001") or path.read_bytes() == b"{}":
            continue
        path.unlink()
        kinds += [fault.kind for fault in Pusher(store, directory).run(last).healed]
        assert led_to(store) == 1
        path.write_bytes(b"garbage")
        kinds += [fault.kind for fault in Pusher(store, directory).run(last).healed]
        assert led_to(store) == 1
    assert (kinds.count("lost"), kinds.count("garbage")) == (6, 6)


def test_something_else_under_our_tag_is_left_alone(store: Store, directory: Path) -> None:
    """Until whoever put it there has taken it away."""
    other = Artifact({"README.md": b"hello"}, {}, "application/vnd.other")
    with pytest.raises(RegistryFault, match="expected application/vnd"):
        push(store, other)
    store.point(LATEST_STABLE, other.digest, None)
    with pytest.raises(RegistryFault) as raised:
        Pusher(store, directory).run("")
    assert raised.value.kind == "garbage"
    pointer = store.pointer(LATEST_STABLE)
    assert pointer is not None
    assert pointer.digest == other.digest


def test_a_model_that_is_not_whole_is_never_pushed(store: Store, directory: Path) -> None:
    """The pointer stays with the version before."""
    Pusher(store, directory).run("")
    add(directory, 2)
    file_of(directory, 2).write_bytes(b"half of it")
    with pytest.raises(CheckpointError, match="its digest is not the one"):
        Pusher(store, directory).run("")
    assert led_to(store) == 1


def test_two_publishers_with_versions_in_the_wrong_order(store: Store, url: str, directory: Path) -> None:
    """While versions come, and some are withdrawn, the pointer ends with the newest stable one."""
    stop = threading.Event()
    failures: list[BaseException] = []

    threads = [threading.Thread(target=_keep_pushing, args=(url, directory, stop, failures)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for seed in range(2, 9):
        add(directory, seed)
        led_to(store)
        if seed % 3 == 0:
            commands.roll_back(directory)
    stop.set()
    for thread in threads:
        thread.join()
    for _ in range(2):
        Pusher(store, directory).run("")
    assert (led_to(store), failures) == (8, [])


def _keep_pushing(url: str, directory: Path, stop: threading.Event, failures: list[BaseException]) -> None:
    pusher, last = Pusher(open_store(Reference.parse(url)), directory), ""
    while not stop.is_set():
        try:
            last = pusher.run(last).pushed or last
        except RegistryFault as fault:
            if fault.kind != "down":  # moved by the other, or, of docker-registry, read while the other writes it
                failures.append(fault)
        except (CheckpointError, OSError):
            continue  # the directory is being changed


def test_a_stale_publisher_does_not_bring_back_what_is_older(store: Store, directory: Path) -> None:
    """One that had looked before, and moves the pointer after, finds that it has moved."""
    stale = Pusher(store, directory)
    outcomes: list[Outcome] = []
    real = store.point

    def late(name: str, digest: str, seen: Any) -> None:
        if not outcomes and name == LATEST_STABLE:
            outcomes.append(Outcome(None))  # type: ignore[arg-type]
            add(directory, 2)
            outcomes.append(Pusher(open_again, directory).run(""))
        real(name, digest, seen)

    open_again = store
    store.point = late  # type: ignore[method-assign]
    done = stale.run("")
    assert outcomes[1].version == 2
    assert (done.version, done.pushed) == (2, "")
    assert led_to(store) == 2


def test_killed_between_any_two_changes_of_a_share(directory: Path, tmp_path: Path) -> None:
    """The pointer leads to a whole stable version at each moment, and the next pass ends what was begun."""
    step, finished = 1, False
    while not finished:
        share = tmp_path / f"share-{step}"
        share.mkdir()
        store = open_store(Reference.parse(share.as_uri()))
        Pusher(store, directory).run("")
        second = tmp_path / f"online-{step}"
        second.mkdir()
        publish_one(second, seed=1)
        add(second, 2)
        finished = completes(partial(Pusher(store, second).run, ""), step, kill)
        assert led_to(store) in {1, 2}
        Pusher(store, second).run("")
        assert led_to(store) == 2
        step += 1
    assert step > 20


def test_the_registry_is_killed_between_any_two_requests(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for docker-registry, which is killed before whichever write."""
    real = requests.Session.send
    first = newer_than(directory, tmp_path)
    with DockerRegistry(tmp_path) as server:
        for number in count(1):
            store = open_store(Reference.parse(f"{server.url}-{number}"))
            Pusher(store, first).run("")
            seen: list[str] = []

            def send(
                session: requests.Session,
                request: requests.PreparedRequest,
                *,
                seen: list[str] = seen,
                number: int = number,
                **options: Any,
            ) -> requests.Response:
                if request.method not in {"GET", "HEAD"}:
                    seen.append(str(request.method))
                    if len(seen) == number:
                        server.kill()
                return real(session, request, **options)

            monkeypatch.setattr(requests.Session, "send", send)
            with suppress(RegistryFault):
                Pusher(store, directory).run("")
            monkeypatch.setattr(requests.Session, "send", real)
            if len(seen) < number:
                break  # that was all
            server.start()
            assert led_to(store) in {1, 2}
            Pusher(store, directory).run("")
            assert led_to(store) == 2
    assert number > 8


@pytest.mark.processes
@pytest.mark.parametrize("kind", [DockerRegistry, S3])
def test_the_publisher_is_killed_between_any_two_writes(
    directory: Path, tmp_path: Path, kind: type[DockerRegistry | S3]
) -> None:
    """A process of its own, by SIGKILL, in place of whichever write to a registry or a bucket."""
    first = newer_than(directory, tmp_path)
    with kind(tmp_path) as server, set_in(server.environment):
        for number in count(1):
            url = f"{server.url}-{number}"
            store = open_store(Reference.parse(url))
            Pusher(store, first).run("")
            command = [sys.executable, "-m", "tests.publisher.dying", url, str(directory), str(number)]
            code = subprocess.run(command, cwd=REPOSITORY, check=False).returncode
            if code == 0:
                break  # that was all
            assert code == -signal.SIGKILL
            assert led_to(store) in {1, 2}
            Pusher(store, directory).run("")
            assert led_to(store) == 2
    assert number > 6


def newer_than(directory: Path, tmp_path: Path) -> Path:
    """Give a directory a second version; return another one that has the first alone."""
    add(directory, 2)
    first = tmp_path / "first"
    first.mkdir()
    add(first, 1)
    return first


def test_a_full_registry_leaves_the_pointer_and_is_caught_up_with(tmp_path: Path, directory: Path) -> None:
    """Once there is room again."""
    with DockerRegistry(tmp_path) as server:
        store = open_store(Reference.parse(server.url))
        Pusher(store, directory).run("")
        add(directory, 2)
        server.kill()
        server.room = 1  # no file may be larger than 512 bytes
        server.start()
        with pytest.raises(RegistryFault):
            Pusher(store, directory).run("")
        server.kill()
        server.room = 0
        server.start()
        assert led_to(store) == 1
        assert Pusher(store, directory).run("").version == 2
        assert led_to(store) == 2


def test_models_name_what_they_are(store: Store, directory: Path) -> None:
    """Version, time, model and base model stand in the manifest, for those who look from outside."""
    digest = Pusher(store, directory).run("").pushed
    said: Callable[[str], str] = manifest_of(store, digest).annotations.__getitem__
    assert said("org.opencontainers.image.version") == "v000001"
    assert said(MODEL_SHA256) in file_of(directory, 1, ".onnx.sha256").read_text()
