"""The link: every wait has a bound, what broke is reopened, and no fault of a peer gives a wrong page."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

from opend_si.simulator import Fault, Simulator, faults


@contextmanager
def peer(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A listener that handles one connection with `serve`; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            with link:
                serve(link)

        thread = threading.Thread(target=accept)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_an_absent_opend_is_named_with_host_and_port(face: ModuleType, nobody: int) -> None:
    with face.Client("127.0.0.1", nobody) as client, pytest.raises(face.ConnectionFailed, match=f"127.0.0.1:{nobody}"):
        client.get_page("HK.00700")
    with face.OpenQuoteContext("127.0.0.1", nobody) as context:
        ret, text, nothing = context.get_short_interest("HK.00700")
    assert (ret, nothing) == (face.RET_ERROR, None)
    assert f"127.0.0.1:{nobody}" in text
    assert "Start OpenD" in text


def test_an_unknown_host_is_named(face: ModuleType) -> None:
    with face.Client("no-such-host.invalid") as client, pytest.raises(face.ConnectionFailed, match=r"no-such-host"):
        client.get_page("HK.00700")


def test_a_peer_that_is_no_opend_is_named(face: ModuleType) -> None:
    with (
        peer(lambda link: link.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")) as port,
        face.Client("127.0.0.1", port) as client,
        pytest.raises(face.ProtocolError, match=f"127.0.0.1:{port} does not answer as OpenD does"),
    ):
        client.get_page("HK.00700")


def test_a_peer_that_hangs_up_at_once_is_named(face: ModuleType) -> None:
    with (
        peer(lambda link: link.close()) as port,
        face.Client("127.0.0.1", port) as client,
        pytest.raises(face.ConnectionFailed, match="InitConnect"),
    ):
        client.get_page("HK.00700")


def test_a_silent_peer_ends_in_a_timeout(face: ModuleType) -> None:
    with (
        peer(lambda link: link.recv(1 << 20) and link.recv(1)) as port,  # type: ignore[arg-type]
        face.Client("127.0.0.1", port, timeout=0.2) as client,
        pytest.raises(face.RequestTimeout, match=str(port)),
    ):
        client.get_page("HK.00700")


def test_a_silent_opend_ends_in_a_timeout_and_the_next_call_works(face: ModuleType, opend: Simulator) -> None:
    opend.faults.append(faults.silence())
    with face.Client(opend.host, opend.port, timeout=1.5) as client:
        with pytest.raises(face.RequestTimeout):
            client.get_page("HK.00700")
        assert len(client.get_page("HK.00700")) == 10


@pytest.mark.parametrize("seconds", [0, 1e-9, 1e-6, 0.0009, -1])
def test_a_timeout_that_is_too_small_to_be_meant_is_refused(face: ModuleType, seconds: float) -> None:
    with pytest.raises(face.InvalidArgument, match=r"timeout is .*: it takes seconds, from 0\.001 to 3600"):
        face.Client(timeout=seconds)


def test_the_smallest_timeout_ends(face: ModuleType, opend: Simulator) -> None:
    opend.faults.append(faults.silence())
    with (
        face.Client(opend.host, opend.port, timeout=0.001) as client,
        pytest.raises((face.RequestTimeout, face.ConnectionFailed)),
    ):
        client.get_page("HK.00700")


def test_a_late_reply_never_answers_another_request(face: ModuleType, opend: Simulator) -> None:
    opend.faults.append(faults.silence(1.7))
    with face.Client(opend.host, opend.port, timeout=1.5) as client:
        with pytest.raises(face.RequestTimeout):
            client.get_page("US.AAPL")
        for _ in range(5):
            assert client.get_page("HK.00700").symbol == "HK.00700"
            assert client.get_page("HK.00700").hk["timestamp_str"][0] == "2026-04-30"


@pytest.mark.parametrize("fault", [faults.cut, faults.cut_inside])
def test_a_request_that_was_cut_off_is_repeated_once(
    client: Any, face: ModuleType, opend: Simulator, fault: Callable[[], Fault]
) -> None:
    opend.faults.append(fault())
    assert len(client.get_page("HK.00700")) == 10
    assert len(opend.requests) == 2
    opend.faults += [fault(), fault()]
    with pytest.raises(face.ConnectionFailed, match=str(opend.port)):
        client.get_page("HK.00700")
    assert len(opend.requests) == 4
    assert len(client.get_page("HK.00700")) == 10


@pytest.mark.parametrize("fault", [faults.wrong_checksum, faults.garbage, faults.undecodable])
def test_bytes_that_opend_does_not_send_are_an_error_and_the_next_call_works(
    client: Any, face: ModuleType, opend: Simulator, fault: Callable[[], Fault]
) -> None:
    opend.faults.append(fault())
    with pytest.raises(face.ProtocolError, match=r"HK\.00700") as caught:
        client.get_page("HK.00700")
    if fault is not faults.undecodable:  # that came as it should, and cannot be read
        assert f"{opend.host}:{opend.port}" in str(caught.value)
    assert len(client.get_page("HK.00700")) == 10


@pytest.mark.parametrize("fault", [faults.dribble, faults.push_before])
def test_pushes_and_slow_bytes_change_nothing(client: Any, opend: Simulator, fault: Callable[[], Fault]) -> None:
    plain = client.get_page("HK.00700")
    opend.faults.append(fault())
    assert client.get_page("HK.00700").body == plain.body


def test_a_link_that_broke_while_idle_is_reopened(
    face: ModuleType, start: Callable[..., Simulator], opend: Simulator
) -> None:
    with face.Client(opend.host, opend.port) as client:
        assert len(client.get_page("HK.00700")) == 10
        opend.disconnect_all()
        assert len(client.get_page("HK.00700")) == 10
        assert len(opend.requests) == 2  # nothing had to be repeated
        assert opend.connections == 2


def test_a_closed_client_can_be_used_again(client: Any, opend: Simulator) -> None:
    client.get_page("HK.00700")
    client.close()
    client.close()
    assert len(client.get_page("HK.00700")) == 10
    assert opend.connections == 2


def test_threads_may_share_a_client(client: Any, opend: Simulator) -> None:
    codes = ["HK.00700", "US.AAPL", "HK.00005", "US.GME"] * 10
    with ThreadPoolExecutor(8) as pool:
        pages = list(pool.map(client.get_page, codes))
    assert [page.symbol for page in pages] == codes
    assert all(
        page.records[0].close_price == opend.universe.rows(page.symbol)[0].closePrice  # type: ignore[index]
        for page in pages
    )
    assert opend.connections == 1


@pytest.mark.needs("fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the simulator's thread does nothing in the child
def test_a_forked_child_opens_a_link_of_its_own(client: Any, opend: Simulator) -> None:
    client.get_page("HK.00700")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(write, client.get_page("US.AAPL").body)
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as told:
        body = told.read()
    assert os.waitpid(child, 0)[1] == 0
    assert body == client.get_page("US.AAPL").body
    assert opend.connections == 2  # the parent's link is still the first one


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("获取空头持仓频率太高，请求失败，每30秒最多30次。", "RateLimited"),
        ("The request frequency is too high, at most 30 times/30s", "RateLimited"),
        ("未知股票", "UnknownSymbol"),
        ("Unknown stock", "UnknownSymbol"),
        ("该接口仅支持正股", "Unsupported"),
        ("Unknown protocol id", "Unsupported"),
        ("无权限获取行情", "NotPermitted"),
        ("NN_ProtoRet_TimeOut", "OpenDError"),
        ("短信验证码请求过于频繁", "OpenDError"),
        ("", "OpenDError"),
    ],
)
def test_a_refusal_is_told_apart_by_its_text(
    client: Any, face: ModuleType, opend: Simulator, text: str, error: str
) -> None:
    opend.faults.append(faults.refuse(text))
    with pytest.raises(face.OpenDError) as caught:
        client.get_page("HK.00700")
    assert type(caught.value).__name__ == error
    assert (caught.value.ret_type, caught.value.err_code, caught.value.message) == (-1, 0, text)
    assert "short interest of HK.00700" in str(caught.value)
    assert text in str(caught.value)
    assert len(client.get_page("HK.00700")) == 10
    assert opend.connections == 1  # a refusal is an answer: the link stays
