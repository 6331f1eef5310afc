"""Where the port proxy may connect to: this machine, and what the operator allowed, never the cloud's metadata.

A name is resolved once and the connection goes to the addresses that were checked, so an answer of the DNS that
changes in between (rebinding) gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass

from .proxy_pages import BadPort, HostNotAllowed, OwnPort

PORT_MAX = 65535
RESOLVE_SECONDS = 5

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LOOPBACK_HOSTS = {"localhost": ("127.0.0.1", "::1")}
_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
_METADATA_SUFFIXES = (".metadata.google.internal", ".metadata.goog", ".instance-data.ec2.internal")
# what clouds answer on besides 169.254.0.0/16: Azure, Alibaba, Oracle, AWS over IPv6
_METADATA_ADDRESSES = frozenset(
    ipaddress.ip_address(text) for text in ("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254")
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True)
class Target:
    """A place to connect to: checked addresses and a port, or a Unix socket.

    Attributes
    ----------
    label
        How a sentence names it, for example ``port 3000``.
    port
        1 … 65535, or 0 with a Unix socket.
    addresses
        Literal IP addresses, tried in this order.
    unix_socket
        Path of the socket file, or empty.
    """

    label: str
    port: int
    addresses: tuple[str, ...] = ()
    unix_socket: str = ""


def check_port(text: str | int) -> int:
    """The port as a number; `BadPort` when there is no such port."""
    # more digits are no port either, and int() of thousands of digits costs time
    if len(str(text)) <= 6 and 0 < int(text) <= PORT_MAX:
        return int(text)
    raise BadPort("That is not a port.", hint=f"Ports go from 1 to {PORT_MAX}.", field="port")


def forbidden_address(address: Address) -> bool:
    """True for link-local and metadata addresses, and for what names no single machine, however it is spelled."""
    seen = embedded(address)
    return (
        seen.is_link_local
        or seen.is_multicast
        or seen.is_unspecified
        or seen in _METADATA_ADDRESSES
        or seen == ipaddress.IPv4Address("255.255.255.255")
    )


def embedded(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one (mapped, compatible, 6to4, NAT64), or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    if inner is None and (address in _NAT64 or (address.packed[:12] == bytes(12) and int(address) > 1)):
        inner = ipaddress.IPv4Address(address.packed[12:])
    return inner or address


async def resolve(host: str, port: int) -> tuple[str, ...]:
    """The addresses of an allowed host; `HostNotAllowed` when one of them may not be reached or there is none."""
    name = host.strip("[]").rstrip(".").lower()
    if name in _LOOPBACK_HOSTS:
        return _LOOPBACK_HOSTS[name]
    if name in _METADATA_NAMES or name.endswith(_METADATA_SUFFIXES):
        raise _not_allowed()
    loop = asyncio.get_running_loop()
    try:
        found = await asyncio.wait_for(loop.getaddrinfo(name, port, type=socket.SOCK_STREAM), RESOLVE_SECONDS)
    except (OSError, UnicodeError, asyncio.TimeoutError):
        raise HostNotAllowed("That host is not known here.", hint="Check the name in the address.") from None
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
    # all of them must be fine: with one good and one bad address the client would choose
    if not addresses or any(forbidden_address(ipaddress.ip_address(text)) for text in addresses):
        raise _not_allowed()
    return addresses


def _not_allowed() -> HostNotAllowed:
    return HostNotAllowed("This address cannot be reached through the workspace.")


def check_not_own(addresses: tuple[str, ...], port: int, own_ports: frozenset[int]) -> None:
    """Raise `OwnPort` when the target is the Jupyter server itself."""
    if port in own_ports and any(_on_this_machine(address) for address in addresses):
        raise OwnPort("JupyterLab itself uses this port.", hint="Choose the port of your app.", field="port")


def _on_this_machine(text: str) -> bool:
    address = ipaddress.ip_address(text)
    if embedded(address).is_loopback:
        return True
    # only an address of this machine can be bound; nothing is sent
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((text, 0))
        except OSError:
            return False
    return True
