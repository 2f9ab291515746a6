"""Which class reads a TLV: one table over all modules that have some."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from timesync.wire import csptp_tlv as csptp
from timesync.wire import gptp_tlv as gptp
from timesync.wire import ptp_tlv as ptp
from timesync.wire import ptp_tlv_profile as profile
from timesync.wire.error import WireError
from timesync.wire.ptp_management import ManagementError, ManagementTlv
from timesync.wire.ptp_message import Tlv

PtpTlv = (
    ptp.PathTrace
    | ptp.Organization
    | ptp.UnicastRequest
    | ptp.UnicastGrant
    | ptp.UnicastCancel
    | ptp.AlternateTimeOffset
    | ptp.Authentication
    | ptp.Pad
)
ProfileTlv = (
    profile.PowerProfile2011 | profile.PowerProfile2017 | profile.SynchronizationMetadata | profile.InterfaceRate
)
GptpTlv = gptp.FollowUpInformation | gptp.MessageIntervalRequest | gptp.GptpCapable | gptp.GptpCapableIntervalRequest
CsptpTlv = csptp.CsptpRequest | csptp.CsptpResponse | csptp.CsptpStatus
TypedTlv = PtpTlv | ProfileTlv | GptpTlv | CsptpTlv | ManagementTlv | ManagementError

_BY_TYPE: dict[int, Callable[[Tlv], TypedTlv]] = {
    ptp.TlvType.MANAGEMENT: ManagementTlv.from_tlv,
    ptp.TlvType.MANAGEMENT_ERROR_STATUS: ManagementError.from_tlv,
    ptp.TlvType.REQUEST_UNICAST_TRANSMISSION: ptp.UnicastRequest.from_tlv,
    ptp.TlvType.GRANT_UNICAST_TRANSMISSION: ptp.UnicastGrant.from_tlv,
    ptp.TlvType.CANCEL_UNICAST_TRANSMISSION: ptp.UnicastCancel.from_tlv,
    ptp.TlvType.ACKNOWLEDGE_CANCEL_UNICAST_TRANSMISSION: ptp.UnicastCancel.from_tlv,
    ptp.TlvType.PATH_TRACE: ptp.PathTrace.from_tlv,
    ptp.TlvType.ALTERNATE_TIME_OFFSET_INDICATOR: ptp.AlternateTimeOffset.from_tlv,
    ptp.TlvType.PAD: ptp.Pad.from_tlv,
    ptp.TlvType.AUTHENTICATION: ptp.Authentication.from_tlv,
    ptp.TlvType.CSPTP_STATUS: csptp.CsptpStatus.from_tlv,
    ptp.TlvType.CSPTP_REQUEST: csptp.CsptpRequest.from_tlv,
    ptp.TlvType.CSPTP_RESPONSE: csptp.CsptpResponse.from_tlv,
}
_FORWARDED_OR_NOT: dict[bytes, Callable[[Tlv], TypedTlv]] = {
    profile.POWER_2011: profile.PowerProfile2011.from_tlv,
    profile.POWER_2017: profile.PowerProfile2017.from_tlv,
    profile.SYNCHRONIZATION_METADATA: profile.SynchronizationMetadata.from_tlv,
    profile.INTERFACE_RATE: profile.InterfaceRate.from_tlv,
}
_BY_ORGANIZATION: dict[tuple[int, bytes], Callable[[Tlv], TypedTlv]] = {
    (ptp.TlvType.ORGANIZATION_EXTENSION, gptp.FOLLOW_UP_INFORMATION): gptp.FollowUpInformation.from_tlv,
    (ptp.TlvType.ORGANIZATION_EXTENSION, gptp.MESSAGE_INTERVAL_REQUEST): gptp.MessageIntervalRequest.from_tlv,
    (ptp.TlvType.ORGANIZATION_EXTENSION_DO_NOT_PROPAGATE, gptp.GPTP_CAPABLE): gptp.GptpCapable.from_tlv,
    (
        ptp.TlvType.ORGANIZATION_EXTENSION_DO_NOT_PROPAGATE,
        gptp.GPTP_CAPABLE_INTERVAL_REQUEST,
    ): gptp.GptpCapableIntervalRequest.from_tlv,
    **{(kind, key): reader for kind in ptp.ORGANIZATION_KINDS for key, reader in _FORWARDED_OR_NOT.items()},
}

_T = TypeVar("_T")


def read(tlv: Tlv) -> TypedTlv | Tlv:
    """What a TLV says; the TLV itself when its type is not known here, an Organization when only that is.

    Raises WireError when it breaks the layout of its type.
    """
    if tlv.kind in ptp.ORGANIZATION_KINDS:
        return _BY_ORGANIZATION.get((tlv.kind, tlv.value[:6]), ptp.Organization.from_tlv)(tlv)
    reader = _BY_TYPE.get(tlv.kind)
    return tlv if reader is None else reader(tlv)


def find(tlvs: tuple[Tlv, ...], kind: type[_T]) -> _T | None:
    """The first TLV of a class among those of a message, or None; broken ones are passed over."""
    for tlv in tlvs:
        try:
            found = read(tlv)
        except WireError:
            continue
        if isinstance(found, kind):
            return found
    return None
