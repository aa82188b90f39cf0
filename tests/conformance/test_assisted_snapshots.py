"""Snapshots that the volume service asks for help with, in a cloud: the right server, and the right refusals."""

from __future__ import annotations

import json
from urllib.parse import quote

from benchmarks.client import wait_for
from tests.conformance.conftest import Servers
from tests.support.rest import Rest

PATH = "/os-assisted-volume-snapshots"


def test_a_volume_of_a_running_server(admin: Rest, demo: Rest, servers: Servers) -> None:
    volume = demo.post("/volumes", {"volume": {"size": 1, "name": "assisted"}}, prefix="/volume/v3")[
        "volume"
    ]["id"]

    def status() -> str:
        return demo.get(f"/volumes/{volume}", prefix="/volume/v3")["volume"]["status"]

    order = {
        "snapshot": {
            "volume_id": volume,
            "create_info": {"snapshot_id": volume, "type": "qcow2", "new_file": "top", "id": volume},
        }
    }
    info = quote(json.dumps({"volume_id": volume, "file_to_merge": "top"}))
    wait_for(lambda: status() == "available", seconds=30, what="volume available")
    assert admin.call("POST", PATH, order).status == 400
    server = servers.boot(demo, "assisted")["id"]
    demo.post(
        f"/servers/{server}/os-volume_attachments", {"volumeAttachment": {"volumeId": volume}}, version="2.1"
    )
    wait_for(lambda: status() == "in-use", seconds=30, what="volume in use")
    assert demo.call("POST", PATH, order).status == 403
    assert admin.post(PATH, order)["snapshot"] == {"id": volume, "volumeId": volume}
    assert admin.call("DELETE", f"{PATH}/{volume}?delete_info={info}").status == 204
    demo.post(f"/servers/{server}/action", {"os-stop": None})
    servers.wait(server, "SHUTOFF")
    assert admin.call("POST", PATH, order).status == 400
    assert admin.call("DELETE", f"{PATH}/{volume}?delete_info={info}").status == 400
    assert demo.call("DELETE", f"/servers/{server}/os-volume_attachments/{volume}").status == 202
    wait_for(lambda: status() == "available", seconds=30, what="volume available")
    assert demo.call("DELETE", f"/volumes/{volume}", prefix="/volume/v3").status == 202
