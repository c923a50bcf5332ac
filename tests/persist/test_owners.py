"""Who is alive, as far as one can know."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from awaitly.persist.owners import provably_dead, this_owner
from awaitly.persist.ports import Owner
from awaitly.persist.stores.memory import MemoryStore
from awaitly.persist.stores.sqlite import SqliteStore
from awaitly.testing.conformance import creation

TELL = """
import sys
from awaitly.persist.owners import this_owner
owner = this_owner()
print(owner.id, owner.host, owner.pid, owner.started, sep="\\n", flush=True)
sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are POSIX's here")


@contextmanager
def process() -> Iterator[tuple[subprocess.Popen[str], Owner]]:
    with subprocess.Popen(
        [sys.executable, "-c", TELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        id, host, pid, started = (other.stdout.readline().strip() for _ in range(4))
        yield other, Owner(id=id, host=host, pid=int(pid), started=started)
        other.kill()


def test_a_process_is_alive_to_itself() -> None:
    assert not provably_dead(this_owner())


def test_two_owners_of_one_process_differ_by_their_ids_alone() -> None:
    one, two = this_owner(), this_owner()
    assert one.id != two.id
    assert replace(one, id=two.id) == two


def test_another_process_is_alive_until_it_is_killed() -> None:
    with process() as (other, owner):
        assert owner.host == this_owner().host
        assert not provably_dead(owner)
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # dead, but still a zombie
        if sys.platform == "linux":
            assert provably_dead(owner)
        other.wait()
        assert provably_dead(owner)


def test_a_stopped_process_is_not_dead() -> None:
    with process() as (other, owner):
        other.send_signal(signal.SIGSTOP)
        assert not provably_dead(owner)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a process was started")
def test_a_process_that_got_the_pid_of_a_dead_one_is_not_it() -> None:
    assert provably_dead(replace(this_owner(), started="1"))


def test_nothing_is_known_of_other_hosts() -> None:
    assert not provably_dead(Owner(id="o", host="elsewhere", pid=2**22 + 1, started="1"))


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_runs_of_a_dead_process_are_free_at_once(tmp_path, run, kind: str) -> None:
    async def story() -> None:
        store = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "runs.db")
        await store.open()
        with process() as (other, owner):
            await store.register(owner, 3600.0)
            await store.append([creation("r", owner=owner.id)])
            assert await store.claim("r", "bob") is None
            assert list(await store.claimable(["checkout"], 10)) == []
            other.kill()
            other.wait()
        assert [record.id for record in await store.claimable(["checkout"], 10)] == ["r"]
        assert await store.claim("r", "bob") is not None
        await store.close()

    run(story())


def test_dead_owners_are_forgotten_when_another_comes(tmp_path, run) -> None:
    traced: list[str] = []

    async def story() -> None:
        store = SqliteStore(tmp_path / "runs.db", trace=traced.append)
        await store.open()
        with process() as (other, owner):
            await store.register(owner, 3600.0)
            await store.append([creation("r", owner=owner.id)])
            other.kill()
            other.wait()
        await store.register(this_owner(), 3600.0)
        assert f"DELETE FROM owners WHERE id = '{owner.id}'" in traced
        assert [record.id for record in await store.claimable(["checkout"], 10)] == ["r"]
        await store.close()

    run(story())
