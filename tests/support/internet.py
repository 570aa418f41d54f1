"""The servers of tests/support/internet.hpp: internet.py FOLDER, with cert.pem and key.pem in it; writes FOLDER/names."""

import os
import signal
import socket
import ssl
import struct
import sys
import threading

FOLDER = sys.argv[1]
ALLOWED, OTHER = "203.0.113.10", "203.0.113.20"


def serve(port, handle):
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)

    def accept():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=attempt, args=(handle, connection), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def attempt(handle, connection):
    try:
        connection.settimeout(20)
        handle(connection)
    except (OSError, ssl.SSLError):
        pass
    finally:
        connection.close()


def http(connection, name=""):
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(4096)
        if not piece:
            return
        head += piece
    host = [line[5:].strip().decode() for line in head.split(b"\r\n") if line.lower().startswith(b"host:")]
    body = f"the internet: host={','.join(host)} sni={name}\n".encode()
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)


def https(connection):
    names = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{FOLDER}/cert.pem", f"{FOLDER}/key.pem")
    context.sni_callback = lambda _socket, name, _context: names.append(name or "")
    with context.wrap_socket(connection, server_side=True) as secure:
        http(secure, names[0] if names else "")


def answer(query):
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode("latin-1"))
        at += 1 + query[at]
    name = ".".join(labels).lower()
    kind = struct.unpack(">H", query[at + 1:at + 3])[0]
    with open(f"{FOLDER}/names", "a") as file:
        file.write(name + "\n")
    address = ALLOWED if name == "allowed.test" or name.endswith(".allowed.test") else OTHER
    if name == "private.test":
        address = "10.255.99.10"
    count = 1 if kind == 1 else 0
    reply = query[:2] + b"\x81\x80\x00\x01" + struct.pack(">H", count) + b"\0\0\0\0" + query[12:at + 5]
    if count:
        reply += b"\xc0\x0c\0\1\0\1\0\0\0\x05\0\4" + socket.inet_aton(address)
    return reply


def datagrams(port, handle):
    # One socket an address: an answer must come from where the question went.
    for address in ("203.0.113.10", "203.0.113.20", "203.0.113.53", "169.254.169.254", "10.255.99.10"):
        endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        endpoint.bind((address, port))

        def loop(endpoint=endpoint):
            while True:
                data, peer = endpoint.recvfrom(4096)
                try:
                    endpoint.sendto(handle(data), peer)
                except (OSError, IndexError, struct.error):
                    pass

        threading.Thread(target=loop, daemon=True).start()


open(f"{FOLDER}/names", "w").close()
serve(80, http)
serve(443, https)
serve(8443, lambda connection: connection.sendall(b"another port\n"))
serve(53, lambda connection: connection.sendall(b"names over TCP\n"))
datagrams(53, answer)
datagrams(9999, lambda data: data)
print("listening", flush=True)
os.close(1)
signal.pause()
