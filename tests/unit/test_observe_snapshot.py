"""Words of the snapshot."""

from __future__ import annotations

import pytest

from timesync.observe.snapshot import reference_text


@pytest.mark.parametrize(
    ("reference_id", "stratum", "expected"),
    [
        # RFC 5905, 7.3: at stratum 1 four letters, left-justified and zero padded (figure 12).
        (b"GPS\0", 1, "GPS"),
        (b"GPS", 1, "GPS"),
        (b"PPS\0", 1, "PPS"),
        (b"GOES", 1, "GOES"),
        # 7.4: at stratum 0 a kiss code (figure 13).
        (b"RATE", 0, "RATE"),
        # Above, the IPv4 address of the server; also when its octets are letters.
        (bytes([192, 0, 2, 1]), 2, "192.0.2.1"),
        (b"GPS\0", 2, "71.80.83.0"),
        (bytes([127, 127, 1, 0]), 15, "127.127.1.0"),
        # What is no text is never sent to a terminal as text.
        (b"\x1b[2J", 1, "27.91.50.74"),
        (b"G S\0", 1, "71.32.83.0"),
        (b"\0GPS", 1, "0.71.80.83"),
        (b"\xe9t\xe9\0", 1, "233.116.233.0"),
        (bytes(4), 1, "0.0.0.0"),
        (bytes(4), 0, "0.0.0.0"),
        (bytes(4), 16, "0.0.0.0"),
    ],
)
def test_a_reference_id_for_people(reference_id: bytes, stratum: int, expected: str) -> None:
    assert expected == reference_text(reference_id, stratum)
