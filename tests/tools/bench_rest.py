#!/usr/bin/env python3
"""CPU per HTTP request of cerializer and a node beside webdis and redis-server.

Starts piccolo (one shard), cerializer, redis-server and webdis on loopback, loads them by wrk in
turn (GET and PUT of 100-byte values, 50 kept connections), and reads from /proc what all
processes of a side have used. Prints medians over the rounds, and the ratio as the median of the
ratios of the single rounds: what disturbs the machine in one round disturbs both sides of that
round's ratio.

  bench_rest.py --piccolo target/release/piccolo --cerializer target/release/cerializer

Needs wrk, webdis and redis-server (Debian packages of these names).
"""

import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

KEYS = 10_000
VALUE = "v" * 100
CONNECTIONS = 50
TICK = os.sysconf("SC_CLK_TCK")

SCRIPT = """
local at = 0
local setup_keys = %(keys)d
request = function()
  at = at %% setup_keys + 1
  return wrk.format("%(method)s", string.format("%(path)s", at), %(headers)s, %(body)s)
end
local wrong = 0
response = function(status)
  if status < 200 or status > 299 then wrong = wrong + 1 end
end
"""


def free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def wait_for(port, limit=30):
    deadline = time.monotonic() + limit
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise SystemExit(f"nobody listens on {port}")
            time.sleep(0.05)


def start(command, folder, name):
    log = open(os.path.join(folder, name + ".log"), "w")
    return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)


def sides(args, folder):
    """Processes and port of each side."""
    client, cluster, peer, admin, rest, redis, webdis = free_ports(7)
    local = "127.0.0.1:%d"
    node = [os.path.abspath(args.piccolo), "serve", "--create", "--name", "bench", "--shards", "1"]
    node += ["--pin", "off", "--client", local % client, "--cluster-client", local % cluster]
    node += ["--peer", local % peer]
    node += ["--admin", local % admin]
    front = [os.path.abspath(args.cerializer), "--listen", local % rest]
    front += ["--nodes", local % client]
    store = ["redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", ""]
    store += ["--appendonly", "no"]
    config = {
        "redis_host": "127.0.0.1", "redis_port": redis, "http_host": "127.0.0.1",
        "http_port": webdis, "threads": 1, "pool_size": 20, "daemonize": False,
        "websockets": False, "verbosity": 1, "logfile": os.path.join(folder, "webdis.own.log"),
    }
    with open(os.path.join(folder, "webdis.json"), "w") as file:
        json.dump(config, file)
    ours = [start(node, folder, "node")]
    wait_for(client)
    ours.append(start(front, folder, "cerializer"))
    theirs = [start(store, folder, "redis")]
    wait_for(redis)
    theirs.append(start([args.webdis, os.path.join(folder, "webdis.json")], folder, "webdis"))
    wait_for(rest)
    wait_for(webdis)
    return {"ours": (ours, rest), "theirs": (theirs, webdis)}


def scripts(folder):
    """Lua for wrk, by side and operation."""
    body = f'"{VALUE}"'
    plain = '{["Content-Type"] = "text/plain"}'
    parts = {
        ("ours", "put"): ("PUT", "/v1/kv/key:%%06d", plain, body),
        ("ours", "get"): ("GET", "/v1/kv/key:%%06d", "nil", "nil"),
        ("theirs", "put"): ("PUT", "/SET/key:%%06d", plain, body),
        ("theirs", "get"): ("GET", "/GET/key:%%06d.txt", "nil", "nil"),
    }
    files = {}
    for key, (method, path, headers, text) in parts.items():
        files[key] = os.path.join(folder, "-".join(key) + ".lua")
        path = path.replace("%%", "%")
        values = {"keys": KEYS, "method": method, "path": path, "headers": headers, "body": text}
        with open(files[key], "w") as file:
            file.write(SCRIPT % values)
    return files


def used(processes):
    """Seconds of CPU, user and system, of all threads of `processes`."""
    total = 0
    for process in processes:
        with open(f"/proc/{process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def run(processes, port, script, secs):
    """Requests in one run of wrk, and microseconds of CPU for each."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{secs}s", "-s", script]
    before = used(processes)
    out = subprocess.run(command + [f"http://127.0.0.1:{port}"], check=True, text=True,
                         stdout=subprocess.PIPE).stdout
    spent = used(processes) - before
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit(out)
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    rate = float(re.search(r"Requests/sec: *([\d.]+)", out).group(1))
    return spent / requests * 1e6, rate


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--piccolo", default="target/release/piccolo")
    parser.add_argument("--cerializer", default="target/release/cerializer")
    parser.add_argument("--webdis", default="webdis")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--secs", type=int, default=4, help="seconds of one measurement")
    args = parser.parse_args()
    if not shutil.which(args.webdis):
        parser.error(f"{args.webdis} is missing (Debian: webdis)")
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        both = sides(args, folder)
        try:
            files = scripts(folder)
            for side, (processes, port) in both.items():
                # So that every key is there, and nothing is measured cold.
                run(processes, port, files[side, "put"], 2)
            for _ in range(args.rounds):
                for op in ("get", "put"):
                    for side, (processes, port) in both.items():
                        found = run(processes, port, files[side, op], args.secs)
                        figures.setdefault((op, side), []).append(found)
        finally:
            for processes, _ in both.values():
                for process in processes:
                    process.kill()
                    process.wait()
    print("| request | cerializer + node us | webdis + redis us | ratio | requests/s of each |")
    print("|---|---:|---:|---:|---:|")
    for op in ("get", "put"):
        ours, theirs = figures[op, "ours"], figures[op, "theirs"]
        median = [statistics.median(cost for cost, _ in side) for side in (ours, theirs)]
        rates = [statistics.median(rate for _, rate in side) for side in (ours, theirs)]
        ratio = statistics.median(a[0] / b[0] for a, b in zip(ours, theirs))
        print(f"| {op.upper()} | {median[0]:.1f} | {median[1]:.1f} | {ratio:.2f} |"
              f" {rates[0]:.0f} / {rates[1]:.0f} |")


if __name__ == "__main__":
    main()
