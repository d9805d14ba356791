"""What every program of clients_under_change.rs does, whatever its client.

`run` sets and gets keys of its own, and raises a counter, until standard input closes; now and
then it says how many operations are done. `count` asks DBSIZE and walks over all keys. Each ends
with one line of JSON.
"""

import json
import sys
import threading

# Keys that each program sets in turn.
KEYS = 100
# Keys of one MGET or pipeline.
MANY = 10
# Rounds between two of those, and between two lines of progress.
MANY_EVERY = 10
# Errors that a program notes down before it gives up.
ERRORS_MAX = 5


class Run:
    def __init__(self, client, prefix):
        self.client = client
        self.prefix = prefix
        self.ops = 0
        self.counter = 0
        self.errors = []

    def attempt(self, what, call, wanted):
        """Counts one operation; its error, or another answer than `wanted`, is noted down."""
        try:
            found = call()
            if found == wanted:
                self.ops += 1
                return
            error = f"{what} answered {found!r}, not {wanted!r}"
        except Exception as failure:  # Whatever it is, a user would have met it.
            error = f"{what}: {type(failure).__name__}: {failure}"
        self.errors.append(error[:300])

    def round(self, number):
        key, value = f"{self.prefix}:{number % KEYS}", f"{number} of {self.prefix}"
        self.attempt(f"SET {key}", lambda: self.client.set(key, value), True)
        self.attempt(f"GET {key}", lambda: self.client.get(key), value)
        self.counter += 1
        counter = f"{self.prefix}:counter"
        self.attempt("INCR", lambda: self.client.incr(counter), self.counter)
        if number % MANY_EVERY == 0:
            self.many(number)

    def many(self, number):
        # One slot in a cluster; at the client door all slots are alike.
        tag = f"{{{self.prefix}}}" if self.client.cluster else self.prefix
        pairs = {f"{tag}:many:{at}": f"{number}-{at}" for at in range(MANY)}
        values = list(pairs.values())
        self.attempt("MSET", lambda: self.client.mset(pairs), True)
        self.attempt("MGET", lambda: self.client.mget(list(pairs)), values)
        pairs = {key: f"again {value}" for key, value in pairs.items()}
        self.attempt("pipeline", lambda: self.client.pipeline(pairs), list(pairs.values()))
        say(f"ops {self.ops}")

    def until_stdin_closes(self):
        closed = threading.Event()
        threading.Thread(target=lambda: (sys.stdin.read(), closed.set()), daemon=True).start()
        number = 0
        while not closed.is_set() and len(self.errors) < ERRORS_MAX:
            self.round(number)
            number += 1
        say(json.dumps({"ops": self.ops, "errors": self.errors, "counter": self.counter}))


def count(client):
    keys = client.scan()
    say(json.dumps({"dbsize": client.dbsize(), "scanned": len(keys), "keys": len(set(keys))}))


def addresses(words):
    return [(host, int(port)) for host, port in (word.rsplit(":", 1) for word in words)]


def say(line):
    print(line, flush=True)


def main(client):
    """`client` is made of a mode and the addresses of nodes."""
    mode, task, prefix, *nodes = sys.argv[1:]
    client = client(mode, addresses(nodes))
    if task == "count":
        count(client)
    else:
        Run(client, prefix).until_stdin_closes()
