"""Filters of system calls, for a process that is about to execute a program, or for a running one."""

import ctypes
import struct

MEMFD_CREATE, SOCKET, CLONE, CLONE3, SECCOMP, PIDFD_OPEN, PIDFD_GETFD = 319, 41, 56, 435, 317, 434, 438
AF_UNIX, AF_NETLINK, EPERM = 1, 16, 1
NO_NEW_PRIVS, SET_MODE_FILTER, FILTER_FLAG_TSYNC = 38, 1, 1
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER, FIRST_ARGUMENT = 0, 16
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | EPERM

LIBC = ctypes.CDLL(None, use_errno=True)


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def instructions(refused):
    """`refused`: numbers of system calls, or (number, first argument)."""
    code = []
    for call in refused:
        number, argument = call if isinstance(call, tuple) else (call, None)
        body = [(RETURN, 0, 0, REFUSE)]
        if argument is not None:
            body = [(LOAD, 0, 0, FIRST_ARGUMENT), (EQUAL, 0, 1, argument), *body]
        code += [(LOAD, 0, 0, NUMBER), (EQUAL, 0, len(body), number), *body]
    code.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("=HBBI", *one) for one in code), len(code)


def refuse(*calls):
    """From now on these calls fail with EPERM, in every thread of the process and in what it becomes."""
    code, length = instructions(calls)
    program = Program(length, code)
    assert LIBC.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    if LIBC.syscall(SECCOMP, SET_MODE_FILTER, FILTER_FLAG_TSYNC, ctypes.byref(program)) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")
