"""Exporter contexts (RFC 8915, 5.1) and chrony's AES-128-GCM-SIV."""

from __future__ import annotations

import pytest
from nts_support import exporter, keys_for

from timesync.nts.aead import AeadId, key_size
from timesync.nts.keys import Direction, SessionKeys, client_keys, export_keys, exporter_context, server_keys


class Recorder:
    """Notes what is exported."""

    def __init__(self) -> None:
        self.calls: list[tuple[bytes, int, str]] = []

    def __call__(self, label: bytes, length: int, context: bytes, /) -> bytes:
        self.calls.append((label, length, context.hex()))
        return exporter(label, length, context)


@pytest.mark.parametrize(
    ("protocol", "aead", "direction", "octets"),
    [
        (0, 15, Direction.C2S, "0000 000f 00"),
        (0, 15, Direction.S2C, "0000 000f 01"),
        (0x8001, 30, Direction.S2C, "8001 001e 01"),
    ],
)
def test_the_context_is_protocol_aead_and_direction(
    protocol: int, aead: int, direction: Direction, octets: str
) -> None:
    assert bytes.fromhex(octets) == exporter_context(protocol, aead, direction)


@pytest.mark.parametrize("aead", list(AeadId))
def test_the_label_the_lengths_and_the_order(aead: AeadId) -> None:
    recorder = Recorder()
    keys = export_keys(recorder, 0, aead)
    label, number = b"EXPORTER-network-time-security", f"{aead:04x}"

    assert [(label, key_size(aead), f"0000{number}{last}") for last in ("00", "01")] == recorder.calls
    assert keys.c2s != keys.s2c


def test_a_chrony_that_says_nothing_is_tried_with_the_wrong_context_first() -> None:
    recorder = Recorder()
    first, second = client_keys(recorder, 0, AeadId.AES_128_GCM_SIV, server_complies=False)

    assert export_keys(exporter, 0, AeadId.AES_128_GCM_SIV, context_aead=AeadId.AES_SIV_CMAC_256) == first
    assert export_keys(exporter, 0, AeadId.AES_128_GCM_SIV) == second
    assert {"0000000f00", "0000000f01", "0000001e00", "0000001e01"} == {context for _, _, context in recorder.calls}
    assert {16} == {length for _, length, _ in recorder.calls}


def test_who_complies_has_one_pair_of_keys() -> None:
    right = export_keys(exporter, 0, AeadId.AES_128_GCM_SIV)
    assert (right,) == client_keys(exporter, 0, AeadId.AES_128_GCM_SIV, server_complies=True)
    assert right == server_keys(exporter, 0, AeadId.AES_128_GCM_SIV, client_complies=True)


@pytest.mark.parametrize("aead", [AeadId.AES_SIV_CMAC_256, AeadId.AES_SIV_CMAC_512])
@pytest.mark.parametrize("complies", [False, True])
def test_other_aeads_have_no_such_history(aead: AeadId, complies: bool) -> None:
    right = export_keys(exporter, 0, aead)
    assert (right,) == client_keys(exporter, 0, aead, server_complies=complies)
    assert right == server_keys(exporter, 0, aead, client_complies=complies)


def test_a_server_gives_an_old_chrony_what_it_expects() -> None:
    old = export_keys(exporter, 0, AeadId.AES_128_GCM_SIV, context_aead=AeadId.AES_SIV_CMAC_256)
    assert old == server_keys(exporter, 0, AeadId.AES_128_GCM_SIV, client_complies=False)


def test_keys_of_a_wrong_size_are_refused_and_never_shown() -> None:
    with pytest.raises(ValueError, match="needs keys of 32 octets") as caught:
        SessionKeys(AeadId.AES_SIV_CMAC_256, b"\xaa" * 32, b"\xaa" * 31)
    assert "\\xaa" not in str(caught.value)
    keys = keys_for(AeadId.AES_SIV_CMAC_256)
    assert repr(keys.c2s) not in repr(keys)
    assert repr(keys.s2c) not in repr(keys)
