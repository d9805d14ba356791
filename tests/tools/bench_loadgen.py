#!/usr/bin/env python3
"""CPU per request of loadgen beside redis-benchmark, against the same servers.

Both generators send the same load (50 connections, pipeline 16, one thread, 100-byte values, random
keys) to redis-server and to piccolo, which are started here on free ports. Rounds are
interleaved: what disturbs the machine disturbs both. For each server and operation it prints the
medians of user and system microseconds per request, by getrusage of the generator's process, and
the ratio as the median of the ratios of the single rounds. Ends with 1 if a ratio is above --most.

  bench_loadgen.py --loadgen target/release/loadgen --piccolo target/release/piccolo
"""

import argparse
import os
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

CLIENTS = ["-c", "50", "-P", "16"]


def free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def start(command, port, folder):
    process = subprocess.Popen(
        shlex.split(command), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = time.time() + 20
    while time.time() < end and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as stream:
                stream.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\nx\r\n")
                if stream.recv(64).startswith(b"$"):
                    return process
        except OSError:
            pass
        time.sleep(0.1)
    process.kill()
    raise SystemExit(f"did not come up: {command}")


def cost(command, requests):
    """User and system microseconds per request, of one run to its end."""
    null = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=null, stderr=subprocess.PIPE)
    told = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {told}")
    return (usage.ru_utime + usage.ru_stime) * 1e6 / requests


def generators(args, port, op):
    many, keys = str(args.requests), str(args.keys)
    ours = [args.loadgen, "run", f"resp://127.0.0.1:{port}", *CLIENTS, "--requests", many]
    ours += ["--keys", keys, "--value-size", "100", "--ratio", f"{op}=1"]
    theirs = ["redis-benchmark", "-p", str(port), *CLIENTS, "-n", many, "-r", keys, "-d", "100"]
    return {"loadgen": ours, "redis-benchmark": [*theirs, "-t", op, "-q"]}


def measure(args, name, port):
    worst = 0
    for op in ("set", "get"):
        commands = generators(args, port, op)
        costs = {one: [] for one in commands}
        for turn in range(args.rounds):
            for one in sorted(commands, reverse=turn % 2 == 1):
                costs[one].append(cost(commands[one], args.requests))
        ours, theirs = costs["loadgen"], costs["redis-benchmark"]
        ratios = [a / b for a, b in zip(ours, theirs)]
        ratio = statistics.median(ratios)
        print(
            f"| {name}, {op} | {statistics.median(ours):.3f} | {statistics.median(theirs):.3f} "
            f"| {ratio:.2f} | {min(ratios):.2f}..{max(ratios):.2f} |",
            flush=True,
        )
        worst = max(worst, ratio)
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--loadgen", default="target/release/loadgen")
    parser.add_argument("--piccolo", default="target/release/piccolo")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--most", type=float, default=0.7, help="the ratio that is too much")
    args = parser.parse_args()
    args.loadgen = os.path.abspath(args.loadgen)
    redis, client, cluster, peer, admin = free_ports(5)
    servers = {
        "redis-server": (
            redis,
            f'redis-server --port {redis} --bind 127.0.0.1 --save "" --appendonly no',
        ),
        "piccolo": (
            client,
            f"{os.path.abspath(args.piccolo)} serve --create --name bench --shards 1 --pin off"
            f" --client 127.0.0.1:{client} --cluster-client 127.0.0.1:{cluster}"
            f" --peer 127.0.0.1:{peer} --admin 127.0.0.1:{admin}",
        ),
    }
    print("| server, operation | loadgen us | redis-benchmark us | ratio | single rounds |")
    print("|---|---:|---:|---:|---:|")
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, (port, command) in servers.items():
            process = start(command, port, folder)
            try:
                worst = max(worst, measure(args, name, port))
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(60)
    if worst > args.most:
        sys.exit(f"the ratio {worst:.2f} is above {args.most}")


if __name__ == "__main__":
    main()
