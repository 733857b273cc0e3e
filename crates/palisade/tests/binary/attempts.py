"""Tries things an agent must not be able to do, and says for each one whether it worked.

usage: attempts.py PARAMETERS.json NAME...
One line of JSON for each name: {"name": ..., "outcome": "done" | "blocked", "detail": ...}
Each attempt runs in a child of its own, so that one that is killed by a filter does not end the rest.
"""

import ctypes
import errno
import fcntl
import glob
import json
import os
import pty
import signal
import socket
import stat
import struct
import sys
import termios

LIBC = ctypes.CDLL(None, use_errno=True)
SECONDS = 10
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
SYS_PTRACE, SYS_MOUNT, SYS_UNSHARE = 101, 165, 272
SYS_ADD_KEY, SYS_KEYCTL, SYS_PERF_EVENT_OPEN = 248, 250, 298
SYS_BPF, SYS_USERFAULTFD, SYS_IO_URING_SETUP = 321, 323, 425
SYS_OPEN_TREE, SYS_FSOPEN = 428, 430


def syscall(number, *arguments):
    result = LIBC.syscall(number, *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def read(path):
    with open(path, "rb") as file:
        if not file.read(64):
            raise OSError(errno.ENODATA, "empty")


def read_shadow(p):
    read("/etc/shadow")


def read_ssh_key(p):
    read(p["home"] + "/.ssh/id_ed25519")


def read_cloud_credentials(p):
    read(p["home"] + "/.aws/credentials")


def read_ssh_host_keys(p):
    for path in glob.glob(p["host_keys"]):
        return read(path)
    raise OSError(errno.ENOENT, "none seen")


def read_environ_of_init(p):
    read("/proc/1/environ")


def read_memory_of_init(p):
    # Where a program's stack and heap lie, and then a byte of it.
    with open("/proc/1/maps") as maps:
        first = maps.readline()
    with open("/proc/1/mem", "rb", 0) as memory:
        memory.seek(int(first.split("-")[0], 16))
        memory.read(1)


def see_host_processes(p):
    os.stat("/proc/%d" % p["victim"])


def signal_host_process(p):
    os.kill(p["victim"], 0)


def write_outside(p):
    with open(p["outside"] + "/written", "w") as file:
        file.write("x")


def write_system(p):
    with open("/usr/local/palisade-test-%d" % os.getpid(), "w") as file:
        os.unlink(file.name)


def write_proc_sys(p):
    with open("/proc/sys/kernel/hostname") as file:
        own = file.read()
    with open("/proc/sys/kernel/hostname", "w") as file:
        file.write(own)


def list_sys(p):
    if not os.listdir("/sys"):
        raise OSError(errno.ENOENT, "empty")


def setuid_bit(p):
    path = "setuid-%d" % os.getpid()
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o755))
    try:
        os.chmod(path, 0o4755)
        if not os.stat(path).st_mode & stat.S_ISUID:
            raise OSError(errno.EPERM, "the bit did not stay")
    finally:
        os.unlink(path)


def talk(family, kind, address, say, expect):
    with socket.socket(family, kind) as s:
        s.settimeout(4)
        s.connect(address)
        if say:
            s.sendall(say)
        answer = s.recv(4096)
        if expect not in answer:
            raise OSError(errno.EPROTO, answer[:60].decode("latin-1"))


def host_loopback_tcp(p):
    talk(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", p["tcp"]), b"", b"220 ")


def host_loopback_udp(p):
    talk(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", p["udp"]), b"ping", b"pong")


def host_abstract_socket(p):
    talk(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + p["abstract"], b"ping", b"pong")


def host_path_socket(p):
    talk(socket.AF_UNIX, socket.SOCK_STREAM, p["outside"] + "/socket", b"ping", b"pong")


def http(family, address):
    host = ("[%s]" if ":" in address else "%s") % address
    say = ("GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % host).encode()
    talk(family, socket.SOCK_STREAM, (address, 80), say, b"HTTP/1.1 200 ")


def raw_ipv4(p):
    http(socket.AF_INET, "203.0.113.9")


def raw_ipv6(p):
    http(socket.AF_INET6, "2001:db8::9")


def metadata_service(p):
    http(socket.AF_INET, "169.254.169.254")


def foreign_dns(p):
    # example.com, type A, asked of a public resolver. Only an answer that is no synthetic address came from outside.
    query = bytes.fromhex("123401000001000000000000076578616d706c6503636f6d0000010001")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(4)
        s.sendto(query, ("192.0.2.53", 53))
        answer = s.recv(512)
    if answer[-4] in (198,):
        raise OSError(errno.EPROTO, "a synthetic address: %d.%d.%d.%d" % tuple(answer[-4:]))


def foreign_udp(p):
    talk(socket.AF_INET, socket.SOCK_DGRAM, ("203.0.113.9", 4433), b"ping", b"")


def open_socket(family, kind=socket.SOCK_STREAM, protocol=0):
    socket.socket(family, kind, protocol).close()


def af_vsock(p):
    open_socket(40)


def af_packet(p):
    open_socket(socket.AF_PACKET, socket.SOCK_RAW)


def af_alg(p):
    open_socket(38, socket.SOCK_SEQPACKET)


def af_netlink_nftables(p):
    open_socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)


def raw_ip_socket(p):
    open_socket(socket.AF_INET, socket.SOCK_RAW, 1)


def io_uring(p):
    syscall(SYS_IO_URING_SETUP, 4, ctypes.create_string_buffer(256))


def keyring(p):
    syscall(SYS_ADD_KEY, b"user", b"palisade-test", b"x", 1, -2)


def keyctl(p):
    syscall(SYS_KEYCTL, 0, -3, 1)


def bpf(p):
    # BPF_MAP_CREATE of an array of one.
    attributes = ctypes.create_string_buffer(struct.pack("IIII", 2, 4, 4, 1) + bytes(112))
    syscall(SYS_BPF, 0, attributes, 128)


def userfaultfd(p):
    syscall(SYS_USERFAULTFD, 1)


def perf_events(p):
    # A software clock of this very process.
    attributes = ctypes.create_string_buffer(struct.pack("IIQ", 1, 128, 0) + bytes(112))
    syscall(SYS_PERF_EVENT_OPEN, attributes, 0, -1, -1, 0)


def new_user_namespace(p):
    syscall(SYS_UNSHARE, CLONE_NEWUSER)


def mount(p):
    if p["where"] == "outside":
        # The control must not change the host: a mount namespace of its own, which passes nothing on.
        syscall(SYS_UNSHARE, CLONE_NEWNS)
        syscall(SYS_MOUNT, b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    syscall(SYS_MOUNT, b"none", b"/tmp", b"tmpfs", 0, None)


def mount_in_new_namespace(p):
    syscall(SYS_UNSHARE, CLONE_NEWUSER | CLONE_NEWNS)
    syscall(SYS_MOUNT, b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    syscall(SYS_MOUNT, b"none", b"/tmp", b"tmpfs", 0, None)


def open_tree(p):
    syscall(SYS_OPEN_TREE, -100, b"/", 1)


def fsopen(p):
    syscall(SYS_FSOPEN, b"tmpfs", 0)


def chroot(p):
    os.chroot("/tmp")


def trace_init(p):
    # PTRACE_SEIZE
    syscall(SYS_PTRACE, 0x4206, p["victim"] if p["where"] == "outside" else 1, 0, 0)


def become_root(p):
    os.setuid(0)
    read("/proc/self/status")


def type_into_terminal(p):
    child, side = pty.fork()
    if child == 0:
        try:
            fcntl.ioctl(0, termios.TIOCSTI, b"x")
        except OSError as error:
            os._exit(error.errno)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise OSError(code, os.strerror(abs(code)))


def devices(p):
    open("/dev/kmsg").close()


def kernel_memory(p):
    read("/proc/kcore")


def attempt(name, parameters):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        signal.alarm(SECONDS)
        try:
            globals()[name](parameters)
            outcome = ["done", ""]
        except OSError as error:
            outcome = ["blocked", str(error)]
        os.write(writer, json.dumps(outcome).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    status = os.waitpid(child, 0)[1]
    outcome, detail = json.loads(text) if text else ("blocked", "killed: status %d" % status)
    print(json.dumps({"name": name, "outcome": outcome, "detail": detail}), flush=True)


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        given = json.load(file)
    for wanted in sys.argv[2:]:
        attempt(wanted, given)
