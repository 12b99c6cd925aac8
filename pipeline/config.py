"""Every setting of the sidecar: one table, read once from the environment, typed and validated.

The names are those that charts and scripts set. `load` lists every problem at once, so that an operator can correct
them at once.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from pipeline.artifacts.reference import EXPECTED, Reference, is_url, without_secrets

PREFIX = "VMAFX_"

POOL_DEFAULTS = {
    "VMAFX_SIDECAR_REPLAY_CAPACITY": "100000",
    "VMAFX_SIDECAR_RESERVOIR_CAPACITY": "100000",
    "VMAFX_SIDECAR_HOLDOUT_CAPACITY": "20000",
}
"""What counts in a pool where nothing else is set: it learns from more than a sidecar does."""


class ConfigError(Exception):
    """The environment holds values that cannot be used; `problems` has one line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class _Expected(ValueError):
    """A value does not parse; the message says what was expected."""


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        expected = _Expected(f"an integer from {low} to {high}")
        try:
            value = int(text)
        except ValueError:
            raise expected from None
        if not low <= value <= high:
            raise expected
        return value

    return parse


def _number(low: float, high: float, *, above: bool = False, below: bool = False) -> Callable[[str], float]:
    def parse(text: str) -> float:
        bounds = f"{'above' if above else 'from'} {low:g} {'and below' if below else 'to'} {high:g}"
        expected = _Expected(f"a number {bounds}")
        try:
            value = float(text)
        except ValueError:
            raise expected from None
        inside = (value > low if above else value >= low) and (value < high if below else value <= high)
        if not (math.isfinite(value) and inside):
            raise expected
        return value

    return parse


def _choice(*names: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in names:
            raise _Expected("one of " + ", ".join(names))
        return text.lower()

    return parse


def _flag(text: str) -> bool:
    words = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    if text.lower() not in words:
        raise _Expected("0 or 1")
    return words[text.lower()]


def _absolute_path(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute() or "\0" in text:
        raise _Expected("an absolute path")
    return path


def _optional_path(text: str) -> Path | None:
    return _absolute_path(text) if text else None


def _registry(text: str) -> Reference | None:
    try:
        registry = Reference.parse(text) if text else None
    except ValueError:
        raise _Expected(EXPECTED) from None
    if registry is not None and registry.names_a_model:
        raise _Expected("a registry, without a tag or digest")
    return registry


def _model(text: str) -> Path | Reference | None:
    if not is_url(text):
        return _optional_path(text)
    try:
        model = Reference.parse(text)
    except ValueError:
        raise _Expected(f"an absolute path, or {EXPECTED}") from None
    if not model.names_a_model:
        raise _Expected("a tag or a digest at the end of the URL, such as :v1")
    return model


def _socket_path(text: str) -> Path:
    path = _absolute_path(text)
    if len(os.fsencode(path)) > 107:
        raise _Expected("an absolute path of at most 107 bytes, the limit of a Unix socket")
    return path


def _octal_mode(text: str) -> int:
    expected = _Expected("an octal mode such as 0600 or 0660, without rights for others")
    try:
        mode = int(text, 8)
    except ValueError:
        raise expected from None
    if mode & ~0o770 or not mode & 0o600:
        raise expected
    return mode


def _name(text: str) -> str:
    if text and not (len(text) <= 64 and text.replace("-", "").replace("_", "").isalnum() and text.isascii()):
        raise _Expected("at most 64 letters, digits, - and _")
    return text


def _token(text: str) -> str:
    if not text:
        raise _Expected("at most 64 letters, digits, - and _")
    return _name(text)


def _fleet(text: str) -> tuple[str, ...]:
    servers = tuple(part.strip() for part in text.split(",") if part.strip())
    if not all(map(_is_server, servers)):
        raise _Expected("nats://HOST:PORT or tls://HOST:PORT, more of them separated by commas")
    return servers


def _is_server(text: str) -> bool:
    """Whether a text is the address of a NATS server, and nothing besides."""
    found = re.fullmatch(r"(?:nats|tls)://(?:[\w.-]+|\[[\dA-Fa-f:.]+\])(?::(\d+))?", text, re.ASCII)
    return found is not None and 0 < int(found[1] or 1) < 65536


def _uids(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({_integer(0, 2**32 - 2)(part) for part in text.replace(" ", "").split(",") if part}))
    except _Expected:
        raise _Expected("user ids separated by commas, such as 0,1000") from None


def _tenants(text: str) -> tuple[str, ...]:
    return tuple(sorted({part.strip() for part in text.split(",") if part.strip()}))


def _address(text: str) -> tuple[str, int] | None:
    if text.lower() == "off":
        return None
    host, _, port = text.rpartition(":")
    expected = _Expected("HOST:PORT such as 127.0.0.1:9091, or off")
    if not host:
        raise expected
    try:
        return host.strip("[]"), _integer(0, 65535)(port)
    except _Expected:
        raise expected from None


def parse_scale(text: str) -> tuple[float, float]:
    """Read the ends of a scale; ValueError says what was expected."""
    low, dash, high = text.partition("-")
    expected = _Expected("a scale LOW-HIGH such as 1-5 or 0-100")
    try:
        ends = _number(0, 1e6)(low), _number(0, 1e6)(high)
    except _Expected:
        raise expected from None
    if not (dash and ends[0] < ends[1]):
        raise expected
    return ends


def _hosts(text: str) -> tuple[str, ...]:
    names = tuple(sorted({part.strip().lower().rstrip(".") for part in text.split(",") if part.strip()}))
    if not all(name and name.replace("-", "").replace("_", "").replace(".", "").isalnum() for name in names):
        raise _Expected("host names separated by commas, such as sidecar,sidecar.encoders.svc")
    return names


def is_utf8(text: str) -> bool:
    """Whether text of the environment or the command line was UTF-8: Python puts surrogates where bytes are not."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _utf8(text: str) -> str:
    if not is_utf8(text):
        raise _Expected("text in UTF-8")
    return text


def _setting(name: str, default: str, parse: Callable[[str], Any], about: str) -> Any:
    return field(metadata={"name": name, "default": default, "parse": parse, "about": about})


@dataclass(frozen=True, slots=True)
class Settings:
    """The effective settings; field metadata holds the variable's name, its default as text, and what it is for."""

    socket: Path = _setting(
        "VMAFX_SIDECAR_SOCKET",
        "/tmp/vmafx-sidecar.sock",
        _socket_path,
        "Unix socket that nodes connect to",
    )
    socket_mode: int = _setting("VMAFX_SIDECAR_SOCKET_MODE", "0600", _octal_mode, "permissions of the socket")
    socket_group: str = _setting("VMAFX_SIDECAR_SOCKET_GROUP", "", _name, "group (name or id) of the socket")
    allowed_uids: tuple[int, ...] = _setting(
        "VMAFX_SIDECAR_ALLOWED_UIDS", "", _uids, "user ids that may connect; empty: all that the mode allows"
    )
    base_model: Path | Reference | None = _setting(
        "VMAFX_BASE_MODEL_PATH",
        "",
        _model,
        "ONNX model (or .pt/.pth state dict) to fine-tune: a path, or a URL in a registry; empty: an untrained network",
    )
    checkpoint_dir: Path = _setting(
        "VMAFX_SIDECAR_CHECKPOINT_DIR",
        "/mnt/vmafx-models/online",
        _absolute_path,
        "directory where checkpoints are published",
    )
    registry: Reference | None = _setting(
        "VMAFX_REGISTRY_URL",
        "",
        _registry,
        "registry that stable checkpoints are pushed to, such as oci://HOST/REPOSITORY; empty: none",
    )
    registry_sign_key: Path | None = _setting(
        "VMAFX_REGISTRY_SIGN_KEY", "", _optional_path, "private key (Ed25519, PEM) that signs what is pushed"
    )
    registry_public_key: Path | None = _setting(
        "VMAFX_REGISTRY_PUBLIC_KEY",
        "",
        _optional_path,
        "public key (Ed25519, PEM): nothing is taken from a registry that it has not signed",
    )
    fleet: tuple[str, ...] = _setting(
        "VMAFX_FLEET_URL",
        "",
        _fleet,
        "NATS servers of the fleet, such as tls://HOST:4222; empty: no fleet",
    )
    fleet_tenant: str = _setting(
        "VMAFX_FLEET_TENANT", "default", _token, "tenant of the fleet that this is of: one training each"
    )
    fleet_node: str = _setting(
        "VMAFX_FLEET_NODE", "", _name, "name of this sidecar in the fleet; empty: the host's name"
    )
    fleet_key: Path | None = _setting(
        "VMAFX_FLEET_KEY", "", _optional_path, "file with the seed of the NATS key (nkey) of this sidecar or pool"
    )
    fleet_ca: Path | None = _setting(
        "VMAFX_FLEET_CA", "", _optional_path, "certificate (PEM) that the servers' certificates are checked with"
    )
    fleet_quota: float = _setting(
        "VMAFX_FLEET_QUOTA",
        "20",
        _number(0, 1e6, above=True),
        "samples a second that a sidecar sends, and that the pool takes of one",
    )
    fleet_registry: Reference | None = _setting(
        "VMAFX_FLEET_REGISTRY_URL", "", _registry, "registry that the pool's models are taken from; empty: none are"
    )
    fleet_replicas: int = _setting(
        "VMAFX_FLEET_REPLICAS", "1", _integer(1, 5), "servers that each sample of the stream is stored on"
    )
    fleet_days: float = _setting(
        "VMAFX_FLEET_DAYS", "7", _number(0, 3650, above=True), "days after which the stream drops samples"
    )
    fleet_bytes: int = _setting(
        "VMAFX_FLEET_BYTES", "1073741824", _integer(1 << 20, 2**60), "bytes above which the stream drops the oldest"
    )
    pool: str = _setting(
        "VMAFX_POOL",
        "",
        _name,
        "name of the pool that this is; set by `vmafx-sidecar pool run --name`; empty: a sidecar",
    )
    replay_capacity: int = _setting(
        "VMAFX_SIDECAR_REPLAY_CAPACITY",
        "10000",
        _integer(64, 10_000_000),
        "samples in the ring, first in first out",
    )
    reservoir_capacity: int = _setting(
        "VMAFX_SIDECAR_RESERVOIR_CAPACITY",
        "10000",
        _integer(64, 10_000_000),
        "samples kept from the whole past",
    )
    holdout_capacity: int = _setting(
        "VMAFX_SIDECAR_HOLDOUT_CAPACITY",
        "4096",
        _integer(64, 1_000_000),
        "samples kept for judging, never trained on",
    )
    keep_rows: bool = _setting(
        "VMAFX_SIDECAR_KEEP_ROWS_ACROSS_BASES",
        "0",
        _flag,
        "1: a new base model also learns from the samples of the previous one",
    )
    batch_size: int = _setting("VMAFX_SIDECAR_BATCH_SIZE", "32", _integer(1, 8192), "rows in a train step")
    replay_mix: float = _setting(
        "VMAFX_SIDECAR_REPLAY_MIX", "0.5", _number(0, 1, below=True), "share of a batch that is replayed"
    )
    lr: float = _setting(
        "VMAFX_SIDECAR_LR", "0.0001", _number(0, 10, above=True), "learning rate; see docs/learning.md"
    )
    ema_decay: float = _setting(
        "VMAFX_SIDECAR_EMA_DECAY", "0.999", _number(0, 1, below=True), "decay of the EMA weights"
    )
    optimizer: str = _setting("VMAFX_SIDECAR_OPTIMIZER", "sgd", _choice("sgd", "adam"), "SGD with momentum, or Adam")
    recipe: str = _setting(
        "VMAFX_SIDECAR_RECIPE",
        "default",
        _choice("default", "adr-0781"),
        "adr-0781: the literal recipe, for comparison",
    )
    ckpt_interval_s: float = _setting(
        "VMAFX_SIDECAR_CKPT_INTERVAL_S", "600", _number(0, 1e9), "minimum seconds between checkpoints"
    )
    min_samples_ckpt: int = _setting(
        "VMAFX_SIDECAR_MIN_SAMPLES_CKPT",
        "1000",
        _integer(0, 10**12),
        "minimum number of new samples between checkpoints",
    )
    keep_checkpoints: int = _setting(
        "VMAFX_SIDECAR_KEEP_CHECKPOINTS",
        "20",
        _integer(1, 1_000_000),
        "number of newest checkpoints to keep, besides stable and pinned ones",
    )
    stability_plcc_delta: float = _setting(
        "VMAFX_SIDECAR_STABILITY_PLCC_DELTA",
        "0.005",
        _number(0, 1),
        "a checkpoint whose PLCC falls by more than this is unstable",
    )
    fixture: Path | None = _setting(
        "VMAFX_SIDECAR_FIXTURE",
        "",
        _optional_path,
        "scored rows to judge checkpoints on (.npz or .csv; .parquet needs the extra corpus)",
    )
    fixture_target: str = _setting(
        "VMAFX_SIDECAR_FIXTURE_TARGET", "vmaf", _name, "column of the fixture with the true score"
    )
    target: str = _setting(
        "VMAFX_SIDECAR_TARGET",
        "true_score",
        _choice("true_score", "ground_truth_score"),
        "which score of a sample is learned; without a ground_truth_score, a sample is counted and not learned",
    )
    mos_range: tuple[float, float] = _setting(
        "VMAFX_SIDECAR_MOS_RANGE",
        "1-5",
        parse_scale,
        "scale of ground_truth_score, and of a fixture's mos; its ends become 0 and 100",
    )
    state_interval_s: float = _setting(
        "VMAFX_SIDECAR_STATE_INTERVAL_S",
        "30",
        _number(0.1, 86400),
        "seconds between saves of the state to disk",
    )
    n_features: int = _setting("VMAFX_SIDECAR_N_FEATURES", "80", _integer(1, 4096), "length of a feature vector")
    cuda: bool = _setting("VMAFX_SIDECAR_CUDA", "0", _flag, "1: train on CUDA where there is one")
    cpu_share: float = _setting(
        "VMAFX_SIDECAR_CPU_SHARE",
        "0.5",
        _number(0, 64, above=True),
        "processor cores that replay steps may use on average",
    )
    seed: int = _setting("VMAFX_SIDECAR_SEED", "0", _integer(0, 2**63 - 1), "seed of every random choice in training")
    max_line_bytes: int = _setting(
        "VMAFX_SIDECAR_MAX_LINE_BYTES",
        "262144",
        _integer(1024, 2**30),
        "maximum bytes of a message; longer ones are refused",
    )
    max_connections: int = _setting(
        "VMAFX_SIDECAR_MAX_CONNECTIONS", "512", _integer(1, 1_000_000), "maximum number of connections"
    )
    max_unread_bytes: int = _setting(
        "VMAFX_SIDECAR_MAX_UNREAD_BYTES",
        "1048576",
        _integer(4096, 2**30),
        "maximum bytes of unread answers; then a client has to read first",
    )
    idle_timeout_s: float = _setting(
        "VMAFX_SIDECAR_IDLE_TIMEOUT_S",
        "3600",
        _number(1, 1e9),
        "a silent connection is closed after this many seconds",
    )
    tenants: tuple[str, ...] = _setting(
        "VMAFX_SIDECAR_TENANTS",
        "",
        _tenants,
        "tenants whose samples are taken, separated by commas; empty: all samples",
    )
    archive_dir: Path | None = _setting(
        "VMAFX_SIDECAR_ARCHIVE_DIR",
        "",
        _optional_path,
        "directory where samples are archived as Parquet; empty: no archive",
    )
    archive_buffer_bytes: int = _setting(
        "VMAFX_SIDECAR_ARCHIVE_BUFFER_BYTES",
        "67108864",
        _integer(1048576, 2**40),
        "shared memory for lines that are not in the archive yet",
    )
    archive_rows: int = _setting(
        "VMAFX_SIDECAR_ARCHIVE_ROWS",
        "50000",
        _integer(1, 10_000_000),
        "a file of the archive is written when this many samples wait, or half of the buffer",
    )
    archive_minutes: float = _setting(
        "VMAFX_SIDECAR_ARCHIVE_MINUTES",
        "5",
        _number(0, 1440, above=True),
        "or when the oldest has waited for this many minutes",
    )
    archive_days: int = _setting(
        "VMAFX_SIDECAR_ARCHIVE_DAYS",
        "90",
        _integer(0, 36500),
        "days after which files of the archive are removed; 0: never",
    )
    archive_bytes: int = _setting(
        "VMAFX_SIDECAR_ARCHIVE_BYTES",
        "0",
        _integer(0, 2**60),
        "bytes above which the oldest files of the archive are removed; 0: no limit",
    )
    hang_s: float = _setting(
        "VMAFX_SIDECAR_HANG_S", "30", _number(1, 1e9), "a process without progress for this many seconds is restarted"
    )
    http: tuple[str, int] | None = _setting(
        "VMAFX_SIDECAR_HTTP",
        "127.0.0.1:9091",
        _address,
        "address of /status, /metrics and the page; off: none",
    )
    http_hosts: tuple[str, ...] = _setting(
        "VMAFX_SIDECAR_HTTP_HOSTS",
        "",
        _hosts,
        "host names that HTTP answers to, besides IP addresses and localhost; empty: on loopback none, elsewhere any",
    )
    instance: str = _setting(
        "VMAFX_SIDECAR_INSTANCE",
        "",
        _name,
        "name of the shared memory; empty: derived from the socket's path",
    )
    log_format: str = _setting(
        "VMAFX_SIDECAR_LOG_FORMAT",
        "auto",
        _choice("auto", "console", "json"),
        "auto: console on a terminal, else JSON lines",
    )
    log_level: str = _setting(
        "VMAFX_SIDECAR_LOG_LEVEL",
        "info",
        _choice("debug", "info", "warning", "error"),
        "lowest level that is logged",
    )

    @property
    def instance_name(self) -> str:
        """Name that the shared-memory regions of this sidecar share."""
        if self.pool and not self.instance:
            tenant = hashlib.sha256(self.fleet_tenant.encode()).hexdigest()[:8]
            return f"pool-{self.pool}" + (f"-{tenant}" if self.fleet_tenant != "default" else "")
        return self.instance or hashlib.sha256(os.fsencode(self.socket)).hexdigest()[:12]

    @property
    def opinion_range(self) -> tuple[float, float] | None:
        """The scale of the subjective scores that are learned; None where libvmaf's are."""
        return self.mos_range if self.target == "ground_truth_score" else None

    @property
    def fleet_name(self) -> str:
        """Name of this sidecar in the fleet."""
        return self.fleet_node or re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:64]

    @property
    def has_uplink(self) -> bool:
        """Whether samples are sent to a fleet."""
        return bool(self.fleet) and not self.pool

    @property
    def uses_registry(self) -> bool:
        """Whether there is a registry to push to, or one that the base model comes from."""
        return self.registry is not None or isinstance(self.base_model, Reference)

    @property
    def state_dir(self) -> Path:
        """Where the exporter saves what a restart resumes from."""
        return self.checkpoint_dir / "state"


def variables() -> list[Field[Any]]:
    """Return the settings' dataclass fields, in documentation order."""
    return list(fields(Settings))


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `environ` (default: the process's own).

    An empty variable counts as unset. Raises ConfigError with every problem found, one line each.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    problems: list[str] = []
    for entry in variables():
        name, text = entry.metadata["name"], environ.get(entry.metadata["name"], "").strip()
        try:
            values[entry.name] = entry.metadata["parse"](_utf8(text) or default_of(entry, environ))
        except _Expected as expected:
            problems.append(f"{name}={without_secrets(text)!r}: expected {expected}")
    if problems:
        raise ConfigError(problems)
    settings = Settings(**values)
    if settings.has_uplink and settings.registry is not None and settings.registry == settings.fleet_registry:
        problem = "is the pool's, whose models those of this sidecar must not replace: expected another, or none"
        raise ConfigError([f"VMAFX_REGISTRY_URL={settings.registry}: {problem}"])
    if settings.pool and settings.archive_dir is not None:
        problem = "a pool gets no names to archive samples by: expected it empty here, and set for the sidecars"
        raise ConfigError([f"VMAFX_SIDECAR_ARCHIVE_DIR={settings.archive_dir}: {problem}"])
    return settings


def default_of(entry: Field[Any], environ: Mapping[str, str]) -> str:
    """Return what counts where a setting is not set, as text."""
    default: str = entry.metadata["default"]
    return POOL_DEFAULTS.get(entry.metadata["name"], default) if environ.get("VMAFX_POOL", "").strip() else default


def origin(entry: Field[Any], environ: Mapping[str, str]) -> str:
    """Say where the effective value of `entry` comes from: `environment` or `default`."""
    return "environment" if environ.get(entry.metadata["name"], "").strip() else "default"


def unknown(environ: Mapping[str, str]) -> list[str]:
    """List variables that carry the sidecar's prefix but name no setting (a misspelling, or a newer chart)."""
    known = {entry.metadata["name"] for entry in variables()}
    return sorted(name for name in environ if name.startswith("VMAFX_SIDECAR_") and name not in known)
