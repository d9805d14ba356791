#!/usr/bin/env python3
"""redis-cli as one of the programs of clients_under_change.rs: plain, or with -c in a cluster.

    redis_cli.py single|cluster run|count PREFIX ADDRESS ADDRESS

A run keeps one redis-cli open and talks to it as a script would, by its standard input.
"""

import re
import subprocess

import program


def command(address, *words):
    host, port = address
    return ["redis-cli", "-h", host, "-p", str(port), *words]


def output(words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


class Client:
    def __init__(self, mode, addresses):
        self.cluster = mode == "cluster"
        self.address = addresses[0]
        self.open = None

    def ask(self, *lines):
        """Gives redis-cli some lines; a line of each reply, all of them with one line."""
        if self.open is None:
            flags = ["-c"] if self.cluster else []
            self.open = subprocess.Popen(
                command(self.address, *flags),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.open.stdin.write("".join(f"{line}\n" for line in lines))
        self.open.stdin.flush()

    def line(self):
        """The next line of a reply; -c tells of every MOVED that it follows on a line more."""
        while (line := self.open.stdout.readline()).startswith("-> Redirected to slot"):
            pass
        return line.rstrip("\n")

    def one(self, line):
        self.ask(line)
        return self.line()

    def set(self, key, value):
        return self.one(f'SET {key} "{value}"') == "OK"

    def get(self, key):
        return self.one(f"GET {key}")

    def incr(self, key):
        return int(self.one(f"INCR {key}"))

    def mset(self, pairs):
        return self.one("MSET " + " ".join(f"{key} {pairs[key]}" for key in pairs)) == "OK"

    def mget(self, keys):
        self.ask("MGET " + " ".join(keys))
        return [self.line() for _ in keys]

    def pipeline(self, pairs):
        self.ask(*(f'SET {key} "{value}"\nGET {key}' for key, value in pairs.items()))
        return [self.line() for _ in range(2 * len(pairs))][1::2]

    def nodes(self):
        if not self.cluster:
            return [self.address]
        lines = output(command(self.address, "CLUSTER", "NODES")).splitlines()
        return program.addresses(line.split()[1].split("@")[0] for line in lines if line)

    def dbsize(self):
        if not self.cluster:
            return int(output(command(self.address, "DBSIZE")))
        host, port = self.address
        said = output(["redis-cli", "--cluster", "info", f"{host}:{port}"])
        return int(re.search(r"\[OK\] (\d+) keys in \d+ masters", said)[1])

    def scan(self):
        lists = (output(command(node, "--scan")).splitlines() for node in self.nodes())
        return [key for keys in lists for key in keys]


if __name__ == "__main__":
    program.main(Client)
