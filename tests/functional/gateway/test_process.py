"""The gateway as a process: readiness, both addresses, a report on demand, an orderly end."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time

import pytest

from protonova.gateway.httpd import HttpServer


@pytest.fixture
def process(tmp_path):
    conf = tmp_path / "gateway.conf"
    conf.write_text(
        "[gateway]\nlisten = 127.0.0.1:0\nplacement_listen = 127.0.0.1:0\n"
        "[api]\ntarget = 127.0.0.1:1\n[keystone_authtoken]\nauth_type = none\n"
    )
    reader, writer = os.pipe()
    log = (tmp_path / "log").open("w+")
    started = subprocess.Popen(
        [sys.executable, "-m", "protonova.gateway.main", "--config-file", str(conf)],
        env={**os.environ, "PROTONOVA_READY_FD": str(writer), "PYTHONPATH": "src"},
        pass_fds=[writer],
        stderr=log,
        stdout=log,
    )
    os.close(writer)
    readable, _, _ = select.select([reader], [], [], 30)
    notice = json.loads(os.read(reader, 4096)) if readable else None
    yield started, notice, tmp_path / "log"
    if started.poll() is None:
        started.kill()
    started.wait()
    os.close(reader)


def fetch(address, path="/"):
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


def test_life_of_a_process(process):
    started, notice, log = process
    assert notice is not None, log.read_text()
    assert notice["name"] == "gateway"
    status, document = fetch(notice["address"])
    assert (status, document["versions"][1]["id"]) == (200, "v2.1")
    assert fetch(notice["address"], "/placement/")[1]["versions"][0]["id"] == "v1.0"
    assert fetch(notice["address"], "/v2.1/servers")[0] == 401
    other = log.read_text().partition("serves on ")[2].split()[1]
    assert fetch(other)[1]["versions"][0]["id"] == "v1.0"
    started.send_signal(signal.SIGUSR1)
    deadline = time.monotonic() + 10
    while notice["address"] not in log.read_text().partition("gateway serves")[2][60:]:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    started.send_signal(signal.SIGTERM)
    assert started.wait(10) == 0
    with pytest.raises(ConnectionRefusedError):
        fetch(notice["address"])


def test_running_requests_end_before_the_server_does():
    entered, go_on = threading.Event(), threading.Event()

    def application(environ, start_response):
        if environ["PATH_INFO"] == "/slow":
            entered.set()
            go_on.wait(10)
        start_response("200 OK", [("Content-Length", "2")])
        return [b"{}"]

    server = HttpServer("127.0.0.1:0", application, 4)
    server.start()
    answers = []
    client = threading.Thread(target=lambda: answers.append(fetch(server.address, "/slow")))
    client.start()
    assert entered.wait(10)
    assert server.running == 1
    stopper = threading.Thread(target=server.stop, args=(10,))
    stopper.start()
    stopper.join(0.2)
    assert stopper.is_alive()
    go_on.set()
    stopper.join(10)
    client.join(10)
    assert answers == [(200, {})]


def test_an_application_that_fails_is_answered_for():
    def application(environ, start_response):
        if environ["PATH_INFO"] == "/":
            start_response("200 OK", [("Content-Length", "2")])
            return [b"{}"]
        raise ZeroDivisionError("secret")

    server = HttpServer("127.0.0.1:0", application, 4)
    server.start()
    try:
        status, document = fetch(server.address, "/boom")
        assert status == 500
        assert "secret" not in json.dumps(document)
    finally:
        server.stop(1)
