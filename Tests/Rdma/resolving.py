"""Asks rdma_cm which device a connection between two addresses would use, as the library does."""

import ctypes
import errno
import ipaddress
import os
import socket
import struct

RDMA_PS_TCP = 0x0106
# struct rdma_cm_id: verbs, channel, context, qp, then the route, whose first member is a struct rdma_addr: two socket addresses in
# unions of the size of sockaddr_storage, then the two GIDs.
ROUTE = 4 * 8
SOURCE_GID = ROUTE + 2 * 128


def socket_address(address):
    if ":" in address:
        return struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, socket.inet_pton(socket.AF_INET6, address), 0)
    return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))


def checked(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {errno.errorcode.get(number, number)} {os.strerror(number)}")


def resolve(source, destination, milliseconds=4000):
    """(device, own GID, the other's GID). Raises OSError if there is no way."""
    verbs = ctypes.CDLL("libibverbs.so.1", use_errno=True)
    cm = ctypes.CDLL("librdmacm.so.1", use_errno=True)
    verbs.ibv_get_device_name.restype = ctypes.c_char_p
    verbs.ibv_get_device_name.argtypes = [ctypes.c_void_p]
    identifier = ctypes.c_void_p()
    # Without a channel of its own every call waits for its event.
    checked(cm.rdma_create_id(None, ctypes.byref(identifier), None, RDMA_PS_TCP), "rdma_create_id")
    try:
        own = socket_address(source) if source else None
        checked(cm.rdma_resolve_addr(identifier, own, socket_address(destination), milliseconds), "rdma_resolve_addr")
        context = ctypes.c_void_p.from_address(identifier.value).value
        device = ctypes.c_void_p.from_address(context).value
        gids = [str(ipaddress.IPv6Address(ctypes.string_at(identifier.value + SOURCE_GID + at, 16))) for at in (0, 16)]
        return (verbs.ibv_get_device_name(device).decode(), *[readable(gid) for gid in gids])
    finally:
        cm.rdma_destroy_id(identifier)


def readable(gid):
    mapped = ipaddress.IPv6Address(gid).ipv4_mapped
    return f"::ffff:{mapped}" if mapped else gid
