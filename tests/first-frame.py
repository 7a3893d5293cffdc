#!/usr/bin/env python3
"""Milliseconds from a program's start to its first frame on a terminal, beside another command's whole run.

    first-frame.py PROGRAM [ARGUMENT...] -- COMMAND [ARGUMENT...]
"""
import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time

RUNS = 15


def first_frame(arguments: list[str], state: str) -> float:
    begun = time.perf_counter()
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        os.environ.update(LANG="C.UTF-8", TERM="xterm-256color", XDG_STATE_HOME=state, XDG_CONFIG_HOME=state)
        os.execv(arguments[0], arguments)
    shown = b""
    while b"NODES" not in shown:
        ready, _, _ = select.select([terminal], [], [], 10)
        if not ready or time.perf_counter() - begun > 10:
            sys.exit(f"no frame within 10 s: {shown[-200:]!r}")
        shown += os.read(terminal, 65536)
    taken = time.perf_counter() - begun
    os.kill(child, signal.SIGTERM)
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:
        pass  # The terminal ends with its program.
    os.waitpid(child, 0)
    return taken * 1000


def whole_run(arguments: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return (time.perf_counter() - begun) * 1000


def main() -> None:
    split = sys.argv.index("--")
    ours, beside = sys.argv[1:split], sys.argv[split + 1 :]
    with tempfile.TemporaryDirectory() as state:
        first_frame(ours, state)
        frames = [first_frame(ours, state) for _ in range(RUNS)]
    runs = [whole_run(beside) for _ in range(RUNS)]
    mine, theirs = statistics.median(frames), statistics.median(runs)
    print(f"start to first frame: median {mine:.1f} ms, worst {max(frames):.1f} ms")
    print(f"{' '.join(beside)}: median {theirs:.1f} ms; ratio {mine / theirs:.2f}")


main()
