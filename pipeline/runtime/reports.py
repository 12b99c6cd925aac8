"""What each process tells the others: one report a role, written by that role alone, read by anybody.

Times called `*_at` are Unix seconds; `started` and `heartbeat` are seconds of the system's monotonic clock, which is
the same in all processes. Counters only grow.
"""

from __future__ import annotations

import os
import time
from typing import Generic, TypeVar

import msgspec

from pipeline.runtime import kernel
from pipeline.shm.atomics import CACHE_LINE, AtomicInt64
from pipeline.shm.mailbox import Mailbox, Torn
from pipeline.shm.segment import Layout, Segment

ROLES = ("ingest", "trainer", "exporter", "archive", "publisher", "uplink", "monitor")
KIND = "reports"
UNTRAINED = "untrained network"
"""What `TrainerReport.base_model` is where the settings name no file."""
# The largest report there is room for, in bytes.
REPORT_CAPACITY = 16384
# A role's place: a word that says whether it waits to be rung for, then its report.
_PLACE = CACHE_LINE + Mailbox.size(REPORT_CAPACITY)


class Report(msgspec.Struct, kw_only=True):
    """What every role reports.

    `phase` is a word or two; `problem` says in a line what is wrong, empty when nothing is. With `pid`, `born` (clock
    ticks since boot) is what no other process has. All of these are of one life of the role; `lives` counts these, and
    it and what a role adds to its report go on over them.
    """

    role: str = ""
    pid: int = 0
    born: int = 0
    lives: int = 0
    short_lives: int = 0
    started: float = 0.0
    started_at: float = 0.0
    heartbeat: float = 0.0
    phase: str = "starting"
    problem: str = ""


class IngestReport(Report, kw_only=True):
    """What ingest reports: connections now and in all, samples by outcome, refusals by reason.

    `archiving` says whether accepted lines are copied for the archive. `forgotten` counts samples that were answered
    and not stored, since `forget` has removed them before.

    In a pool samples come from the fleet, and more is said of that: `stream` is where from, `unread` messages are in it
    that were not taken yet, from `senders` samples have come; `over_quota` were more than one sender may send, `lost`
    had left the stream before they were read. `distrusted` are the senders from which nothing is learned, by name.
    """

    socket: str = ""
    n_features: int = 0
    capacity: int = 0
    connections: int = 0
    connections_total: int = 0
    connections_refused: int = 0
    connections_waiting: int = 0
    accepted: int = 0
    resent: int = 0
    forgotten: int = 0
    rejected: dict[str, int] = {}
    archiving: bool = False
    bytes_received: int = 0
    stream: str = ""
    unread: int = 0
    senders: int = 0
    over_quota: int = 0
    lost: int = 0
    distrusted: list[str] = []
    failing: str = ""
    failing_since: float = 0.0


class TrainerReport(Report, kw_only=True):
    """What the trainer reports. `metrics` holds the learning figures by name; NaN where there is none yet.

    `start` is the first sample that this training uses, `restored` how many the ring began with. `orders` is
    what operators have put in force, a line each, as many as fit; `orders_in_force` counts all of them by kind.
    `excluded` counts the samples left out since they are quarantined, or, in a pool, make no sense. `target_changes`
    counts how often samples from before a change of the target were dropped. `distrusted` are, in a pool, hashes of the
    nodes from which nothing is learned, since their scores do not fit those of the others.
    """

    device: str = ""
    device_note: str = ""
    base_model: str = ""
    base_digest: str = ""
    base_before: str = ""
    learner: str = ""
    recipe: str = ""
    step: int = 0
    cursor: int = 0
    start: int = 0
    restored: int = 0
    lag: int = 0
    evicted_untrained: int = 0
    loss: float | None = None
    steps_undone: int = 0
    rollbacks: int = 0
    drift_events: int = 0
    target_changes: int = 0
    reservoir_rows: int = 0
    holdout_rows: int = 0
    cpu_share: float = 0.0
    metrics: dict[str, float] = {}
    orders: list[str] = []
    orders_in_force: dict[str, int] = {}
    excluded: int = 0
    distrusted: list[int] = []


class ExporterReport(Report, kw_only=True):
    """What the exporter reports: the newest checkpoint and its verdict, how many by state, failures by kind.

    `offer` says in a line what became of the last model that was offered from elsewhere, or what it waits for; `offers`
    counts them by outcome. `latest_origin`: where the newest checkpoint comes from, empty for this training.
    """

    directory: str = ""
    version: int = 0
    latest: str = ""
    latest_state: str = ""
    latest_reason: str = ""
    latest_origin: str = ""
    stable_version: int = 0
    announced: str = ""
    checkpoint_at: float = 0.0
    samples_at_checkpoint: int = 0
    published: dict[str, int] = {}
    failures: dict[str, int] = {}
    offer: str = ""
    offers: dict[str, int] = {}
    export_seconds: float = 0.0
    state_saved_at: float = 0.0
    state_save_seconds: float = 0.0


class ArchiveReport(Report, kw_only=True):
    """What the archive reports: samples in it, samples that it has missed, what waits to be written, failures by kind.

    `waiting_bytes` of the ring of bytes, of `buffer_bytes`, are in no file yet. `files` and `size` are of the whole
    directory, when it was last looked through; `removed` counts the files that had become too old or too many.
    """

    directory: str = ""
    archived: int = 0
    missed: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
    buffer_bytes: int = 0
    written_at: float = 0.0
    write_seconds: float = 0.0
    files: int = 0
    size: int = 0
    removed: int = 0
    failures: dict[str, int] = {}


class PublisherReport(Report, kw_only=True):
    """What the publisher reports: what it has pushed to the registry, and what is wrong with that, by kind.

    `pushed` is the digest that names the model which was pushed last, `pointed` the one that latest-stable leads to,
    and `pointed_version` its version, 0 for none.
    `waiting_since`: since when a stable version is not there; 0 for none. `offered` is the model that the registry had
    for an empty directory, `newer_base` the one that the tag of the base model leads to now, where that has moved.
    Of a pool, `announced` is the model that its fleet is told of, and `announcing_failing` what is wrong with that.
    """

    registry: str = ""
    pushed: str = ""
    pushed_version: int = 0
    pushed_at: float = 0.0
    pushes: int = 0
    pointed: str = ""
    pointed_version: int = 0
    waiting_since: float = 0.0
    failing: str = ""
    failing_since: float = 0.0
    failures: dict[str, int] = {}
    offered: str = ""
    newer_base: str = ""
    announced: str = ""
    announcing_failing: str = ""
    announcing_failing_since: float = 0.0
    announcing_failures: dict[str, int] = {}


class UplinkReport(Report, kw_only=True):
    """What the uplink reports: what it has sent to the fleet, and what the fleet's newest model is.

    Everything before sample `cursor` of ring `ring` is sent and acknowledged, or left out: `left_out` samples were more
    than the quota, or are not to be shared; `missed` were written over in the ring before they could be sent. `behind`
    samples are not looked at yet. `announced` is the digest of the pool's newest model, `offered` that of the one which
    was put before the gate last; `model_failures` counts what kept one from that, by kind.
    """

    fleet: str = ""
    node: str = ""
    ring: int = 0
    cursor: int = 0
    sent: int = 0
    left_out: int = 0
    missed: int = 0
    behind: int = 0
    sent_at: float = 0.0
    failing: str = ""
    failing_since: float = 0.0
    failures: dict[str, int] = {}
    announced: str = ""
    offered: str = ""
    model_failures: dict[str, int] = {}


class MonitorReport(Report, kw_only=True):
    """What the monitor reports: where it answers HTTP in this life, and restarts by role."""

    http: str = ""
    restarts: dict[str, int] = {}


R = TypeVar("R", bound=Report)
_TYPES: dict[str, type[Report]] = {
    "ingest": IngestReport,
    "trainer": TrainerReport,
    "exporter": ExporterReport,
    "archive": ArchiveReport,
    "publisher": PublisherReport,
    "uplink": UplinkReport,
    "monitor": MonitorReport,
}


_FIELDS = {each.name: each.default for each in msgspec.structs.fields(Report)}
_OF_ONE_LIFE = {name: default for name, default in _FIELDS.items() if name not in {"role", "lives"}}


def rfc3339(at: float) -> str:
    """Return a Unix time as RFC 3339 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def between_lives(report: R) -> R:
    """Return what goes on of a report where no process of the role runs: nothing that is of one life alone."""
    goes_on = msgspec.structs.replace(report, **_OF_ONE_LIFE)
    if isinstance(goes_on, MonitorReport):
        goes_on.http = ""
    return goes_on


def restored(role: str, payload: bytes) -> bytes | None:
    """Return what goes on of a saved report of `role`, as for its mailbox; None where this version cannot read it."""
    try:
        report = msgspec.msgpack.decode(payload, type=_TYPES[role])
    except msgspec.DecodeError:
        return None
    return msgspec.msgpack.encode(between_lives(report))


def layout() -> Layout:
    """Return the layout of the reports region."""
    return Layout(KIND, (len(ROLES), REPORT_CAPACITY, _PLACE), len(ROLES) * _PLACE)


class Board:
    """The reports region: for each role one mailbox, and a word for its bell."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        places = {role: segment.body[i * _PLACE : (i + 1) * _PLACE] for i, role in enumerate(ROLES)}
        self._boxes = {role: Mailbox(place[CACHE_LINE:], REPORT_CAPACITY) for role, place in places.items()}
        self._waiting = {role: AtomicInt64(place, 0) for role, place in places.items()}

    def box(self, role: str) -> Mailbox:
        """Return the mailbox of `role`."""
        return self._boxes[role]

    def waiting(self, role: str) -> AtomicInt64:
        """Return the word that is 1 while `role` waits to be rung for; written by that role alone."""
        return self._waiting[role]

    def read(self, role: str, kind: type[R]) -> R:
        """Return the latest report of `role`; one with default values where there is none that this version reads."""
        try:
            letter = self._boxes[role].read()
            return kind() if letter is None else msgspec.msgpack.decode(letter.payload, type=kind)
        except (Torn, msgspec.DecodeError):
            return kind()

    def ingest(self) -> IngestReport:
        """Return ingest's latest report."""
        return self.read("ingest", IngestReport)

    def trainer(self) -> TrainerReport:
        """Return the trainer's latest report."""
        return self.read("trainer", TrainerReport)

    def exporter(self) -> ExporterReport:
        """Return the exporter's latest report."""
        return self.read("exporter", ExporterReport)

    def archive(self) -> ArchiveReport:
        """Return the archive's latest report."""
        return self.read("archive", ArchiveReport)

    def publisher(self) -> PublisherReport:
        """Return the publisher's latest report."""
        return self.read("publisher", PublisherReport)

    def uplink(self) -> UplinkReport:
        """Return the uplink's latest report."""
        return self.read("uplink", UplinkReport)

    def monitor(self) -> MonitorReport:
        """Return the monitor's latest report."""
        return self.read("monitor", MonitorReport)


class Follower(Generic[R]):
    """Another role's report, decoded again only when there is a newer one."""

    def __init__(self, board: Board, role: str, kind: type[R]) -> None:
        self._board, self._role, self._kind = board, role, kind
        self._box = board.box(role)
        self._version = -1
        self.report: R = kind()

    def refresh(self) -> bool:
        """Take in a newer report, if there is one; return whether there was."""
        version = self._box.version
        if version == self._version:
            return False
        self.report = self._board.read(self._role, self._kind)
        self._version = version
        return True


class Reporter(Generic[R]):
    """A role's own report. Counters go on from the life before; `beat` publishes, at most every `interval` seconds."""

    def __init__(self, board: Board, role: str, kind: type[R], interval: float = 0.05) -> None:
        self._box = board.box(role)
        self._encode = msgspec.msgpack.Encoder().encode
        self._interval = interval
        self._published = 0.0
        self.previous = board.read(role, kind)
        self.report = msgspec.structs.replace(
            between_lives(self.previous),
            role=role,
            pid=os.getpid(),
            born=kernel.look_at(os.getpid()).born,
            lives=self.previous.lives + 1,
            started=time.monotonic(),
            started_at=time.time(),
            heartbeat=time.monotonic(),
        )

    @property
    def due_in(self) -> float:
        """Seconds until the last publication is old enough for another; not above 0 where it is."""
        return self._published + self._interval - time.monotonic()

    @property
    def due(self) -> bool:
        """Whether the last publication is old enough for another."""
        return self.due_in <= 0

    def beat(self) -> None:
        """Publish the report as a sign of progress, if that is due."""
        if self.due:
            self.publish()

    def publish(self) -> None:
        """Publish the report as it is now."""
        self._published = self.report.heartbeat = time.monotonic()
        self._box.publish(self._encode(self.report))
