#!/usr/bin/env python3
"""The program on a pseudo-terminal of its own, which closes, answers, pastes, sends signals and is lent. One line a fault; none
is good.

    terminal.py PROGRAM PKI
"""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import tempfile
import termios
import time

from api import Api

PROGRAM, PKI = sys.argv[1:3]
FAULTS: list[str] = []
LEFT = b"\x1b[?1049l"
BACK = b"\x1b[?1049h"
# Gives what is typed as the token, where it may ask.
PLUGIN = """#!/bin/sh
case "$KUBERNETES_EXEC_INFO" in
*'"interactive":true'*) printf 'Code: ' >&2; read code ;;
*) echo 'a code is needed' >&2; exit 1 ;;
esac
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"'$code'"}}'
"""
KUBECONFIG = """apiVersion: v1
kind: Config
current-context: x
clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:{port}', certificate-authority: '{pki}/ca.pem'}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: '{state}/plugin',
  interactiveMode: IfAvailable}}}}}}]
"""


def check(good: bool, what: str) -> None:
    if not good:
        FAULTS.append(what)


class Terminal:
    def __init__(self, state: str, term: str = "xterm-256color", arguments: tuple[str, ...] = ("--local",)) -> None:
        self.state, self.shown, self.code = state, b"", None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
            os.environ.update(LANG="C.UTF-8", TERM=term, XDG_STATE_HOME=state, XDG_CONFIG_HOME=state)
            os.execv(PROGRAM, [PROGRAM, *arguments])

    def read(self, seconds: float) -> bytes:
        end, got = time.monotonic() + seconds, b""
        while (left := end - time.monotonic()) > 0:
            if select.select([self.fd], [], [], min(left, 0.05))[0]:
                try:
                    part = os.read(self.fd, 65536)
                except OSError:
                    break
                if not part:
                    break
                got += part
        self.shown += got
        return got

    def until(self, text: bytes, seconds: float = 20) -> bool:
        end = time.monotonic() + seconds
        while text not in self.shown and time.monotonic() < end and not self.ended(0):
            self.read(0.05)
        return text in self.shown

    def send(self, data: bytes) -> None:
        while data:
            readable, writable, _ = select.select([self.fd], [self.fd], [], 5)
            if readable:
                self.shown += os.read(self.fd, 65536)
            if writable:
                data = data[os.write(self.fd, data[:1024]) :]

    def ended(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() >= end:
                return False
            elif self.fd >= 0:
                self.read(0.05)
            else:
                time.sleep(0.05)
        return True

    def cpu(self) -> float:
        fields = open(f"/proc/{self.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        if not self.ended(0):
            os.kill(self.pid, signal.SIGKILL)
            self.ended(5)


def started(state: str) -> Terminal:
    terminal = Terminal(state)
    check(terminal.until(b"Ready"), f"no list: {terminal.shown[-300:]!r}")
    return terminal


def panics(state: str) -> list[str]:
    return [name for _, _, names in os.walk(state) for name in names if name.startswith("panic")]


def closes(state: str) -> None:
    """With an agent, so that there is something to clean up."""
    terminal = started(state)
    terminal.send(b"d")
    check(terminal.until(b"live"), "no agent")
    os.close(terminal.fd)
    terminal.fd = -1
    check(terminal.ended(20), "it goes on without a terminal")
    check(terminal.code == 0, f"its terminal was closed: code {terminal.code}")
    check(not panics(state), f"its terminal was closed: {panics(state)}")


def closes_without_a_signal(state: str) -> None:
    """As under nohup: nothing but the terminal itself says that it is gone. It must not spin meanwhile."""
    terminal = started(state)
    os.kill(terminal.pid, signal.SIGSTOP)
    before = terminal.cpu()
    os.close(terminal.fd)
    terminal.fd = -1
    os.kill(terminal.pid, signal.SIGCONT)
    time.sleep(0.3)
    if not terminal.ended(0):
        spent = terminal.cpu() - before
        check(spent < 0.3, f"{spent} s of a core in 0.3 s")
    check(terminal.ended(20) and terminal.code == 0, f"closed while it was stopped: code {terminal.code}")
    check(not panics(state), "a panic")


def interrupted(state: str, name: str) -> None:
    terminal = started(state)
    os.kill(terminal.pid, getattr(signal, name))
    check(terminal.ended(20) and terminal.code == 0, f"{name}: code {terminal.code}")
    terminal.read(0.3)
    check(LEFT in terminal.shown, f"{name}: the screen is not put back")


def pasted(state: str, marked: bool) -> None:
    terminal = started(state)
    terminal.send(b"/")
    terminal.read(0.3)
    before = terminal.cpu()
    text = b"a" * 10_000
    terminal.send(b"\x1b[200~" + text + b"\x1b[201~" if marked else text)
    terminal.read(1.5)
    spent = terminal.cpu() - before
    # Of a build for debugging, and of a machine that has other work.
    check(spent < 5, f"a paste (marked: {marked}) took {spent} s of a core")
    os.kill(terminal.pid, signal.SIGTERM)
    check(terminal.ended(5), f"SIGTERM after a paste (marked: {marked}) is not heard")
    terminal.kill()


def answers(state: str) -> None:
    terminal = started(state)
    for answer in [
        b"\x1b]11;rgb:qqqq/:q\r/1c1c\x1b\\",
        b"\x1b]10;rgb:ff/dd/qq\x07",
        b"\x1bP>|xterm(370)q\x1b\\",
        b"\x1b[?1;2c",
        b"\x1b[12;40R",
        b"\x1b[I\x1b[O",
        b"\x1b[?1u",
    ]:
        terminal.shown = b""
        terminal.send(answer)
        terminal.read(0.4)
        frame = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", terminal.shown)
        check(not terminal.ended(0), f"{answer!r} ended it")
        check(b"Leave" not in frame and b"EXIT" not in frame, f"{answer!r} was a key: {frame[:200]!r}")
    terminal.shown = b""
    terminal.send(b":")
    check(terminal.until(b"captures", 10), f"keys are not heard after answers: {terminal.shown!r}")
    os.kill(terminal.pid, signal.SIGTERM)
    check(terminal.ended(20), "SIGTERM after answers is not heard")
    terminal.kill()


def dumb(state: str) -> None:
    terminal = Terminal(state, "dumb")
    check(terminal.ended(10) and terminal.code == 2, f"TERM=dumb: code {terminal.code}")
    terminal.read(0.2)
    check(b"TERM is dumb" in terminal.shown and b"\x1b" not in terminal.shown, f"TERM=dumb: {terminal.shown!r}")


def explained(state: str) -> None:
    """On a terminal a text is laid out for its width; only commands, which are copied, may be longer."""
    terminal = Terminal(state, arguments=("explain", "N-11"))
    check(terminal.ended(10) and terminal.code == 0, f"explain: code {terminal.code}")
    terminal.read(0.2)
    lines = [line.rstrip() for line in terminal.shown.decode().splitlines()]
    check("\x1b[1mWHAT IT MEANS\x1b[0m" in lines, f"explain: no bold heading: {lines!r}")
    wide = [line for line in lines if len(line) > 100 and not line.startswith(" " * 6)]
    check(not wide and not any("##" in line or "```" in line for line in lines), f"explain: {lines!r}")
    check(any(len(line) > 80 for line in lines), f"explain: the width is not used: {lines!r}")


def lent(state: str) -> None:
    """A plugin that must ask: before the screen, and again when the guided exit needs other credentials."""
    with open(f"{state}/plugin", "w", opener=lambda path, flags: os.open(path, flags, 0o755)) as plugin:
        plugin.write(PLUGIN)
    with Api(PKI, "one") as api:
        with open(f"{state}/config", "w") as config:
            config.write(KUBECONFIG.format(port=api.port, pki=PKI, state=state))
        arguments = ("--kubeconfig", f"{state}/config", "--image", "registry.example/agent:1")
        terminal = Terminal(state, arguments=arguments)
        check(terminal.until(b"Code: "), "it does not ask before the screen")
        terminal.send(b"one\n")
        check(terminal.until(b"Ready"), f"no list: {terminal.shown[-300:]!r}")
        terminal.send(b"d")
        end = time.monotonic() + 20
        while not api.has("/jobs/") and time.monotonic() < end:
            terminal.read(0.1)
        check(api.has("/jobs/"), f"nothing was deployed: {terminal.shown[-500:]!r}")
        api.takes, terminal.shown = "two", b""
        terminal.send(b"q")
        check(terminal.until(b"Code: "), f"it does not ask in the guided exit: {terminal.shown[-500:]!r}")
        check(LEFT in terminal.shown, "it asks on the screen")
        terminal.send(b"two\n")
        check(terminal.until(BACK), f"the screen does not come back: {terminal.shown[-500:]!r}")
        end = time.monotonic() + 30
        while not terminal.ended(0.5) and time.monotonic() < end:
            terminal.send(b"\r")
        check(terminal.code == 0, f"code {terminal.code}: {terminal.shown[-1500:]!r}")
        check(not api.has("nodewatch"), f"left: {api.paths()}")
        terminal.kill()


def main() -> None:
    for case in [
        closes,
        closes_without_a_signal,
        lambda state: interrupted(state, "SIGINT"),
        lambda state: interrupted(state, "SIGTERM"),
        lambda state: pasted(state, True),
        lambda state: pasted(state, False),
        answers,
        dumb,
        explained,
        lent,
    ]:
        with tempfile.TemporaryDirectory() as state:
            case(state)
    print("\n".join(FAULTS))
    sys.exit(1 if FAULTS else 0)


main()
