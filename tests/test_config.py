"""Settings: the contract's names and defaults, every problem at once, each told by name, value and expectation."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pipeline import config
from pipeline.cli import cli
from pipeline.config import ConfigError, load
from pipeline.runtime import regions

CONTRACT = {
    "socket": Path("/tmp/vmafx-sidecar.sock"),  # noqa: S108  the contract's
    "base_model": None,
    "checkpoint_dir": Path("/mnt/vmafx-models/online"),
    "replay_capacity": 10000,
    "batch_size": 32,
    "replay_mix": 0.5,
    "lr": 0.0001,
    "ema_decay": 0.999,
    "ckpt_interval_s": 600,
    "min_samples_ckpt": 1000,
    "n_features": 80,
    "cuda": False,
}


def problems(**variables: str) -> list[str]:
    """Return what is wrong with these variables."""
    with pytest.raises(ConfigError) as error:
        load({f"VMAFX_SIDECAR_{name}": value for name, value in variables.items()})
    return error.value.problems


def test_the_contracts_defaults() -> None:
    """Without any variable, each setting is what charts and scripts rely on."""
    settings = load({})
    assert {name: getattr(settings, name) for name in CONTRACT} == CONTRACT


def test_an_empty_variable_is_an_unset_one() -> None:
    """Charts set variables that they have no value for."""
    empty = {entry.metadata["name"]: "  " for entry in config.variables()}
    assert load(empty) == load({})


def test_every_problem_is_told_at_once() -> None:
    """One line each, with name, value and what is expected."""
    found = problems(LR="fast", BATCH_SIZE="0", N_FEATURES="80.5", HTTP="9091", SOCKET="relative")
    assert [line.split("=")[0] for line in found] == [
        "VMAFX_SIDECAR_SOCKET",
        "VMAFX_SIDECAR_BATCH_SIZE",
        "VMAFX_SIDECAR_LR",
        "VMAFX_SIDECAR_N_FEATURES",
        "VMAFX_SIDECAR_HTTP",
    ]
    assert "VMAFX_SIDECAR_BATCH_SIZE='0': expected an integer from 1 to 8192" in found
    assert "VMAFX_SIDECAR_LR='fast': expected a number above 0 to 10" in found


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "REPLAY_CAPACITY": ["63", "-1", "1e4", "many", "10000001"],
        "REPLAY_MIX": ["1", "-0.1", "nan", "inf"],
        "EMA_DECAY": ["1", "1.5", "NaN"],
        "LR": ["0", "-1", "nan", "1e400"],
        "CUDA": ["2", "yep"],
        "SOCKET": ["s.sock", "/" + "x" * 108, "/a\0b"],
        "SOCKET_MODE": ["0666", "8", "rw", "-600"],
        "SOCKET_GROUP": ["a b", "x" * 65, "../x"],
        "ALLOWED_UIDS": ["root", "-1", "1;2", "4294967295"],
        "INSTANCE": ["a/b", "..", "é"],
        "HTTP": [":9091", "host:", "host:99999", "host:x"],
        "OPTIMIZER": ["rmsprop"],
        "STATE_INTERVAL_S": ["0"],
        "CHECKPOINT_DIR": ["models", "/a\udcff"],
        "TENANTS": ["\udcff"],
    }.items(),
)
def test_what_is_refused(name: str, values: list[str]) -> None:
    """A value out of range or of another kind is refused, and only it is named."""
    for value in values:
        (problem,) = problems(**{name: value})
        assert problem.startswith(f"VMAFX_SIDECAR_{name}={value!r}: expected ")


@given(st.sampled_from([entry.metadata["name"] for entry in config.variables()]), st.text(max_size=30))
def test_any_text_is_taken_or_refused_in_a_line(name: str, text: str) -> None:
    """No value whatever makes anything else than a setting or a problem."""
    try:
        load({name: text})
    except ConfigError as error:
        (problem,) = error.problems
        assert problem.startswith(f"{name}=")
        assert "\n" not in problem


def test_two_sockets_have_two_instances() -> None:
    """Sidecars do not share memory unless they are told to."""
    one, other = load({"VMAFX_SIDECAR_SOCKET": "/run/a"}), load({"VMAFX_SIDECAR_SOCKET": "/run/b"})
    assert one.instance_name != other.instance_name
    assert load({"VMAFX_SIDECAR_INSTANCE": "mine"}).instance_name == "mine"


def test_pools_of_two_tenants_have_two_instances() -> None:
    """On one machine, with one name: what one has learned from its tenant's samples is none of the other's."""
    names = [load({"VMAFX_POOL": "main", "VMAFX_FLEET_TENANT": tenant}).instance_name for tenant in ("", "A", "B")]
    assert names[0] == "pool-main"
    assert len({*names}) == 3


def test_a_misspelt_variable_is_noticed() -> None:
    """A warning, not an error: a newer chart may set what this version does not know."""
    assert config.unknown({"VMAFX_SIDECAR_LERNRATE": "1", "VMAFX_OTHER": "1"}) == ["VMAFX_SIDECAR_LERNRATE"]


@pytest.mark.processes
def test_run_ends_at_once_where_the_fixture_cannot_be_used(tmp_path: Path) -> None:
    """A mistyped path: code 78 and one line that names setting and file, before anything is started."""
    environ = os.environ | {
        "VMAFX_SIDECAR_SOCKET": str(tmp_path / "s.sock"),
        "VMAFX_SIDECAR_FIXTURE": str(tmp_path / "mistyped.npz"),
        "VMAFX_SIDECAR_N_FEATURES": "6",
    }
    ran = subprocess.run(
        [sys.executable, "-m", "pipeline", "run"], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 78
    assert ran.stderr == f"vmafx-sidecar: VMAFX_SIDECAR_FIXTURE: {tmp_path}/mistyped.npz: no such file\n"
    assert not regions.leftovers(load(environ).instance_name)


def test_run_ends_with_the_documented_code_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """`vmafx-sidecar run` with bad settings lists them and ends with 78 instead of starting anything."""
    monkeypatch.setitem(os.environ, "VMAFX_SIDECAR_LR", "-1")
    monkeypatch.setitem(os.environ, "VMAFX_SIDECAR_CUDA", "maybe")
    result = CliRunner().invoke(cli, ["run"])
    assert result.exit_code == 78
    assert [line.split("=")[0] for line in result.stderr.splitlines()] == [
        "vmafx-sidecar: VMAFX_SIDECAR_LR",
        "vmafx-sidecar: VMAFX_SIDECAR_CUDA",
    ]


def test_a_sidecar_does_not_push_into_the_registry_of_its_pool() -> None:
    """A pool does, and without a fleet there is no pool."""
    registries = {"VMAFX_REGISTRY_URL": "file:///r", "VMAFX_FLEET_REGISTRY_URL": "file:///r/"}
    fleet = {"VMAFX_FLEET_URL": "nats://here:4222"}
    with pytest.raises(ConfigError, match=r"VMAFX_REGISTRY_URL=file:///r: is the pool's"):
        load(registries | fleet)
    assert load(registries | fleet | {"VMAFX_POOL": "p"}).registry == load(registries).fleet_registry


def test_a_pool_keeps_no_archive() -> None:
    """It has hashes where an archive has names: better none than an empty one."""
    with pytest.raises(ConfigError, match=r"VMAFX_SIDECAR_ARCHIVE_DIR=/archive: a pool gets no names"):
        load({"VMAFX_POOL": "p", "VMAFX_SIDECAR_ARCHIVE_DIR": "/archive"})


def test_a_pool_has_room_for_more_where_nothing_else_is_set() -> None:
    """What is set counts in a pool, too."""
    assert config.load({"VMAFX_POOL": "main"}).replay_capacity == 100_000
    assert config.load({"VMAFX_POOL": "main", "VMAFX_SIDECAR_REPLAY_CAPACITY": "5000"}).replay_capacity == 5000
    assert config.load({}).replay_capacity == 10_000


@pytest.mark.parametrize(
    "url",
    [
        "http://host", "nats://", "host:4222", "nats://user:secret@host", "nats://host/x", "tls://host:4222?token=secret",
        "tls://host:", "tls://host:99999", "tls://host:0", "tls://host:port", "tls://[::1", "tls://::1", "tls://a host",
    ],
)  # fmt: skip
def test_servers_of_a_fleet_are_addresses_without_secrets(url: str) -> None:
    """A key lies in a file."""
    with pytest.raises(config.ConfigError) as raised:
        config.load({"VMAFX_FLEET_URL": f"nats://one:4222,{url}"})
    assert "expected nats://HOST:PORT" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_fleet_may_have_several_servers_by_name_or_address() -> None:
    """With a port or without."""
    urls = ("tls://one.example:4222", "nats://10.0.0.1", "tls://[fd00::1]:4222", "tls://a_b-c")
    assert config.load({"VMAFX_FLEET_URL": ", ".join(urls)}).fleet == urls
