"""Tells the kernel's SMC which devices belong to one network, over generic netlink (`smc_pnet` and `smcr` are not in Debian)."""

import socket
import struct

NETLINK_GENERIC = 16
GENL_CONTROL, GET_FAMILY, FAMILY_ID, FAMILY_NAME = 16, 3, 1, 2
REQUEST_AND_ACK = 1 | 4
PNETID_ADD, PNETID_NAME, PNETID_ETHNAME, PNETID_IBNAME, PNETID_IBPORT = 2, 1, 2, 3, 4
ADD_UEID, EID_ENTRY = 10, 1
NETWORK = "MILLRACE"


def attribute(kind, value):
    data = value if isinstance(value, bytes) else value.encode() + b"\0"
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def ask(link, family, command, *attributes):
    body = struct.pack("=BBH", command, 1, 0) + b"".join(attributes)
    link.send(struct.pack("=IHHII", 16 + len(body), family, REQUEST_AND_ACK, 1, 0) + body)
    reply = b""
    while True:
        data = link.recv(65536)
        if struct.unpack_from("=H", data, 4)[0] == 2:  # The acknowledgement, or an error.
            error = -struct.unpack_from("=i", data, 16)[0]
            if error not in (0, 17):  # EEXIST: somebody has told it before.
                raise OSError(error, f"generic netlink, family {family}, command {command}")
            return reply
        reply = data


def family(link, name):
    reply = ask(link, GENL_CONTROL, GET_FAMILY, attribute(FAMILY_NAME, name))
    at = 20
    while at < len(reply):
        length, kind = struct.unpack_from("=HH", reply, at)
        if kind == FAMILY_ID:
            return struct.unpack_from("=H", reply, at + 4)[0]
        at += (length + 3) & ~3
    raise OSError(f"no family {name}")


def set_up(pairs):
    """`pairs` are (network device, RDMA device). A user-defined identifier makes version 2 possible, which needs no RoCE v1."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC) as link:
        link.bind((0, 0))
        pnetid = family(link, "SMC_PNETID")
        for network_device, rdma_device in pairs:
            ask(link, pnetid, PNETID_ADD, attribute(PNETID_NAME, NETWORK), attribute(PNETID_ETHNAME, network_device))
            ask(link, pnetid, PNETID_ADD, attribute(PNETID_NAME, NETWORK), attribute(PNETID_IBNAME, rdma_device),
                attribute(PNETID_IBPORT, b"\1"))
        ask(link, family(link, "SMC_GEN_NETLINK"), ADD_UEID, attribute(EID_ENTRY, NETWORK.ljust(32).encode() + b"\0"))
