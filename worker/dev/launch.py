"""Becomes a Postgres program: the steps between `programs.spawn` making a process and the program's own.

Run as a script, by its path, in the program's directory, with the standard library only:

    python -I -S launch.py PARENT_PID UID GID PROGRAM ARGUMENT...

These steps must happen in the new process. Done here rather than in `preexec_fn`, they cannot deadlock on
a lock that another thread of the parent held when it forked.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

# <linux/prctl.h>, <linux/securebits.h>, <linux/capability.h>
PR_SET_PDEATHSIG = 1
PR_GET_SECUREBITS = 27
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
LINUX_CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1


def main(parent: int, uid: int, gid: int, command: list[str]) -> None:
    """Take the identity, tie our life to the parent's, and become the command."""
    # Ignored signals stay so across exec; a shell's background jobs ignore the first two, Python the others.
    for ignored in (signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored, signal.SIG_DFL)
    if os.geteuid() == 0:
        _become(uid, gid, command[0])
    if sys.platform == "linux":
        # After the change of user, which resets it. SIGINT is Postgres' fast shutdown.
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the process that started this Postgres has ended")
    os.execv(command[0], command)  # noqa: S606


def _become(uid: int, gid: int, program: str) -> None:
    """Postgres refuses to run as root: go on as a user who may run the program, and be in this directory."""
    os.setgroups([])
    barred = _barred(uid, gid, (program, str(Path.cwd())))
    if barred and sys.platform != "linux":
        sys.exit(f"user {uid} may not reach {barred}: every directory above it must let all users pass (chmod o+x)")
    if barred:
        _keep_capabilities()
    os.setgid(gid)
    os.setuid(uid)
    if barred:
        _reduce_capabilities()


def _barred(uid: int, gid: int, paths: tuple[str, ...]) -> str | None:
    """The first path that the user may not reach, as with a checkout below /root."""
    os.setegid(gid)
    os.seteuid(uid)
    try:
        return next((path for path in paths if not os.access(path, os.X_OK, effective_ids=True)), None)
    finally:
        os.seteuid(0)
        os.setegid(0)


def _keep_capabilities() -> None:
    """Let capabilities outlive setuid, and count in access(2), by which Postgres finds its own files."""
    bits = _call("prctl", PR_GET_SECUREBITS, 0, 0, 0, 0)
    _call("prctl", PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP, 0, 0, 0)


def _reduce_capabilities() -> None:
    """Keep one capability, also across exec: to pass through directories that are closed to others."""
    bit = 1 << CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
    # The effective, permitted and inheritable set: their low words, then their high ones.
    sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    _call("capset", header, sets)
    _call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)


def _call(name: str, *arguments: int | ctypes.Array[ctypes.c_uint32]) -> int:
    """A function of the C library; OSError when it fails."""
    words = [ctypes.c_ulong(each) if isinstance(each, int) else each for each in arguments]
    result: int = getattr(ctypes.CDLL(None, use_errno=True), name)(*words)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), f"{name}{arguments}")
    return result


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
    except OSError as error:
        sys.exit(
            f"cannot run {sys.argv[4]} in {Path.cwd()} as user {sys.argv[2]}: {error}. "
            "As root this needs directories that all users may pass through, or the capabilities "
            "DAC_OVERRIDE, SETPCAP, SETUID and SETGID."
        )
