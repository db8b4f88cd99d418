"""The program that stands between the kernel and a command of a sandbox: it makes the command's view of the files.

`sandbox_run` starts this file as a script (`python -I -S`); it imports the standard library alone and reads everything
it needs before the view changes. Its first argument says what to do:

    new VIEW TOKEN CWD -- ARGV...    make new user, mount and process namespaces, lay out the view, run ARGV in it
    join PID CWD -- ARGV...          run ARGV in the namespaces of process PID
    confine WRITABLE -- ARGV...      become ARGV, able to write below the paths of the JSON list WRITABLE only
    start TOKEN CWD -- ARGV...       run ARGV, and nothing more: proot makes the view around us

With a TOKEN, one line on standard output says how it went before ARGV writes any: `TOKEN ready PID` (PID as the kernel
sees it) or `TOKEN failed MESSAGE`. Exit codes are the command's own, 128 + n when signal n ended it.

`new` leaves two processes: the outer one waits (and ignores SIGTERM, which the command gets as a member of the same
group), the inner one is the first process of the new process namespace: it reaps, and when it ends, the system ends
everybody else in the view. It dies with the outer one.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import sys
from collections.abc import Callable
from contextlib import suppress

_NEWNS, _NEWUSER, _NEWPID = 0x00020000, 0x10000000, 0x20000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_SLAVE = 1, 2, 4, 8, 4096, 16384, 1 << 19
_MNT_DETACH = 2
_AT_RECURSIVE, _MOUNT_ATTR_RDONLY = 0x8000, 1
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 1, 38, 22
_SYS_MOUNT_SETATTR, _SYS_LANDLOCK = 442, 444  # the same on every machine, like all newer calls
_SETUP_FAILED, _NOT_EXECUTABLE, _NOT_FOUND = 125, 126, 127
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

_libc = ctypes.CDLL(None, use_errno=True)


def main(argv: list[str]) -> int:
    """Do what the arguments say; returns the exit code."""
    split = argv.index("--")
    (verb, *words), command = argv[1:split], argv[split + 1 :]
    try:
        match verb, words:
            case "new", (view, token, cwd):
                return _new(view, token=token, cwd=cwd, command=command)
            case "join", (pid, cwd):
                return _join(int(pid), cwd=cwd, command=command)
            case "confine", (writable,):
                _confine(json.loads(writable))
                _become(command)
            case "start", (token, cwd):
                _ignore_ends()
                child = _fork(lambda: _start(token, pid=0, cwd=cwd, command=command))
                code = _exit_code(os.waitpid(child, 0)[1])
                _end_others()
                return code
    except OSError as error:
        os.write(2, f"sandbox: {error}\n".encode())
    return _SETUP_FAILED


# ---------------------------------------------------------------------------------------------- processes


def _new(view: str, *, token: str, cwd: str, command: list[str]) -> int:
    with open(view, encoding="utf-8") as file:
        plan = json.load(file)
    _ignore_ends()
    try:
        _enter_namespaces()
    except OSError as error:
        return _failed(token, f"no namespaces: {error}")

    def inner() -> int:
        outside_pid = int(os.readlink("/proc/self"))  # the old /proc still counts as the kernel does
        try:
            _lay_out(plan)
        except OSError as error:
            return _failed(token, f"cannot lay out the files: {error}")
        return _supervise(lambda: _start(token, pid=outside_pid, cwd=cwd, command=command))

    return _exit_code(os.waitpid(_fork(inner), 0)[1])


def _supervise(body: Callable[[], int]) -> int:
    """As the first process of its namespace: run the body in a child and reap whoever ends, until the child does."""
    child = _fork(body)
    while True:
        pid, status = os.wait()
        if pid == child:
            return _exit_code(status)


def _join(target: int, *, cwd: str, command: list[str]) -> int:
    _ignore_ends()
    for descriptor in [os.open(f"/proc/{target}/ns/{kind}", os.O_RDONLY) for kind in ("user", "pid", "mnt")]:
        _call("setns", _libc.setns(descriptor, 0))
    return _exit_code(os.waitpid(_fork(lambda: _start("", pid=0, cwd=cwd, command=command)), 0)[1])


def _start(token: str, *, pid: int, cwd: str, command: list[str]) -> int:
    """Become the command; returns an exit code only if that is impossible."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.makedirs(cwd, exist_ok=True)
        os.chdir(cwd)
    except OSError as error:
        return _failed(token, f"working directory {cwd}: {error.strerror}")
    if not _is_program(command[0]):
        _failed(token, f"{command[0]}: executable file not found in $PATH")
        return _NOT_FOUND
    if token:
        os.write(1, f"{token} ready {pid}\n".encode())
    _become(command)
    return _NOT_EXECUTABLE


def _is_program(name: str) -> bool:
    places = [""] if "/" in name else os.environ.get("PATH", os.defpath).split(":")
    paths = [os.path.join(place, name) for place in places]
    return any(os.path.isfile(path) and os.access(path, os.X_OK) for path in paths)


def _become(command: list[str]) -> None:
    try:
        os.execvp(command[0], command)  # noqa: S606 - the command is the user's own, and is a list
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())


def _failed(token: str, message: str) -> int:
    os.write(*((1, f"{token} failed {message}\n".encode()) if token else (2, f"{message}\n".encode())))
    return _SETUP_FAILED


def _fork(body: Callable[[], int]) -> int:
    """A child that returns what the body returns, and is killed when this process dies."""
    mine, theirs = os.pipe()
    child = os.fork()
    if child:
        os.close(mine)
        return child  # `theirs` stays open here and nowhere else
    code = _SETUP_FAILED
    try:
        os.close(theirs)
        _call("prctl", _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL))
        os.set_blocking(mine, False)
        try:
            orphaned = os.read(mine, 1) == b""  # the parent died before it could be told to take us along
        except BlockingIOError:
            orphaned = False
        os.close(mine)
        code = _SETUP_FAILED if orphaned else body()
    except OSError as error:
        os.write(2, f"sandbox: {error}\n".encode())
    finally:
        os._exit(code)


def _ignore_ends() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _call(name: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


# ---------------------------------------------------------------------------------------------- namespaces


def _enter_namespaces() -> None:
    """New user, mount and process namespaces, in which we are root; real root keeps all the users it has."""
    uid, gid = os.getuid(), os.getgid()
    maps = {"uid_map": f"0 {uid} 1", "gid_map": f"0 {gid} 1"}
    if uid == 0:
        maps = {name: _identity_of(name) for name in maps}
    pid = os.getpid()
    ready, go = os.pipe()
    mapper = os.fork()
    if mapper == 0:  # only from outside may more users than oneself be mapped
        os.close(go)
        os.read(ready, 1)
        os._exit(0 if uid != 0 or _write_maps(pid, maps) else 1)
    os.close(ready)
    _call("unshare", _libc.unshare(_NEWUSER | _NEWNS | _NEWPID))
    os.close(go)
    mapped = os.waitpid(mapper, 0)[1] == 0
    if uid != 0 or not mapped:
        _write(f"/proc/{pid}/setgroups", "deny")
        _write(f"/proc/{pid}/uid_map", f"0 {uid} 1")
        _write(f"/proc/{pid}/gid_map", f"0 {gid} 1")


def _identity_of(name: str) -> str:
    """The users we know, each mapped to itself."""
    with open(f"/proc/self/{name}", encoding="ascii") as file:
        rows = [line.split() for line in file]
    return "\n".join(f"{first} {first} {count}" for first, _, count in rows)


def _write_maps(pid: int, maps: dict[str, str]) -> bool:
    try:
        for name, text in maps.items():
            _write(f"/proc/{pid}/{name}", text)
    except OSError:
        return False
    return True


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------------------------------------- mounts


def _mount(source: str, target: str, kind: str | None, *, flags: int = 0, options: str = "") -> None:
    text = [word.encode() if word is not None else None for word in (source, target, kind, options or None)]
    result = _libc.mount(text[0], text[1], text[2], ctypes.c_ulong(flags), text[3])
    _call(f"mount {target}", result)


def _bind(source: str, target: str, *, writable: bool) -> None:
    """Show a file or directory with everything mounted below it at another place too."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
    _mount(source, target, None, flags=_MS_BIND | _MS_REC)
    if not writable:
        attributes = struct.pack("=QQQQ", _MOUNT_ATTR_RDONLY, 0, 0, 0)
        arguments = (-100, target.encode(), _AT_RECURSIVE, attributes, ctypes.c_size_t(len(attributes)))
        _call(f"mount_setattr {target}", _libc.syscall(_SYS_MOUNT_SETATTR, *arguments))


def _lay_out(plan: dict[str, object]) -> None:
    """Mount what the plan of `sandbox_run` lists, and make its root ours."""
    root = str(plan["root"])
    _mount("none", "/", None, flags=_MS_REC | _MS_SLAVE)
    _mount(str(plan["tree"]), root, None, flags=_MS_BIND)
    for overlay in plan["overlays"]:  # type: ignore[attr-defined]
        _overlay(root, **overlay)
    for source, path, writable in plan["binds"]:  # type: ignore[attr-defined]
        if os.path.realpath(root + path) != root + path:  # a link of the image would lead out: "/" is the host's yet
            raise OSError(f"{path} goes through a symbolic link")
        _bind(source, root + path, writable=writable)
    _special_files(root)
    os.chdir(root)
    _call("pivot_root", _libc.pivot_root(b".", b"."))
    _call("umount", _libc.umount2(b".", _MNT_DETACH))
    os.chdir("/")


def _overlay(root: str, *, path: str, options: str, host: str) -> None:
    """Lay directories over each other; what cannot take part (a network file system, say) is shown read-only."""
    try:
        _mount("overlay", root + path, "overlay", options=options)
    except OSError:
        if not host:
            raise
        _bind(host, root + path, writable=False)


def _special_files(root: str) -> None:
    for name in ("proc", "dev", "sys"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
    try:
        _mount("proc", f"{root}/proc", "proc", flags=_MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    except OSError:  # forbidden where parts of the outer /proc are hidden
        _bind("/proc", f"{root}/proc", writable=True)
    if os.path.isdir("/sys"):
        _bind("/sys", f"{root}/sys", writable=False)
    device = f"{root}/dev"
    _mount("tmpfs", device, "tmpfs", flags=_MS_NOSUID, options="mode=755")
    for name in filter(lambda each: os.path.exists(f"/dev/{each}"), _DEVICES):
        _bind(f"/dev/{name}", f"{device}/{name}", writable=True)
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{target}", f"{device}/{name}")
    os.mkdir(f"{device}/shm")
    os.chmod(f"{device}/shm", 0o1777)  # noqa: S103 - as everywhere, on a private device
    os.mkdir(f"{device}/pts")
    try:
        _mount("devpts", f"{device}/pts", "devpts", options="newinstance,ptmxmode=0666,mode=620")
        os.symlink("pts/ptmx", f"{device}/ptmx")
    except OSError:
        os.rmdir(f"{device}/pts")  # a container without terminals is still a container


# ---------------------------------------------------------------------------------------------- without namespaces

_WRITING = sum(1 << bit for bit in (1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13))  # of Landlock's rights; 13 needs version 2
_WRITING_FILES = 1 << 1
# Calls proot 5.1 does not translate, so that they would see the host's files; without them, programs use older ones.
_UNTRANSLATED = {"x86_64": (332, 437, 439, 452), "aarch64": (291, 437, 439, 452)}  # statx openat2 faccessat2 fchmodat2
_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_ENOSYS = 38


def _confine(writable: list[str]) -> None:
    """Forbid writing elsewhere (with Landlock, where the system has it), and the calls proot does not know."""
    _call("prctl", _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if _libc.syscall(_SYS_LANDLOCK, None, ctypes.c_size_t(0), 1) >= 2:
        attribute = struct.pack("=Q", _WRITING)
        ruleset = _call("landlock", _libc.syscall(_SYS_LANDLOCK, attribute, ctypes.c_size_t(len(attribute)), 0))
        for path in writable:
            _allow(ruleset, path)
        _call("landlock", _libc.syscall(_SYS_LANDLOCK + 2, ruleset, 0))
        os.close(ruleset)
    machine = os.uname().machine
    if machine in _ARCHITECTURE:
        _refuse_calls(_UNTRANSLATED[machine], _ARCHITECTURE[machine])


def _end_others() -> None:
    """Kill what the same proot watches over: it ends only after all of them, and the command is over."""
    mine = _tracer("self")
    while others := [pid for pid in os.listdir("/proc") if pid.isdigit() and _tracer(pid) == mine != "0"]:
        others.remove(str(os.getpid()))
        for pid in others:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        if not others:
            return


def _tracer(pid: str) -> str:
    with suppress(OSError), open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        fields = dict(line.split(":\t", 1) for line in file if ":\t" in line)
        if not fields["State"].startswith(("Z", "X")):
            return fields["TracerPid"].strip()
    return ""


def _allow(ruleset: int, path: str) -> None:
    descriptor = os.open(path, os.O_PATH)
    rights = _WRITING if os.path.isdir(path) else _WRITING_FILES
    _call("landlock", _libc.syscall(_SYS_LANDLOCK + 1, ruleset, 1, struct.pack("=Qi", rights, descriptor), 0))
    os.close(descriptor)


def _refuse_calls(numbers: tuple[int, ...], architecture: int) -> None:
    """A seccomp filter that answers these calls with "not implemented" and allows all others."""
    load, equal, answer = 0x20, 0x15, 0x06
    program = [(load, 0, 0, 4), (equal, 0, len(numbers) + 1, architecture), (load, 0, 0, 0)]
    program += [(equal, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
    program += [(answer, 0, 0, 0x7FFF0000), (answer, 0, 0, 0x00050000 | _ENOSYS)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in program))
    header = struct.pack("@HP", len(program), ctypes.addressof(code))
    _call("seccomp", _libc.prctl(_PR_SET_SECCOMP, 2, header, 0, 0))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
