#!/usr/bin/env python3
"""The first table of figures: CPU per operation of piccolo beside redis-server.

Runs bench_peers.py (get and set at pipeline 1, 16 and 64; 100-byte values; 50 connections) with
piccolo on one shard, redis-server, and if given the floor server, in rotation. For each workload
it prints the medians of the server's CPU microseconds per operation, and the ratio of piccolo to
redis-server as the median of the ratios of the single rounds: what disturbs the machine in one
round disturbs both sides of that round's ratio.

  bench_redis.py --piccolo target/release/piccolo --floor target/release/examples/floor
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile

WORKLOADS = "get/1,set/1,get/16,set/16,get/64,set/64"


def free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def servers(args, ports):
    client, cluster, peer, admin, redis, floor = ports
    piccolo = (
        f"{os.path.abspath(args.piccolo)} serve --create --name bench --shards 1 --pin off"
        f" --client 127.0.0.1:{{port}} --cluster-client 127.0.0.1:{cluster}"
        f" --peer 127.0.0.1:{peer} --admin 127.0.0.1:{admin}"
    )
    specs = [
        f"piccolo@{client}={piccolo}",
        f"redis@{redis}=redis-server --port {{port}} --bind 127.0.0.1"
        ' --save "" --appendonly no --dir {dir}',
    ]
    if args.floor:
        specs.append(f"floor@{floor}={os.path.abspath(args.floor)} 127.0.0.1:{{port}}")
    return specs


def measure(args, raw):
    """Runs bench_peers.py, which appends one JSON object per run to the file `raw`."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bench_peers.py")
    command = [sys.executable, script, "--workloads", WORKLOADS, "--json", raw]
    command += ["--rounds", str(args.rounds), "--secs", str(args.secs), "--keys", str(args.keys)]
    for spec in servers(args, free_ports(6)):
        command += ["--server", spec]
    subprocess.run(command, check=True, stdout=sys.stderr)
    with open(raw) as lines:
        return [json.loads(line) for line in lines]


def table(runs):
    """One row per workload: medians by server, and the median of the ratios by round."""
    cost = {(r["op"], r["pipe"], r["round"], r["server"]): r["srv_us"] for r in runs}
    names = sorted({r["server"] for r in runs}, key=["piccolo", "redis", "floor"].index)
    rows = ["| workload | " + " | ".join(f"{name} us/op" for name in names) + " | piccolo/redis |"]
    rows.append("|---|" + "---:|" * (len(names) + 1))
    for workload in WORKLOADS.split(","):
        op, pipe = workload.split("/")
        rounds = sorted({key[2] for key in cost if key[:2] == (op, int(pipe))})
        by_name = {n: [cost[op, int(pipe), r, n] for r in rounds] for n in names}
        ratios = [a / b for a, b in zip(by_name["piccolo"], by_name["redis"])]
        medians = [f"{statistics.median(by_name[name]):.2f}" for name in names]
        cells = [f"{op}, pipeline {pipe}", *medians, f"{statistics.median(ratios):.2f}"]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--piccolo", default="target/release/piccolo")
    parser.add_argument("--floor", default="", help="the floor server, to stand beside them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--secs", type=float, default=3, help="seconds of one measurement")
    parser.add_argument("--keys", type=int, default=1_000_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = measure(args, os.path.join(folder, "runs.json"))
    wrong = [r for r in runs if r["errs"]]
    if wrong:
        raise SystemExit(f"error replies in {len(wrong)} runs, the first: {wrong[0]}")
    print(table(runs))


if __name__ == "__main__":
    main()
