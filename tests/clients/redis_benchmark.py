#!/usr/bin/env python3
"""redis-benchmark as one of the programs of clients_under_change.rs, run after run.

    redis_benchmark.py single|cluster run PREFIX ADDRESS ADDRESS

Its keys are its own: `key:*` and `counter:*`. With --cluster it reads the map of slots once and
ends when it is sent to a node that it did not know then, or when a node closes a connection: so it
does in a Redis Cluster, too. Such a run is counted as cut, not as an error.
"""

import json
import subprocess
import sys
import threading

import program

REQUESTS = 500
KEYS = 1000
# A client of a node that closed makes the others wait for ever.
RUN_SECONDS_MAX = 20
CUT = [
    "could not find node with ID",
    "Server closed the connection",
    "Connection reset by peer",
    "Connection refused",
]


def run(mode, address):
    """Requests that a run made, and why it failed."""
    host, port = address
    words = ["redis-benchmark", "-h", host, "-p", str(port), "-c", "5", "-n", str(REQUESTS)]
    words += ["-t", "set,get,incr", "-r", str(KEYS), "--csv"]
    words += ["--cluster"] if mode == "cluster" else []
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=RUN_SECONDS_MAX
        )
    except subprocess.TimeoutExpired:
        return 0, f"{CUT[1]}, it seems: nothing for {RUN_SECONDS_MAX} s"
    said = done.stdout + done.stderr
    rows = [line for line in said.splitlines() if line.startswith('"') and '"rps"' not in line]
    # A change of the map that it could follow, it tells as a warning.
    faults = [line for line in said.splitlines() if "error" in line.lower()]
    if done.returncode != 0 or faults or len(rows) != 3:
        return 0, f"status {done.returncode}: {said.strip()[-250:]}"
    return len(rows) * REQUESTS, None


def main():
    mode, _, _, *nodes = sys.argv[1:]
    closed = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), closed.set()), daemon=True).start()
    ops, cut, errors = 0, 0, []
    while not closed.is_set() and len(errors) < program.ERRORS_MAX:
        made, error = run(mode, program.addresses(nodes)[0])
        ops += made
        if error and mode == "cluster" and any(text in error for text in CUT):
            cut += 1
        elif error:
            errors.append(error)
        program.say(f"ops {ops}")
    program.say(json.dumps({"ops": ops, "errors": errors, "counter": 0, "cut": cut}))


if __name__ == "__main__":
    main()
