"""The engine's socket over TCP, on all addresses: engine_tcp.py SOCKET. As an engine with `-H tcp://0.0.0.0:2375` would be."""

import socket
import sys
import threading


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    try:
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


listener = socket.create_server(("0.0.0.0", 0))
print(f"listening on 0.0.0.0:{listener.getsockname()[1]}", flush=True)
while True:
    client, _ = listener.accept()
    engine = socket.socket(socket.AF_UNIX)
    engine.connect(sys.argv[1])
    for pair in ((client, engine), (engine, client)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
