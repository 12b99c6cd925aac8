"""What operators have ordered: pause, freeze, reset, quarantine, and models and samples that must not come back.

`control.json` in the state directory holds what is in force, `control.log` who ordered what, when and why. Commands
change both under a lock, whether or not a sidecar runs, and publish what is in force in the region `control`: the one
who holds the lock is its only writer. So whoever follows it never waits for a disk, except at a start without a region.
"""

from __future__ import annotations

import math
import os
import pwd
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from pipeline.config import Settings
from pipeline.runtime import locks, regions
from pipeline.runtime.durable import remove_leftovers, sync_directory, write_durably
from pipeline.runtime.reports import rfc3339
from pipeline.shm.exclusion import Exclusion
from pipeline.shm.segment import SegmentError

FILE, LOG = "control.json", "control.log"
REGION = "control"
ORDERS = ("paused", "frozen", "quarantine", "withdrawn", "forgotten")
"""Kinds of orders that stay in force until they are lifted."""
FORGOTTEN = 1000
"""So many rules on samples that must not come back are kept, the newest."""
CAPACITY = 1 << 18
"""Bytes of orders in force that there is room for; the weights of a reset come on top."""

_PATIENCE_S = 5.0


class ControlError(Exception):
    """The orders cannot be read or changed; the message says why."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One command of an operator. `at` is RFC 3339 in UTC, `user` a name or id, `text` the command as given."""

    number: int
    at: str
    user: str
    text: str
    reason: str = ""


class Reset(msgspec.Struct, frozen=True, kw_only=True):
    """Start over from `to`: "base" or a version. Followed once by each training, which knows it by its number."""

    number: int
    to: str
    forget_samples: bool = False
    base_digest: str = ""


class Quarantine(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that are not learned from: of a group, of a node (names and their hashes), of a time (Unix seconds)."""

    number: int
    group: str = ""
    group_hash: int | None = None
    node: str = ""
    node_hash: int | None = None
    since: float | None = None
    until: float | None = None


class Withdrawn(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint that was rolled back: neither it nor one that predicts the same may become stable again."""

    number: int
    version: int
    sha256: str
    base_digest: str


class Forgotten(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Samples that were forgotten: those that all these hashes of names fit.

    `until`: of them only those captured before this Unix time, and, where a name is given, those of which it is not
    known when they were; None: whenever.
    """

    job: int | None = None
    tenant: int | None = None
    group: int | None = None
    node: int | None = None
    until: float | None = None

    def names(self) -> tuple[tuple[str, int | None], ...]:
        """Return the names' hashes by column of a row, None for any."""
        return ("job", self.job), ("group", self.group), ("tenant", self.tenant), ("node", self.node)


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force after order `number`; `paused` and `frozen` are the orders that said so."""

    number: int = 0
    paused: Order | None = None
    frozen: Order | None = None
    reset: Reset | None = None
    quarantines: tuple[Quarantine, ...] = ()
    withdrawn: tuple[Withdrawn, ...] = ()
    forgotten: tuple[Forgotten, ...] = ()
    last: Order | None = None

    def with_forgotten(self, rule: Forgotten) -> Control:
        """Return the orders with a rule on forgotten samples; what there was for the same names becomes part of it."""
        untils = [each.until for each in (*self.forgotten, rule) if each.names() == rule.names()]
        known = [until for until in untils if until is not None]
        wider = msgspec.structs.replace(rule, until=max(known) if len(known) == len(untils) else None)
        others = tuple(each for each in self.forgotten if each.names() != rule.names())
        return msgspec.structs.replace(self, forgotten=(*others, wider)[-FORGOTTEN:])

    def without_forgotten(self, rule: Forgotten) -> Control:
        """Return the orders without the rule on these names. Raises ControlError where there is none."""
        others = tuple(each for each in self.forgotten if each.names() != rule.names())
        if others == self.forgotten:
            raise ControlError("no such samples are kept out; vmafx-sidecar forget --list shows which are")
        return msgspec.structs.replace(self, forgotten=others)

    def lines(self) -> list[str]:
        """Return what is in force, for people, a line each."""
        told = [f"{what} by {o.user} at {o.at}" + (f": {o.reason}" if o.reason else "") for what, o in self._switches()]
        told += [f"quarantine {each.number}: {describe(each)}" for each in self.quarantines]
        told += [f"withdrawn {each.number}: version {each.version}" for each in self.withdrawn]
        rules = f"forgotten: rules on samples, {len(self.forgotten)} in all; vmafx-sidecar forget --list shows them"
        return told + ([rules] if self.forgotten else [])

    def counts(self) -> dict[str, int]:
        """Return how many orders are in force, by kind."""
        several = (len(self.quarantines), len(self.withdrawn), len(self.forgotten))
        in_force = (int(self.paused is not None), int(self.frozen is not None), *several)
        return dict(zip(ORDERS, in_force, strict=True))

    def _switches(self) -> list[tuple[str, Order]]:
        switches = (("paused", self.paused), ("frozen", self.frozen))
        return [(what, order) for what, order in switches if order is not None]


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What the region holds: the orders in force, and float32 weights of the reset where it is not to the base."""

    control: Control = Control()
    weights: bytes = b""


def describe(each: Quarantine) -> str:
    """Return which rows a quarantine is of."""
    parts = [f"group {each.group}"] if each.group_hash is not None else []
    parts += [f"node {each.node}"] if each.node_hash is not None else []
    parts += [f"{word} {rfc3339(at)}" for word, at in (("since", each.since), ("until", each.until)) if at is not None]
    return ", ".join(parts)


def describe_forgotten(each: Forgotten) -> str:
    """Return which samples are kept out, by the hashes of their names."""
    names = [f"{column} 0x{name:016x}" for column, name in each.names() if name is not None]
    told = "" if each.until is None else f"captured before {rfc3339(each.until)}"
    unknown = ", or nobody knows when" if names and told else ""
    return ", ".join([*names, *([told + unknown] if told else [])])


def exclusions(control: Control) -> list[Exclusion]:
    """Return the rows that are quarantined."""
    return [_exclusion(each) for each in control.quarantines]


def _exclusion(each: Quarantine) -> Exclusion:
    since = -math.inf if each.since is None else each.since
    until = math.inf if each.until is None else each.until
    return Exclusion(each.group_hash, each.node_hash, since, until)


def read(directory: Path) -> Published:
    """Return what is in force by the files in a state directory; nothing where there are none. Raises ControlError."""
    path = directory / FILE
    try:
        encoded = path.read_bytes()
    except FileNotFoundError:
        return Published()
    except OSError as error:
        raise ControlError(f"{path}: {error.strerror}") from None
    try:
        control = msgspec.json.decode(encoded, type=Control)
        return Published(control=control, weights=_weights(directory, control))
    except OSError as error:
        raise ControlError(f"{error.filename}: {error.strerror}, which {FILE} needs") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ControlError(f"{path}: {error}") from None


def history(directory: Path) -> list[Order]:
    """Return all orders ever given, oldest first. Raises ControlError."""
    path = directory / LOG
    try:
        lines = path.read_bytes().splitlines() if path.exists() else []
    except OSError as error:
        raise ControlError(f"{path}: {error.strerror}") from None
    orders = [order for line in lines if (order := _order(line)) is not None]
    last = read(directory).control.last
    if last is not None and (not orders or orders[-1].number < last.number):
        orders.append(last)  # its command was killed before it had written it down
    return orders


def change(
    settings: Settings, text: str, reason: str, alter: Callable[[Control, Order], Control], weights: bytes = b""
) -> Control:
    """Put an order in force: durably, then for the processes that run. Returns what is in force now.

    `alter` makes what is in force of what was, and writes what that needs beside it; other commands wait meanwhile.

    Raises ControlError, or OSError where the disk refuses: nothing has changed then.
    """
    directory = settings.state_dir
    if not directory.is_dir():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _give(directory, directory.parent.stat())
    with locks.taken(directory / f".{FILE}.lock", _PATIENCE_S):
        for name in (f"{FILE}.*", "reset-*", "withdrawn-*"):
            remove_leftovers(directory, name)
        before = read(directory)
        order = Order(number=before.control.number + 1, at=rfc3339(time.time()), user=_user(), text=text, reason=reason)
        altered = alter(before.control, order)
        control = msgspec.structs.replace(altered, number=order.number, last=order)
        encoded = msgspec.json.format(msgspec.json.encode(control), indent=2) + b"\n"
        if len(encoded) > CAPACITY:
            raise ControlError(f"{directory / FILE}: no room for more orders; lift some")
        _write_down(directory, before.control.last)
        if control.reset is None or control.reset.number != order.number:
            weights = before.weights
        elif weights:
            write_durably(directory / _weights_name(order.number), weights, mode=0o600)
        write_durably(directory / FILE, encoded, mode=0o600)
        _write_down(directory, order)
        _leave_to_its_user(directory)
        _remove_unused(directory, control)
        _tell(settings, Published(control=control, weights=weights))
    return control


def reword(settings: Settings, words: Callable[[str], str]) -> int:
    """Change the texts of all orders, in force or of the past, and the names of quarantines; return of how many.

    What they do stays the same. Raises ControlError or OSError.
    """
    directory = settings.state_dir
    if not (directory / FILE).exists():
        return 0
    with locks.taken(directory / f".{FILE}.lock", _PATIENCE_S):
        published = read(directory)
        control = _reworded(published.control, words)
        if control != published.control:
            write_durably(
                directory / FILE, msgspec.json.format(msgspec.json.encode(control), indent=2) + b"\n", mode=0o600
            )
        given = history(directory)
        changed = [_order_reworded(each, words) for each in given]
        if changed != given:
            write_durably(directory / LOG, b"".join(msgspec.json.encode(each) + b"\n" for each in changed), mode=0o600)
        _leave_to_its_user(directory)
        try:
            mailbox, _ = regions.attach_mailbox(settings, REGION)
        except SegmentError:
            pass
        else:
            mailbox.publish_alone(msgspec.msgpack.encode(msgspec.structs.replace(published, control=control)))
    return sum(one != other for one, other in zip(given, changed, strict=True))


def _reworded(control: Control, words: Callable[[str], str]) -> Control:
    orders = {
        name: _order_reworded(each, words) for name in ("paused", "frozen", "last") if (each := getattr(control, name))
    }
    quarantines = tuple(
        msgspec.structs.replace(
            each,
            group=words(f"group {each.group}").removeprefix("group "),
            node=words(f"node {each.node}").removeprefix("node "),
        )
        for each in control.quarantines
    )
    return msgspec.structs.replace(control, **orders, quarantines=quarantines)


def _order_reworded(order: Order, words: Callable[[str], str]) -> Order:
    return msgspec.structs.replace(order, text=words(order.text), reason=words(order.reason))


def _tell(settings: Settings, published: Published) -> None:
    """Publish what is in force for a sidecar that is there, and wake its trainer; the exporter looks at each export."""
    try:
        board = regions.attach_board(settings.instance_name)
    except SegmentError:
        return
    if board.exporter().directory not in {"", str(settings.checkpoint_dir)}:
        return  # it follows the orders of another directory
    _publish(settings, published)
    bell = regions.bell(settings, board, "trainer")
    bell.ring()
    bell.close()


def _publish(settings: Settings, published: Published) -> None:
    payload = msgspec.msgpack.encode(published)
    mailbox, opened = regions.own_mailbox(settings, REGION, max(CAPACITY, len(payload)))
    mailbox.publish(payload)
    opened.segment.close()


class Orders:
    """Follows what is in force. Where there is no region (any more), it is made from the file.

    Raises ControlError where the file cannot be read for some seconds: what is in force is then not known.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._mailbox = regions.MailboxFollower(settings, REGION)
        self._published = Published()
        self.refresh()

    @property
    def control(self) -> Control:
        """What is in force."""
        return self._published.control

    @property
    def weights(self) -> bytes:
        """The weights of the reset in force, float32[n_parameters]; empty for the base model's."""
        return self._published.weights

    @property
    def is_news(self) -> bool:
        """Whether there are newer orders than those taken in."""
        return self._mailbox.has_newer

    def refresh(self) -> bool:
        """Take in newer orders, if there are any; return whether there were."""
        if not self._mailbox.attach():
            self._make_region()
        newest = self._mailbox.newer()
        try:
            if newest is not None:
                self._published = msgspec.msgpack.decode(newest.payload, type=Published)
        except msgspec.DecodeError:  # of another release of this program
            return False
        return newest is not None

    def _make_region(self) -> None:
        directory = self._settings.state_dir
        try:
            with locks.taken(directory / f".{FILE}.lock", _PATIENCE_S):
                _publish(self._settings, read(directory))
        except BlockingIOError:
            raise
        except OSError:  # there is no such directory yet, or a disk that takes no lock: nobody can give an order either
            _publish(self._settings, read(directory))


def _write_down(directory: Path, order: Order | None) -> None:
    """Append an order to the log, unless it is there."""
    path = directory / LOG
    if order is None or any(known.number >= order.number for known in _logged(path)):
        return
    with open(path, "ab", opener=lambda name, flags: os.open(name, flags | os.O_CLOEXEC, 0o600)) as file:
        file.write(msgspec.json.encode(order) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    sync_directory(directory)


def _logged(path: Path) -> list[Order]:
    lines = path.read_bytes().splitlines()[-1:] if path.exists() else []
    return [order for line in lines if (order := _order(line)) is not None]


def _order(line: bytes) -> Order | None:
    try:
        return msgspec.json.decode(line, type=Order)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # its command was killed while writing it


def withdrawn_model(directory: Path, each: Withdrawn) -> Path:
    """Return where the model of a withdrawn checkpoint is kept, to recognise it by."""
    return directory / f"withdrawn-{each.version:06d}-{each.sha256[:16]}.onnx"


def _weights_name(number: int) -> str:
    return f"reset-{number:06d}.f32"


def _weights(directory: Path, control: Control) -> bytes:
    if control.reset is None or control.reset.to == "base":
        return b""
    return (directory / _weights_name(control.reset.number)).read_bytes()


def _remove_unused(directory: Path, control: Control) -> None:
    """Remove weights and models that no order in force needs."""
    wanted = {withdrawn_model(directory, each) for each in control.withdrawn}
    if control.reset is not None:
        wanted.add(directory / _weights_name(control.reset.number))
    for path in (*directory.glob("reset-*.f32"), *directory.glob("withdrawn-*.onnx")):
        if path not in wanted:
            path.unlink(missing_ok=True)


def _leave_to_its_user(directory: Path) -> None:
    """Let the user whose state this is read and change what root has ordered."""
    ours = (directory / FILE, directory / LOG, directory / f".{FILE}.lock")
    for path in (*ours, *directory.glob("reset-*"), *directory.glob("withdrawn-*")):
        _give(path, directory.stat())


def _give(path: Path, to: os.stat_result) -> None:
    if os.geteuid() == 0 != to.st_uid:
        os.chown(path, to.st_uid, to.st_gid, follow_symlinks=False)


def _user() -> str:
    user = os.getuid()
    try:
        return f"{pwd.getpwuid(user).pw_name} ({user})"
    except KeyError:
        return str(user)
