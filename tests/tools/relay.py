#!/usr/bin/env python3
"""Takes TCP connections at one address and carries each to another, until it is killed."""

import socket
import sys
import threading


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def carry(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        sink.close()


def main():
    here, there = (address(text) for text in sys.argv[1:])
    with socket.create_server(here) as listener:
        while True:
            client, _ = listener.accept()
            try:
                server = socket.create_connection(there, timeout=10)
            except OSError:
                client.close()
                continue
            for ends in ((client, server), (server, client)):
                threading.Thread(target=carry, args=ends, daemon=True).start()


if __name__ == "__main__":
    main()
