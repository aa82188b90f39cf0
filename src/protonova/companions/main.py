"""The companions as one WSGI app and as one process."""

import argparse
import fcntl
import json
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from protonova.companions import element_fault, web
from protonova.companions.cloud import EXTENSION, Cloud
from protonova.companions.fault import Fault
from protonova.companions.identity import api as identity
from protonova.companions.identity import fault as identity_fault
from protonova.companions.image import api as image
from protonova.companions.image import fault as image_fault
from protonova.companions.network import api as network
from protonova.companions.network import fault as network_fault
from protonova.companions.settings import Settings
from protonova.companions.share import api as share
from protonova.companions.store import Store
from protonova.companions.volume import api as volume

_WRITTEN: dict[str, Callable[[Fault], Response]] = {
    "identity": identity_fault.written,
    "image": image_fault.written,
    "network": network_fault.written,
    "share": element_fault.written,
    "volume": element_fault.written,
}


def create_app(settings: Settings) -> Flask:
    app = Flask("protonova.companions", static_folder=None)
    app.url_map.merge_slashes = False
    app.extensions[EXTENSION] = open_cloud(settings)
    for name, package in (
        ("identity", identity),
        ("image", image),
        ("network", network),
        ("volume", volume),
        ("share", share),
    ):
        app.register_blueprint(package.blueprint, url_prefix=f"/{name}")
    app.before_request(web.mark)
    app.after_request(web.signed)
    app.register_error_handler(Fault, written)
    app.register_error_handler(HTTPException, _unrouted)
    app.register_error_handler(OverflowError, _overflow)
    app.register_error_handler(Exception, _unexpected)
    return app


def open_cloud(settings: Settings) -> Cloud:
    """Open the stores, bring about what a start owes them, and begin the work that was left."""
    state = settings.state_dir
    state.mkdir(parents=True, exist_ok=True)
    lock = _locked(state)
    files = image.ImageFiles(state / "images")
    here = Cloud(
        settings=settings,
        identity=Store(state / "identity.sqlite", identity.SCHEMA),
        image=Store(state / "image.sqlite", image.SCHEMA),
        network=Store(state / "network.sqlite", network.SCHEMA),
        volume=Store(state / "volume.sqlite", volume.SCHEMA),
        share=Store(state / "share.sqlite", share.SCHEMA),
        image_files=files,
        volume_files=volume.VolumeFiles(state / "volumes"),
        volume_worker=volume.Worker(),
        share_directories=share.ShareDirectories(state / "shares"),
        lock=lock,
    )
    here.identity.write(lambda db: identity.seed(db, settings))
    image.recover(here.image, files)
    volume.start(here)
    share.start(here)
    return here


def _locked(state: Path) -> IO[str]:
    """One process at a time: a second one would take the uploads of the first for left over."""
    lock = (state / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise SystemExit(f"Companions are running on {state} already.") from None
    return lock


def written(fault: Fault) -> Response:
    """A fault in the form of the API that was called."""
    service = request.path.split("/", 2)[1]
    return _WRITTEN.get(service, identity_fault.written)(fault)


def _unrouted(error: HTTPException) -> Response:
    status = error.code or 500
    if status == 404:
        return written(Fault(404, "There is nothing at this address."))
    headers = {}
    if status == 405:
        allowed = getattr(error, "valid_methods", None) or ()
        headers["Allow"] = ", ".join(sorted(allowed))
        return written(Fault(405, f"{request.method} is not served at this address.", headers=headers))
    return written(Fault(status, error.description or "The request cannot be served."))


def _overflow(_: OverflowError) -> Response:
    return written(Fault(400, "A number in the request is larger than any that can be kept."))


def _unexpected(error: Exception) -> Response:
    from flask import current_app

    current_app.logger.error("%s %s failed", request.method, request.path, exc_info=error)
    return written(Fault(500, "The request met an error of the server."))


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="protonova-companions",
        description="Small stand-ins for Identity, Image, Network, Volume and Share, on one machine.",
        epilog="Passwords come from PROTONOVA_ADMIN_PASSWORD, PROTONOVA_DEMO_PASSWORD and "
        "PROTONOVA_SERVICE_PASSWORD; one that is not given is made up once and kept in the state directory.",
    )
    parser.add_argument(
        "--listen", default="127.0.0.1:8775", help="address to serve on; port 0 picks a free one"
    )
    parser.add_argument("--state-dir", type=Path, default=Path(".state/companions"))
    parser.add_argument(
        "--public-url", default="", help="where clients come in; the own address unless given"
    )
    parser.add_argument("--compute-url", default="")
    parser.add_argument("--placement-url", default="")
    parser.add_argument("--image-url", default="")
    parser.add_argument("--region", default="RegionOne")
    parser.add_argument("--vif-type", default="bridge")
    parser.add_argument("--volume-driver", default="file", choices=("file", "local"))
    parser.add_argument("--threads", type=int, default=24)
    return parser.parse_args(argv)


def _passwords(state_dir: Path) -> dict[str, str]:
    """From the environment, else from the state directory, else new."""
    path = state_dir / "passwords.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    given, made = {}, dict(kept)
    for who in ("admin", "demo", "service"):
        given[who] = os.environ.get(f"PROTONOVA_{who.upper()}_PASSWORD") or kept.get(who) or ""
        if not given[who]:
            given[who] = made[who] = secrets.token_hex(12)
    if made != kept:
        state_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(made, file, indent=1)
    return given


def _tell_ready(address: str) -> None:
    descriptor = os.environ.get("PROTONOVA_READY_FD")
    if descriptor:
        with os.fdopen(int(descriptor), "w") as pipe:
            pipe.write(json.dumps({"name": "companions", "address": address}) + "\n")


def main(argv: list[str] | None = None) -> int:
    from protonova.companions.serve import HttpServer, spare_memory

    spare_memory()
    arguments = _arguments(argv)
    host, _, port = arguments.listen.rpartition(":")
    server: Any = HttpServer(lambda *call: app(*call), host.strip("[]"), int(port), arguments.threads)
    server.prepare()  # binds, so that a port 0 is known before links are made
    try:
        bound = server.bind_addr
        address = f"{f'[{bound[0]}]' if ':' in bound[0] else bound[0]}:{bound[1]}"
        app = create_app(_settings(arguments, address))
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        threading.Thread(target=server.serve, name="companions", daemon=True).start()
        _tell_ready(address)
        stopping.wait()
    finally:
        server.stop()
    app.extensions[EXTENSION].close()
    return 0


def _settings(arguments: argparse.Namespace, address: str) -> Settings:
    given = _passwords(arguments.state_dir)
    return Settings(
        state_dir=arguments.state_dir,
        public_url=arguments.public_url or f"http://{address}",
        admin_password=given["admin"],
        demo_password=given["demo"],
        service_password=given["service"],
        region=arguments.region,
        compute_url=arguments.compute_url,
        placement_url=arguments.placement_url,
        image_url=arguments.image_url,
        vif_type=arguments.vif_type,
        volume_driver=arguments.volume_driver,
    )


if __name__ == "__main__":
    sys.exit(main())
