"""The AUTHENTICATION TLV: what is signed, what is believed, and a network that an impostor joins."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from functools import partial

import pytest
from ptp_support import Clock, Net, grandmaster, identity, port_settings

from timesync.base.ids import PortIdentity
from timesync.base.time import Duration, Instant, Mono
from timesync.ptp.security import Association, IcvKey, Security
from timesync.ptp.settings import InstanceSettings, Intervals, Role
from timesync.wire import ptp
from timesync.wire.ptp_message import Announce, DelayReq, Header, Sync, Tlv

SECRET = bytes(range(32))
OTHER = bytes(range(1, 33))
SOURCE = PortIdentity(identity(1), 1)


def digest(secret: bytes, data: bytes) -> bytes:
    return hmac.new(secret, data, hashlib.sha256).digest()[:16]


def association(**changes: object) -> Association:
    keys = {5: IcvKey(16, partial(digest, SECRET)), 6: IcvKey(16, partial(digest, OTHER))}
    return Association(**{"spp": 1, "key_id": 5, "keys": keys, **changes})  # type: ignore[arg-type]


def sync(sequence: int = 1, log_interval: int = 0, correction_ns: int = 0, *tlvs: Tlv) -> Sync:
    correction = Duration.from_ns(correction_ns)
    header = Header(source=SOURCE, sequence_id=sequence, log_interval=log_interval, correction=correction)
    return Sync(header, tlvs=tlvs)


def at(seconds: float) -> Instant[Mono]:
    return Instant[Mono].from_ns(10**9) + Duration.from_s(seconds)


def judged(security: Security, data: bytes, seconds: float = 0.0, port: int = 1) -> str | None:
    return security.refusal(port, ptp.decode(data), data, at(seconds))


def test_the_tlv_is_laid_out_as_the_standard_has_it_and_signs_all_before_it() -> None:
    plain = ptp.encode(sync())
    sealed = Security(association()).seal(plain)
    length = len(plain) + 4 + 6 + 16  # type and length, SPP, secParamIndicator and keyID, ICV
    head = plain[:2] + length.to_bytes(2, "big") + plain[4:]
    tlv = bytes.fromhex("8009 0016 01 00 00000005")
    assert head + tlv + digest(SECRET, head + tlv) == sealed


def test_what_a_clock_with_the_same_keys_signed_is_believed_whichever_key_it_was() -> None:
    receiver = Security(association())
    assert judged(receiver, Security(association()).seal(ptp.encode(sync()))) is None
    assert judged(receiver, Security(association(key_id=6)).seal(ptp.encode(sync(2)))) is None


def test_what_is_not_signed_or_wrongly_is_refused() -> None:
    receiver, plain = Security(association()), ptp.encode(sync())
    sealed = Security(association()).seal(plain)
    assert "unsigned" == judged(receiver, plain)
    changed = bytearray(sealed)
    changed[40] ^= 1  # the origin timestamp
    assert "signature" == judged(receiver, bytes(changed))
    changed = bytearray(sealed)
    changed[-1] ^= 1
    assert "signature" == judged(receiver, bytes(changed))
    assert "signature-key" == judged(receiver, Security(association(spp=2)).seal(plain))
    unknown = association(key_id=7, keys={7: IcvKey(16, partial(digest, SECRET))})
    assert "signature-key" == judged(receiver, Security(unknown).seal(plain))
    guessed = association(keys={5: IcvKey(16, partial(digest, bytes(32)))})
    assert "signature" == judged(receiver, Security(guessed).seal(plain))


def test_a_code_of_another_length_and_fields_of_delayed_verification_are_refused() -> None:
    receiver = Security(association())
    short = association(keys={5: IcvKey(8, lambda data: digest(SECRET, data)[:8])})
    assert "signature-form" == judged(receiver, Security(short).seal(ptp.encode(sync())))
    value = bytes.fromhex("01 02 00000005") + bytes(16)  # a sequence number is in it
    assert "signature-form" == judged(receiver, ptp.encode(sync(1, 0, 0, Tlv(0x8009, value))))


def test_a_tlv_behind_the_signature_or_a_second_signature_is_refused() -> None:
    receiver = Security(association())
    sealed = Security(association()).seal(ptp.encode(sync()))
    appended = sealed + bytes.fromhex("0003 0006 001b19000001")
    appended = appended[:2] + len(appended).to_bytes(2, "big") + appended[4:]
    assert "signature-place" == judged(receiver, appended)
    assert "signature-place" == judged(receiver, Security(association()).seal(sealed))


def test_unsigned_messages_may_be_taken_while_keys_are_handed_out_but_wrongly_signed_ones_never() -> None:
    receiver = Security(association(unsigned=True))
    assert judged(receiver, ptp.encode(sync())) is None
    assert "signature-key" == judged(receiver, Security(association(spp=2)).seal(ptp.encode(sync(2))))


def test_a_transparent_clock_may_change_the_correction_only_where_that_is_agreed() -> None:
    for mutable, expected in ((True, None), (False, "signature")):
        agreed = association(mutable_correction=mutable)
        sealed = Security(agreed).seal(ptp.encode(sync()))
        corrected = sealed[:8] + ptp.encode(sync(1, 0, 500))[8:16] + sealed[16:]
        assert expected == judged(Security(agreed), corrected)


class TestReplay:
    """A recorded message played again."""

    def test_the_same_message_and_older_ones_are_refused(self) -> None:
        receiver, sender = Security(association()), Security(association())
        messages = [sender.seal(ptp.encode(sync(number))) for number in (65534, 65535, 0, 1)]
        assert [None] * 4 == [judged(receiver, one) for one in messages]
        assert ["replay"] * 4 == [judged(receiver, one, 1.0) for one in messages]

    def test_a_sender_that_was_silent_for_long_may_begin_anew(self) -> None:
        receiver, sender = Security(association()), Security(association())
        assert judged(receiver, sender.seal(ptp.encode(sync(5000, log_interval=1)))) is None
        restarted = sender.seal(ptp.encode(sync(0, log_interval=1)))
        assert "replay" == judged(receiver, restarted, 7.9)
        assert judged(receiver, restarted, 8.1) is None

    def test_ports_types_and_senders_are_counted_apart(self) -> None:
        receiver, sender = Security(association()), Security(association())
        header = sync(9).header
        announce = sender.seal(ptp.encode(Announce(header=replace(header, sequence_id=1), grandmaster=identity(1))))
        elsewhere = replace(header, source=PortIdentity(identity(2), 1), sequence_id=1)
        assert judged(receiver, sender.seal(ptp.encode(Sync(header)))) is None
        assert judged(receiver, announce) is None
        assert judged(receiver, announce, port=2) is None
        assert judged(receiver, sender.seal(ptp.encode(Sync(elsewhere)))) is None

    def test_questions_may_be_asked_in_any_order(self) -> None:
        receiver, sender = Security(association()), Security(association())
        asked = sender.seal(ptp.encode(DelayReq(sync(3).header)))
        assert [None, None] == [judged(receiver, asked), judged(receiver, asked)]

    def test_senders_without_end_do_not_fill_the_memory(self) -> None:
        receiver, sender = Security(association()), Security(association())
        for number in range(2000):
            header = replace(sync().header, source=PortIdentity(identity(number), 1))
            assert judged(receiver, sender.seal(ptp.encode(Sync(header)))) is None
        assert 256 == len(receiver._heard)


def test_a_reader_of_single_tlvs_gets_the_message_without_its_signature() -> None:
    security, plain = Security(association()), ptp.encode(sync(1, 0, 0, Tlv(0x0003, bytes.fromhex("001b19000001"))))
    assert plain == security.opened(security.seal(plain))
    assert security.opened(plain) is None
    assert security.opened(b"\x00" * 20) is None
    assert plain == Security(association(unsigned=True)).opened(plain)


@pytest.mark.parametrize("signed", [False, True])
def test_an_impostor_with_a_better_clock_is_followed_only_where_nothing_is_signed(signed: bool) -> None:
    fast = Intervals(announce=-1, sync=-2, delay=-2)
    net = Net()
    keys = association() if signed else None

    def settings(number: int, **port: object) -> InstanceSettings:
        slave = port.get("role") is Role.TIME_RECEIVER
        ports = (port_settings(intervals=fast, **port),)
        return InstanceSettings(identity=identity(number), priority1=number, slave_only=slave, ports=ports)

    right = net.node(settings(100), quality=grandmaster(), association=keys)
    taker = net.node(settings(200, role=Role.TIME_RECEIVER), Clock(ahead_s=0.5), association=keys)
    impostor = net.node(settings(1), Clock(ahead_s=30.0), quality=grandmaster())
    net.link(right, 1, taker, 1)
    net.link(impostor, 1, taker, 1)
    net.start()
    net.run(30)
    followed = taker.instance.ports[1].parent
    assert followed is not None
    assert identity(100 if signed else 1) == followed.clock
    assert round(taker.measurements[-1][1].offset.s(), 6) == (0.5 if signed else -29.5)
    assert (taker.instance.ports[1].counters.drops["unsigned"] > 100) is signed
