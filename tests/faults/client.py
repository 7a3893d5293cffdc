"""Clients: MODE HOST PORT SECONDS-BETWEEN [ARGUMENT]. Says "up" when it begins."""
import os, random, socket, sys, threading, time

mode, host, port, between = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
argument = float(sys.argv[5]) if len(sys.argv) > 5 else 0.0


def connected():
    connection = socket.create_connection((host, port), timeout=15)
    connection.settimeout(8)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def call(connection, data=b"hello"):
    connection.sendall(data)
    connection.recv(10)


def once():
    with connected() as connection:
        call(connection)


def held():
    """For ARGUMENT seconds."""
    with connected() as connection:
        call(connection)
        time.sleep(argument)


def large():
    with connected() as connection:
        call(connection)
        call(connection, b"x" * 6000)


def rests():
    """For ARGUMENT seconds, and goes on then."""
    with connected() as connection:
        call(connection)
        time.sleep(argument)
        call(connection)


def races():
    """Goes on at nearly the moment at which the server has had enough."""
    with connected() as connection:
        call(connection)
        # A kernel with little to do wakes the server some thousandths of its time late: five, where that is nice.
        time.sleep(argument * random.uniform(0.9997, 1.0055))
        call(connection)


def streams():
    with connected() as connection:
        connection.settimeout(30)
        while True:
            connection.sendall(b"z" * 2000)


def asks():
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asker:
        asker.settimeout(4)
        name = b"n%05d" % random.randrange(100000)
        asker.sendto(os.urandom(2) + b"\x01\x00\x00\x01" + bytes(6) + bytes([len(name)]) + name + b"\x04test\x00\x00\x01\x00\x01", (host, port))
        asker.recv(500)


def begin(what):
    try:
        what()
    except OSError:
        pass


what = {"once": once, "held": held, "large": large, "rests": rests, "races": races, "streams": streams, "asks": asks}[mode]
print("up", flush=True)
while True:
    threading.Thread(target=begin, args=(what,), daemon=True).start()
    time.sleep(between)
