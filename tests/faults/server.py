"""Servers that are well, and servers that are not: MODE PORT [ARGUMENT]. Says "up" when it listens."""
import select, socket, sys, threading, time

mode, port = sys.argv[1], int(sys.argv[2])
argument = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0


def plain(connection):
    while data := connection.recv(65536):
        connection.sendall(b"ok")


def closes_idle(connection):
    """After ARGUMENT seconds of silence."""
    while select.select([connection], [], [], argument)[0] and connection.recv(65536):
        connection.sendall(b"ok")


def reads_slowly(connection):
    while connection.recv(3000):
        time.sleep(argument)


def serve(connection, how):
    try:
        how(connection)
    except OSError:
        pass
    finally:
        connection.close()


def answers(questions, mode):
    """One question in three, or all of them; or that there is no such name."""
    count = 0
    while True:
        question, asker = questions.recvfrom(2000)
        count += 1
        if mode == "dns_silent" and count % 3:
            continue
        code = b"\x81\x83" if mode == "dns_unknown" and count % 5 < 3 else b"\x81\x80"
        record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x01\x02\x03\x04"
        found = code == b"\x81\x80"
        head = question[:2] + code + b"\x00\x01\x00" + (b"\x01" if found else b"\x00") + b"\x00\x00\x00\x00"
        questions.sendto(head + question[12:] + (record if found else b""), asker)


def strays(port):
    """A segment far out of its window to each client that has sent something."""
    seen = set()
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x800))
    out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    while True:
        packet = tap.recv(2000)
        header = (packet[0] & 15) * 4
        segment = packet[header:]
        source, flags = packet[12:16], segment[13]
        client = int.from_bytes(segment[0:2], "big")
        if packet[9] != 6 or int.from_bytes(segment[2:4], "big") != port or flags & 7 or client in seen:
            continue
        if len(segment) == (segment[12] >> 4) * 4:
            continue
        seen.add(client)
        sequence = (int.from_bytes(segment[8:12], "big") + 1_000_000_000) % 2**32
        fresh = port.to_bytes(2, "big") + segment[0:2] + sequence.to_bytes(4, "big") + segment[4:8] + b"\x50\x10\x01\x00\x00\x00\x00\x00"
        pseudo = packet[16:20] + source + b"\x00\x06" + len(fresh).to_bytes(2, "big") + fresh
        total = sum(int.from_bytes(pseudo[at:at + 2], "big") for at in range(0, len(pseudo), 2))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        out.sendto(fresh[:16] + (0xFFFF - total).to_bytes(2, "big") + fresh[18:], (socket.inet_ntoa(source), 0))


if mode.startswith("dns"):
    questions = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    questions.bind(("", port))
    print("up", flush=True)
    answers(questions, mode)
listener = socket.socket(socket.AF_INET6)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if mode == "slow":
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
listener.bind(("", port))
listener.listen(int(argument) if mode == "accepts_late" else 256)
if mode == "strays":
    threading.Thread(target=strays, args=(port,), daemon=True).start()
print("up", flush=True)
how = {"closes_idle": closes_idle, "slow": reads_slowly}.get(mode, plain)
while True:
    if mode == "accepts_late":
        time.sleep(1.5)
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection, how), daemon=True).start()
