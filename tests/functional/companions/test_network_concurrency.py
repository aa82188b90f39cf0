"""No address and no MAC address is given out twice, however many ask at once."""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

from protonova.companions.network import addresses
from protonova.companions.network.networks import NETWORK
from protonova.companions.network.ports import PORT
from protonova.companions.network.resource import born
from protonova.companions.network.schema import SCHEMA
from protonova.companions.network.subnets import SUBNET, settle, write_pools
from protonova.companions.store import Store, insert, select

from .conftest import Companions


def test_threads_of_clients(companions: Companions) -> None:
    network = companions.call("POST", "/network/v2.0/networks", {"network": {}}).json()["network"]["id"]
    subnet = {"network_id": network, "ip_version": 4, "cidr": "10.50.0.0/24"}
    companions.call("POST", "/network/v2.0/subnets", {"subnet": subnet})
    companions.token()
    sessions = [requests.Session() for _ in range(8)]

    def make(number: int) -> tuple[int, Any]:
        answer = sessions[number % 8].post(
            f"{companions.url}/network/v2.0/ports",
            json={"port": {"network_id": network}},
            headers={"X-Auth-Token": companions.token()},
            timeout=60,
        )
        return answer.status_code, answer.json()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(make, range(300)))
    made = [body["port"] for status, body in answers if status == 201]
    refused = [body["NeutronError"]["type"] for status, body in answers if status != 201]
    assert len(made) == 253
    assert set(refused) == {"IpAddressGenerationFailure"}
    assert len({port["fixed_ips"][0]["ip_address"] for port in made}) == 253
    assert len({port["mac_address"] for port in made}) == 253
    listed = companions.call("GET", f"/network/v2.0/ports?network_id={network}").json()["ports"]
    assert len(listed) == 253


def test_one_address_asked_for_by_many(companions: Companions) -> None:
    network = companions.call("POST", "/network/v2.0/networks", {"network": {}}).json()["network"]["id"]
    subnet = {"network_id": network, "ip_version": 4, "cidr": "10.51.0.0/24"}
    companions.call("POST", "/network/v2.0/subnets", {"subnet": subnet})
    companions.token()
    port = {
        "network_id": network,
        "fixed_ips": [{"ip_address": "10.51.0.9"}],
        "mac_address": "fa:16:3e:99:99:99",
    }
    with ThreadPoolExecutor(8) as pool:
        codes = list(
            pool.map(
                lambda _: companions.call("POST", "/network/v2.0/ports", {"port": port}).status_code,
                range(24),
            )
        )
    assert sorted(codes) == [201] + [409] * 23


def _take(path: Path, subnet_id: str, ports: list[str]) -> None:
    """In a process of its own: one address for each port, in a transaction of its own."""
    store = Store(path, SCHEMA)
    for port_id in ports:

        def work(db: Any, port_id: str = port_id) -> None:
            text = addresses.next_free(db, subnet_id)
            assert text
            assert addresses.take(db, subnet_id, text, port_id)

        store.write(work)
    store.close()
    sys.exit(0)


def _prepare(db: Any, port_ids: list[str]) -> str:
    """A network with a subnet, and ports on it that have no address yet."""

    def fresh(kind: Any, **given: Any) -> dict[str, Any]:
        defaults = {name: attribute.fresh() for name, attribute in kind.attributes.items()}
        return {**born(), **defaults, "project_id": "", **given}

    network = fresh(NETWORK, status="ACTIVE")
    insert(db, "networks", NETWORK.stored(network))
    subnet = fresh(SUBNET, network_id=network["id"], cidr="10.52.0.0/24", gateway_ip=None)
    settle(subnet)
    insert(db, "subnets", SUBNET.stored(subnet))
    write_pools(db, subnet["id"], subnet["allocation_pools"])
    for number, port_id in enumerate(port_ids):
        port = fresh(PORT, id=port_id, network_id=network["id"], mac_address=f"mac-{number}", status="DOWN")
        port.update(fixed_ips=[], security_groups=[], port_security_enabled=True)
        insert(db, "ports", PORT.stored(port))
    return str(subnet["id"])


def test_processes_on_one_file(tmp_path: Path) -> None:
    path = tmp_path / "network.sqlite"
    store = Store(path, SCHEMA)
    ports = [f"port-{number}" for number in range(160)]

    subnet_id = store.write(lambda db: _prepare(db, ports))
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_take, args=(path, subnet_id, ports[at::4])) for at in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    rows = store.read(lambda db: select(db, "addresses"))
    assert len(rows) == len({row["text"] for row in rows}) == 160
    store.close()
