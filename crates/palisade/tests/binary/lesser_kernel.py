"""Runs a program as on a kernel that lacks something: lesser_kernel.py landlock|nftables PROGRAM ARGUMENTS…

A system-call filter answers as such a kernel does; it is inherited by everything that the program starts.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, FAIL = 0x7FFF0000, 0x00050000
LANDLOCK_CREATE_RULESET = 444
SOCKET = {"x86_64": 41, "aarch64": 198}[platform.machine()]
NETLINK_NETFILTER = 12
NUMBER, THIRD_ARGUMENT = 0, 32

# Each line: what it does, where to go if it holds and if not, its operand.
FILTERS = {
    "landlock": [
        (LOAD, 0, 0, NUMBER),
        (EQUAL, 0, 1, LANDLOCK_CREATE_RULESET),
        (RETURN, 0, 0, FAIL | errno.ENOSYS),
        (RETURN, 0, 0, ALLOW),
    ],
    "nftables": [
        (LOAD, 0, 0, NUMBER),
        (EQUAL, 0, 3, SOCKET),
        (LOAD, 0, 0, THIRD_ARGUMENT),
        (EQUAL, 0, 1, NETLINK_NETFILTER),
        (RETURN, 0, 0, FAIL | errno.EPROTONOSUPPORT),
        (RETURN, 0, 0, ALLOW),
    ],
}


def main():
    lines = FILTERS[sys.argv[1]]
    code = b"".join(struct.pack("HBBI", *line) for line in lines)
    code = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(lines), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0):
        sys.exit(os.strerror(ctypes.get_errno()))
    os.execv(sys.argv[2], sys.argv[2:])


main()
