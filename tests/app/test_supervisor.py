"""A real server: started, reloaded, robbed of its workers, stopped."""

import os
import pty
import pwd
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from postreeve.app.crew import HEARTBEAT_SECONDS
from tests.lab.server import Server

SHORT = "From: jane@example.com\r\nSubject: hello\r\n\r\nIt works.\r\n"


def send(port: int, recipient: str = "info@example.org", text: str = SHORT) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.sendmail("jane@example.com", [recipient], text)


def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def run_serve(config_file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "postreeve", "serve", "--config", str(config_file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as one:
        yield one


# --- start ----------------------------------------------------------------------------------------------------------


def test_serve_takes_and_delivers_mail(server: Server) -> None:
    send(server.port("mx"))
    (message,) = server.wait_for_messages("info@example.org")
    assert message.endswith(SHORT.replace("\r\n", "\n").encode())


def test_serve_refuses_a_second_instance_and_names_the_first(server: Server) -> None:
    done = run_serve(server.config_file)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"data directory {server.data_dir} is in use by process {server.facts()['pid']} (" in line
    assert "serve --config" in line
    send(server.port("mx"))


def test_serve_names_who_has_the_port(server: Server, tmp_path: Path) -> None:
    port = server.port("mx")
    listener = {"name": "mx", "role": "relay", "addresses": ["127.0.0.1"], "port": port}
    other = Server(tmp_path / "other", {"listener": [listener]})
    other.prepare()
    done = run_serve(other.config_file)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"cannot listen on 127.0.0.1 port {port}: in use by process" in line
    assert "postreeve serve" in line


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"hostnam": "x"}, 'did you mean "hostname"?', id="unknown setting"),
        pytest.param({"data_dir": "/proc/nowhere"}, "cannot be made", id="impossible directory"),
        pytest.param({"tls": {"certificate": "no.pem", "key": "no.key"}}, "cannot be read", id="no certificate"),
        pytest.param({"log": {"file": "/nowhere/postreeve.log"}}, "is no directory", id="no log directory"),
        pytest.param({"metrics": {"listen": "192.0.2.1:9125"}}, "metrics: cannot listen", id="metrics address"),
    ],
)
def test_serve_says_in_one_line_why_it_cannot_start(tmp_path: Path, change: dict[str, object], words: str) -> None:
    broken = Server(tmp_path, change)
    broken.prepare()
    done = run_serve(broken.config_file)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if not line.startswith("time=")]
    assert len(lines) == 1, done.stderr
    assert words in lines[0]
    assert "Traceback" not in done.stderr


def test_serve_needs_a_privilege_for_low_ports_and_says_which(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs to be root to give up a capability")
    low = Server(tmp_path, {"listener": [{"role": "relay", "addresses": ["127.0.0.1"], "port": 25}]})
    low.prepare()
    command = [sys.executable, "-m", "postreeve", "serve", "--config", str(low.config_file)]
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("setpriv is missing (apt-get install util-linux)")
    limited = [setpriv, "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service", *command]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=60, check=False)
    if "in use" in done.stderr:
        pytest.skip("somebody listens on port 25 of this machine")
    assert done.returncode == 1
    assert "ports below 1024 need a privilege" in done.stderr
    assert "CAP_NET_BIND_SERVICE" in done.stderr


def test_root_is_given_up_before_any_mail_is_taken() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs to be root")
    account = pwd.getpwnam("nobody")
    directory = Path(tempfile.mkdtemp(prefix="postreeve-"))
    try:
        directory.chmod(0o755)
        one = Server(directory, {"user": "nobody"}, workers=2)
        one.prepare()
        for path in (one.certificate_file, one.key_file):
            os.chown(path, account.pw_uid, account.pw_gid)
        one.mail_dir.mkdir()
        os.chown(one.mail_dir, account.pw_uid, account.pw_gid)
        with one:
            pids = [one.facts()["pid"], *one.worker_pids()]
            for pid in pids:
                fields = dict(
                    line.split(":\t", 1)
                    for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                    if ":\t" in line
                )
                assert set(fields["Uid"].split()) == {str(account.pw_uid)}
                assert set(fields["Gid"].split()) == {str(account.pw_gid)}
                assert set(fields["Groups"].split()) <= {str(account.pw_gid)}
                assert int(fields["CapEff"], 16) == 0
            assert one.data_dir.stat().st_uid == account.pw_uid
            send(one.port("mx"))
            one.wait_for_messages("info@example.org")
    finally:
        shutil.rmtree(directory)


def test_root_without_the_account_is_refused_with_the_command_that_makes_it(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs to be root")
    one = Server(tmp_path, {"user": "no-such-account"})
    one.prepare()
    done = run_serve(one.config_file)
    assert done.returncode == 1
    assert 'there is no account "no-such-account" (make it: useradd --system' in done.stderr


# --- workers --------------------------------------------------------------------------------------------------------


def test_workers_share_the_ports(tmp_path: Path) -> None:
    with Server(tmp_path, workers=3) as one:
        assert len(one.worker_pids()) == 3
        for _ in range(40):
            send(one.port("mx"))
        one.wait_for_messages("info@example.org", 40)
        files = [path for path in one.data_dir.glob("queue-?.db") if path.stat().st_size]
        assert len(files) == 3


def test_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2) as one:
        first, second = one.worker_pids()
        os.kill(first, signal.SIGKILL)
        one.wait_for_log('event=worker_exited worker=0 status="killed by SIGKILL"')
        until(lambda: len(one.worker_pids()) == 2 and first not in one.worker_pids())
        assert second in one.worker_pids()
        for _ in range(20):
            send(one.port("mx"))
        one.wait_for_messages("info@example.org", 20)


def test_workers_of_a_killed_supervisor_end_and_make_room(tmp_path: Path) -> None:
    one = Server(tmp_path, workers=2)
    one.start()
    workers = one.worker_pids()
    assert one.process is not None
    one.process.kill()
    one.process.wait(10)
    until(lambda: not any(_is_running(pid) for pid in workers))
    with one:
        send(one.port("mx"))


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_queue_of_a_worker_that_is_no_longer_configured_is_delivered(tmp_path: Path) -> None:
    hold = {"domains": ["*"], "via": "hold"}
    held = {"domain": [{"name": "example.org"}], "route": [{"domains": ["example.org"], "via": "hold"}, hold]}
    with Server(tmp_path, held, workers=3) as one:
        for _ in range(30):
            send(one.port("mx"))
        assert len(list(one.data_dir.glob("queue-?.db"))) == 3
    route = {"domains": ["example.org"], "via": "maildir", "path": str(one.mail_dir / "{local}@{domain}")}
    again = Server(tmp_path, held | {"route": [route, hold]}, workers=1)
    with again:
        command = [sys.executable, "-m", "postreeve", "queue", "release", "--all", "--config", str(again.config_file)]
        subprocess.run(command, check=False, capture_output=True, timeout=60)
        again.wait_for_messages("info@example.org", 30)


# --- reload ---------------------------------------------------------------------------------------------------------


def test_reload_takes_new_settings_and_keeps_the_open_session(server: Server) -> None:
    with smtplib.SMTP("127.0.0.1", server.port("mx"), timeout=20) as client:
        client.ehlo()
        assert client.esmtp_features["size"] == "52428800"
        line = server.reload({"limits": {"max_message": "1MiB"}, "hostname": "mx.example.org"})
        assert line.endswith("problem= note=")
        client.sendmail("jane@example.com", ["info@example.org"], SHORT)
        with smtplib.SMTP("127.0.0.1", server.port("mx"), timeout=20) as later:
            later.ehlo()
            assert later.esmtp_features["size"] == "1048576"
            assert later.ehlo_resp is not None
            assert later.ehlo_resp.startswith(b"mx.example.org")
    server.wait_for_messages("info@example.org")


def test_reload_of_an_invalid_file_leaves_the_old_settings_and_says_so(server: Server) -> None:
    with smtplib.SMTP("127.0.0.1", server.port("mx"), timeout=20) as client:
        line = server.reload({"limits": {"max_message": "much"}})
        assert "limits.max_message: must be a size" in line
        assert "the old configuration stays in force" in line
        assert "level=error" in line
        client.sendmail("jane@example.com", ["info@example.org"], SHORT)
    with smtplib.SMTP("127.0.0.1", server.port("mx"), timeout=20) as later:
        later.ehlo()
        assert later.esmtp_features["size"] == "52428800"


def test_reload_adds_and_removes_listeners(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2) as one:
        kept, added = one.config["listener"][0], {"role": "relay", "addresses": ["127.0.0.1"], "port": 0, "name": "new"}
        gone, port = one.port("submissions"), one.port("mx")
        with smtplib.SMTP_SSL("127.0.0.1", gone, timeout=20) as session:
            assert " problem= " in one.reload({"listener": [kept, added]})
            assert one.port("mx") == port
            for _ in range(8):
                send(one.port("new"))
                send(port)
            with pytest.raises(OSError, match="refused"):
                socket.create_connection(("127.0.0.1", gone), 5)
            assert session.noop()[0] == 250
        one.wait_for_messages("info@example.org", 16)


def test_reload_notes_what_needs_a_restart(server: Server) -> None:
    assert "workers takes effect at the next start" in server.reload({"workers": 2})
    assert len(server.worker_pids()) == 1


def test_reload_to_a_port_in_use_leaves_everything_as_it_was(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        other = {"role": "relay", "addresses": ["127.0.0.1"], "port": taken.getsockname()[1], "name": "other"}
        line = server.reload({"listener": [*server.config["listener"], other]})
        assert "in use by process" in line
    send(server.port("mx"))


def test_workers_that_come_later_have_the_reloaded_settings(server: Server) -> None:
    server.reload({"limits": {"max_message": "1MiB"}})
    (worker,) = server.worker_pids()
    os.kill(worker, signal.SIGKILL)
    until(lambda: server.worker_pids() not in ([], [worker]))
    with smtplib.SMTP("127.0.0.1", server.port("mx"), timeout=20) as client:
        client.ehlo()
        assert client.esmtp_features["size"] == "1048576"


# --- stop -----------------------------------------------------------------------------------------------------------


def test_stop_finishes_the_message_in_hand(server: Server) -> None:
    port = server.port("mx")
    busy, idle = (smtplib.SMTP("127.0.0.1", port, timeout=30) for _ in range(2))
    idle.ehlo()
    busy.ehlo()
    assert busy.mail("jane@example.com")[0] == 250
    assert busy.rcpt("info@example.org")[0] == 250
    busy.putcmd("data")
    assert busy.getreply()[0] == 354
    busy.send(b"From: jane@example.com\r\n\r\nfirst half, ")
    assert server.process is not None
    server.signal(signal.SIGTERM)
    assert idle.getreply()[0] == 421
    until(lambda: "event=server_stopping" in server.log())
    time.sleep(0.5)
    assert server.process.poll() is None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)
    busy.send(b"second half\r\n.\r\n")
    assert busy.getreply()[0] == 250
    assert server.process.wait(30) == 0
    for client in (busy, idle):
        client.close()
    with server:
        (message,) = server.wait_for_messages("info@example.org")
    assert b"first half, second half" in message


@pytest.mark.slow
def test_stop_does_not_wait_for_a_client_that_stalls(tmp_path: Path) -> None:
    one = Server(tmp_path)
    one.start()
    with smtplib.SMTP("127.0.0.1", one.port("mx"), timeout=60) as client:
        client.ehlo()
        client.mail("jane@example.com")
        client.rcpt("info@example.org")
        client.putcmd("data")
        client.getreply()
        begun = time.monotonic()
        assert one.stop() == 0
        assert time.monotonic() - begun <= 31
        client.close()


def test_stop_with_many_idle_sessions_says_nothing_alarming(tmp_path: Path) -> None:
    with Server(tmp_path, {"limits": {"connections_per_client": 0}}, workers=2) as one:
        clients = [socket.create_connection(("127.0.0.1", one.port("mx")), 10) for _ in range(200)]
        for client in clients:
            assert client.recv(512).startswith(b"220 ")
        assert one.stop() == 0
        for client in clients:
            assert client.recv(512).startswith(b"421 ")
            client.close()
        assert not [line for line in one.log().splitlines() if "level=error" in line or "Traceback" in line]


def test_stop_when_the_terminal_is_closed(tmp_path: Path) -> None:
    one = Server(tmp_path)
    one.prepare()
    command = [sys.executable, "-m", "postreeve", "serve", "--config", str(one.config_file)]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, command)
    try:
        until((one.data_dir / "run" / "server.json").exists)
        # SIGHUP from anybody else reloads.
        os.kill(pid, signal.SIGHUP)
        until(lambda: one.facts()["last_reload"] is not None)
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


# --- operating ------------------------------------------------------------------------------------------------------


def test_log_file_is_opened_anew_by_all_processes_on_sigusr1(tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    with Server(tmp_path, {"log": {"file": str(log)}}, workers=2) as one:
        log.rename(tmp_path / "mail.log.1")
        one.signal(signal.SIGUSR1)
        until(log.exists)
        for _ in range(10):
            send(one.port("mx"))
        until(lambda: log.read_text().count("event=recipient_delivered") == 10)
        assert "message_accepted" not in (tmp_path / "mail.log.1").read_text()


def test_reloads_in_a_hurry_all_come_to_an_end(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2) as one:
        for _ in range(20):
            one.signal(signal.SIGHUP)
        assert " problem= " in one.reload({"limits": {"max_message": "1MiB"}})
        until(lambda: _announced_size(one.port("mx")) == "1048576")


def _announced_size(port: int) -> str:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.ehlo()
        return client.esmtp_features["size"]


def test_metrics_are_those_of_all_workers_and_outlive_one(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Server(tmp_path, {"metrics": {"listen": f"127.0.0.1:{port}"}}, workers=2) as one:
        for _ in range(20):
            send(one.port("mx"))
        until(lambda: _counter(port, 'postreeve_messages_accepted_total{listener="mx"}') == 20)
        time.sleep(HEARTBEAT_SECONDS * 1.5)  # the supervisor has heard of it
        first = one.worker_pids()[0]
        os.kill(first, signal.SIGKILL)
        until(lambda: len(one.worker_pids()) == 2 and first not in one.worker_pids())
        until(lambda: _counter(port, "postreeve_worker_exits_total") == 1)
        until(lambda: _counter(port, 'postreeve_workers{state="answering"}') == 2)
        assert _counter(port, 'postreeve_messages_accepted_total{listener="mx"}') == 20
        send(one.port("mx"))
        until(lambda: _counter(port, 'postreeve_messages_accepted_total{listener="mx"}') == 21)


def _counter(port: int, name: str) -> float:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return -1.0
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0.0)


def test_room_for_mail_is_found_again_after_a_reload(tmp_path: Path) -> None:
    """Too little room by the old setting, enough by the new one: nobody may go on believing the first."""
    with Server(tmp_path, {"queue": {"min_free": "99.9%"}}) as one:
        with pytest.raises(smtplib.SMTPSenderRefused, match=r"4\.3\.1"):
            send(one.port("mx"))
        one.wait_for_log("event=store_trouble state=full")
        one.reload({"queue": {"min_free": 0}})
        time.sleep(1.1)  # it is looked up once a second
        send(one.port("mx"))
        one.wait_for_log("event=store_trouble state=recovered")
