"""The truth table over the API."""

from __future__ import annotations

from pathlib import Path

from tests.api.serving import raw_client, serving


async def test_the_table_of_one_vm_and_of_all(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        status, table = await client.ask("GET", "/v1/vms/web1/verify")
        assert (status, table["vm"], table["verdict"]) == (200, "web1", "drift")
        assert table["counts"] == {"ok": 9, "drift": 4, "not placeable": 1, "unknown": 1}
        status, every = await client.ask("GET", "/v1/verify")
        assert [(row["vm"], row["verdict"]) for row in every["vms"]] == [
            ("db1", "not running"),
            ("mail", "ok"),
            ("web1", "drift"),
        ]


async def test_masks_are_cpulists_and_addresses_stay_inside(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        _, table = await client.ask("GET", "/v1/vms/web1/verify")
    by_label = {row["label"]: row for row in table["threads"]}
    assert (by_label["vcpu 1"]["pin"], by_label["vcpu 1"]["affinity"]) == ("34", "0-63")
    assert (by_label["emulator"]["cpuset"], by_label["kvm-pit"]["cpuset"]) == ("0-63", None)
    assert "start" not in table["memory"][0]
    assert table["memory"][1]["pages"] == [{"host_node": 0, "count": 512}, {"host_node": 1, "count": 1536}]


async def test_a_vm_that_is_not_qsups(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        for method, tail in (("GET", "verify"), ("POST", "repair-memory")):
            status, reply = await client.ask(method, f"/v1/vms/web/{tail}")
            assert (status, reply["error"]["code"]) == (404, "api.unknown-vm")


async def test_repairing_memory(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, raw_client(served) as client:
        status, mended = await client.ask("POST", "/v1/vms/web1/repair-memory", {})
        assert (status, mended["backends"][0]["moved_bytes"], mended["took_s"]) == (200, 1022 << 20, 3.25)
        status, reply = await client.ask("POST", "/v1/vms/db1/repair-memory")
        assert (status, reply["error"]["code"]) == (409, "supervisor.not-running")
        status, reply = await client.ask("POST", "/v1/vms/web1/repair-memory", {"force": True})
        assert (status, reply["error"]["code"]) == (422, "api.unknown-key")
