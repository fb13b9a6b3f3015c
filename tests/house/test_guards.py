"""The guards of the test suite do what they promise."""

import os
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest
import trio

from tests import conftest


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 80, 0, 0), ("example.com", 443)])
def test_a_connection_to_another_machine_fails_the_test(address):
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as client, pytest.raises(pytest.fail.Exception, match="stay on this machine"):
        client.connect(address)


def test_looking_up_a_name_fails_the_test():
    with pytest.raises(pytest.fail.Exception, match="stay on this machine"):
        socket.getaddrinfo("example.com", 443)


async def test_an_async_client_is_guarded_too():
    stopped = pytest.RaisesExc(pytest.fail.Exception, match="stay on this machine")
    with pytest.RaisesGroup(stopped):
        await anyio.connect_tcp("192.0.2.1", 80)


async def test_loopback_is_open():
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            assert stream.extra(anyio.abc.SocketAttribute.remote_port) == port


def test_no_key_and_no_setting_of_the_person_at_the_desk_is_seen():
    assert [name for name in os.environ if name.startswith(("TOGETHER_", "OPENAI_", "BATCHRUNNER_"))] == []
    assert list(Path.home().iterdir()) == []


async def test_a_day_passes_at_once_in_virtual_time(virtual_time):
    before = trio.current_time()
    await anyio.sleep(86_400)
    assert trio.current_time() - before == pytest.approx(86_400)


async def test_the_ordinary_backend_is_asyncio():
    assert anyio.get_cancelled_exc_class().__module__.startswith("asyncio")


def test_d10_opening_a_database_that_is_in_use_is_noticed(tmp_path):
    path = tmp_path / "q.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")
        path.open("rb").close()
        assert conftest._opened_beside_sqlite == [str(path)]
        conftest._opened_beside_sqlite.clear()
    path.open("rb").close()
    assert conftest._opened_beside_sqlite == []
