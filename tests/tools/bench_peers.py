#!/usr/bin/env python3
"""bench_peers.py - start key:value servers on loopback, load them, measure them.

Own code, Python 3 stdlib only.  Needs redis-benchmark (for --tool rb) and/or
memtier_benchmark (for --tool memtier) on PATH or in $RB / $MEMTIER.

Every server named on the command line is started (foreground command, one
process), preloaded with the whole key space, then the workloads run in
rotation:  round 1: W1 on A, W1 on B, W1 on C, W2 on A ... ; round 2 ...
so that machine drift is shared.  One table row per (workload, server):
median ops/s [min-max over rounds], p50/p99/p99.9 (ms), server CPU us/op
(utime+stime of /proc/PID/stat, all threads), client CPU us/op, server CPU %,
share of the machine used by anything else during the run, RSS.

Server spec (repeatable):   --server 'NAME@PORT=COMMAND'
   NAME prefix 'mc:' means memcached text protocol, otherwise RESP.
   In COMMAND, {port} and {dir} are replaced; COMMAND runs in {dir}, so give programs by
   absolute path.  --attach 'NAME@PORT=PID' measures a server that is already running.

Examples (each server on one line)
  bench_peers.py --rounds 3 --secs 8 --workloads get/1,set/1,get/16,set/16
    --server 'redis@7001=redis-server --port {port} --bind 127.0.0.1 --save "" --dir {dir}'
    --server 'piccolo@7002=/path/to/piccolo serve --create --shards 1 --client 127.0.0.1:{port}
              --peer 127.0.0.1:7102 --admin 127.0.0.1:7202'
  bench_peers.py --tool memtier --workloads mix90/1
    --server 'mc:memcached@7003=memcached -u root -l 127.0.0.1 -p {port} -U 0 -m 4096 -t 2'
  bench_peers.py --mem 5000000 --server ...          # RSS per key only
"""

import argparse
import json
import os
import re
import resource
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TICK = os.sysconf("SC_CLK_TCK")
RB = os.environ.get("RB", "redis-benchmark")
MEMTIER = os.environ.get("MEMTIER", "memtier_benchmark")
KEYBASE = {"rb": 0, "memtier": 100000000000}  # both give 16-byte keys "key:" + 12 digits


def cpu_s(pid):
    with open(f"/proc/{pid}/stat") as f:
        rest = f.read().rsplit(")", 1)[1].split()
    return (int(rest[11]) + int(rest[12])) / TICK


def rss_b(pid, field="VmRSS"):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return 0


def machine():
    """(busy seconds, total seconds) summed over all cpus; steal counts as busy."""
    v = [int(x) for x in open("/proc/stat").readline().split()[1:9]]
    return (sum(v) - v[3] - v[4]) / TICK, sum(v) / TICK


class Server:
    def __init__(self, spec, base, attach=False):
        head, self.cmd = spec.split("=", 1)
        name, port = head.rsplit("@", 1)
        self.mc = name.startswith("mc:")
        self.name = name[3:] if self.mc else name
        self.port = int(port)
        self.dir = os.path.join(base, self.name)
        self.attach = attach
        self.proc = None
        self.pid = int(self.cmd) if attach else None

    def sock(self, timeout=60):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def start(self):
        if not self.attach:
            os.makedirs(self.dir, exist_ok=True)
            cmd = self.cmd.replace("{port}", str(self.port)).replace("{dir}", self.dir)
            log = open(os.path.join(self.dir, "server.log"), "ab")
            self.proc = subprocess.Popen(
                shlex.split(cmd), cwd=self.dir, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
            self.pid = self.proc.pid
        end = time.time() + 20
        while True:
            try:
                s = self.sock(2)
                s.sendall(b"version\r\n" if self.mc else b"*2\r\n$3\r\nGET\r\n$1\r\nx\r\n")
                if s.recv(64):
                    s.close()
                    return
            except OSError:
                pass
            if time.time() > end or (self.proc and self.proc.poll() is not None):
                raise SystemExit(f"{self.name}: did not come up, see {self.dir}/server.log")
            time.sleep(0.1)

    def stop(self):
        if self.proc and self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
            try:
                self.proc.wait(15)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()

    def preload(self, nkeys, size, base, batch=100):
        """Sequential pipelined SET of every key; raises on any error reply."""
        val = b"x" * size
        s = self.sock(120)
        t0 = time.time()
        for lo in range(0, nkeys, batch):
            hi = min(lo + batch, nkeys)
            if self.mc:
                buf = b"".join(
                    b"set key:%012d 0 0 %d\r\n%s\r\n" % (base + i, size, val) for i in range(lo, hi)
                )
                want, one = b"STORED\r\n" * (hi - lo), b"STORED"
            else:
                buf = b"".join(
                    b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$%d\r\n%s\r\n" % (base + i, size, val)
                    for i in range(lo, hi)
                )
                want, one = b"+OK\r\n" * (hi - lo), b"+OK"
            s.sendall(buf)
            got = 0
            while got < len(want):
                r = s.recv(65536)
                if not r:
                    raise SystemExit(f"{self.name}: closed during preload")
                if (
                    r[0:1] in (b"-", b"E", b"S")
                    and not r.startswith(b"STORED")
                    and got % len(one + b"\r\n") == 0
                ):
                    raise SystemExit(f"{self.name}: preload error {r[:100]!r}")
                got += len(r)
        s.close()
        return time.time() - t0


def run_rb(srv, op, pipe, a, nreq):
    cmd = [
        RB,
        "-h",
        "127.0.0.1",
        "-p",
        str(srv.port),
        "-t",
        op,
        "-d",
        str(a.size),
        "-r",
        str(a.keys),
        "-c",
        str(a.conns),
        "-P",
        str(pipe),
        "-n",
        str(nreq),
    ]
    if a.client_threads > 1:
        cmd += ["--threads", str(a.client_threads)]
    out = subprocess.run(
        pin(a.pin_client) + cmd, capture_output=True, text=True, timeout=a.secs * 8 + 30
    )
    t = out.stdout
    m = re.search(r"throughput summary: ([\d.]+) requests", t)
    if not m:
        raise RuntimeError(f"{srv.name}: no summary: {(t[-300:] + out.stderr[-300:])!r}")
    lat = re.search(r"latency summary.*?\n.*?\n\s*([\d. ]+)\n", t, re.S).group(1).split()
    p999 = next(
        (
            float(v)
            for pc, v in re.findall(r"([\d.]+)% <= ([\d.]+) milliseconds \(cum", t)
            if float(pc) >= 99.9
        ),
        float("nan"),
    )
    secs = float(re.search(r"requests completed in ([\d.]+) seconds", t).group(1))
    errs = len(re.findall(r"(?i)error from server", t + out.stderr))
    return dict(
        ops=nreq,
        rate=float(m.group(1)),
        p50=float(lat[2]),
        p99=float(lat[4]),
        p999=p999,
        secs=secs,
        errs=errs,
    )


def run_memtier(srv, op, pipe, a, secs):
    ratio = {"get": "0:1", "set": "1:0", "mix90": "1:9", "mix50": "1:1"}[op]
    base = KEYBASE["memtier"]
    fd, jf = tempfile.mkstemp(suffix=".json")
    os.close(fd)
    cmd = [
        MEMTIER,
        "-s",
        "127.0.0.1",
        "-p",
        str(srv.port),
        "-P",
        "memcache_text" if srv.mc else "redis",
        "-t",
        str(a.client_threads),
        "-c",
        str(max(1, a.conns // a.client_threads)),
        "--pipeline",
        str(pipe),
        "--ratio",
        ratio,
        "-d",
        str(a.size),
        "--key-prefix",
        "key:",
        "--key-minimum",
        str(base),
        "--key-maximum",
        str(base + a.keys - 1),
        "--key-pattern",
        "R:R",
        "--test-time",
        str(int(secs)),
        "--hide-histogram",
        "--distinct-client-seed",
        "--print-percentiles",
        "50,99,99.9",
        "--json-out-file",
        jf,
    ]
    out = subprocess.run(
        pin(a.pin_client) + cmd, capture_output=True, text=True, timeout=secs * 3 + 30
    )
    try:
        tot = json.load(open(jf))["ALL STATS"]["Totals"]
    except Exception as e:
        raise RuntimeError(f"{srv.name}: memtier: {e}: {out.stdout[-300:]!r} {out.stderr[-300:]!r}")
    finally:
        os.unlink(jf)
    pl = tot["Percentile Latencies"]
    miss = tot.get("Misses/sec", 0.0)
    rate = tot["Ops/sec"]
    ops = tot.get("Count") or rate * secs
    return dict(
        ops=ops,
        rate=rate,
        p50=pl["p50.00"],
        p99=pl["p99.00"],
        p999=pl["p99.90"],
        secs=secs,
        errs=0,
        miss=miss / rate if rate else 0,
    )


def wait_quiet(limit_pct, max_wait):
    """Wait until the machine has been <= limit_pct busy for 0.7 s (two cores: 100 = both full)."""
    end = time.time() + max_wait
    while True:
        b0, t0 = machine()
        time.sleep(0.7)
        b1, t1 = machine()
        if 100 * (b1 - b0) / max(t1 - t0, 1e-9) <= limit_pct or time.time() > end:
            return


def quiet_measure(srv, op, pipe, a, arg):
    """measure(); repeated (up to --retries) while something else used more than --noise %"
    " of the machine."""
    best = None
    for _ in range(1 + (a.retries if a.noise else 0)):
        if a.noise:
            wait_quiet(a.noise, a.max_wait)
        r = measure(srv, op, pipe, a, arg)
        if best is None or r["other_pct"] < best["other_pct"]:
            best = r
        if not a.noise or r["other_pct"] <= a.noise:
            break
    return best


def pin(cpus):
    return ["taskset", "-c", cpus] if cpus else []


def measure(srv, op, pipe, a, arg):
    c0, k0, (b0, t0) = cpu_s(srv.pid), resource.getrusage(resource.RUSAGE_CHILDREN), machine()
    w0 = time.time()
    r = run_rb(srv, op, pipe, a, arg) if a.tool == "rb" else run_memtier(srv, op, pipe, a, arg)
    w1 = time.time()
    c1, k1, (b1, t1) = cpu_s(srv.pid), resource.getrusage(resource.RUSAGE_CHILDREN), machine()
    cli = (k1.ru_utime - k0.ru_utime) + (k1.ru_stime - k0.ru_stime)
    r["srv_us"] = (c1 - c0) * 1e6 / r["ops"]
    r["cli_us"] = cli * 1e6 / r["ops"]
    r["srv_pct"] = 100 * (c1 - c0) / r["secs"]
    r["other_pct"] = max(0.0, 100 * ((b1 - b0) - (c1 - c0) - cli) / (t1 - t0))
    r["rss"] = rss_b(srv.pid)
    r["wall"] = w1 - w0
    return r


def med(rs, k):
    return statistics.median(x[k] for x in rs)


def on_term(*_):
    raise SystemExit("terminated")  # so that the finally clause stops the servers


def main():
    signal.signal(signal.SIGTERM, on_term)
    ap = argparse.ArgumentParser(
        formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__
    )
    ap.add_argument("--server", action="append", default=[])
    ap.add_argument("--attach", action="append", default=[])
    ap.add_argument("--tool", choices=["rb", "memtier"], default="rb")
    ap.add_argument(
        "--workloads",
        default="get/1,set/1,get/16,set/16,get/64,set/64",
        help="op/pipeline,... op: get set mix90 mix50",
    )
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--secs", type=float, default=8)
    ap.add_argument("--keys", type=int, default=1000000)
    ap.add_argument("--size", type=int, default=100)
    ap.add_argument("--conns", type=int, default=50)
    ap.add_argument("--client-threads", type=int, default=1)
    ap.add_argument("--pin-server", default="", help="cpu list for taskset, e.g. 0")
    ap.add_argument("--pin-client", default="", help="cpu list for taskset, e.g. 1")
    ap.add_argument(
        "--noise",
        type=float,
        default=0,
        help="wait for, and repeat runs until, other use of the machine is <= this %%",
    )
    ap.add_argument("--retries", type=int, default=2)
    ap.add_argument("--max-wait", type=float, default=30)
    ap.add_argument("--no-preload", action="store_true")
    ap.add_argument(
        "--mem",
        type=int,
        default=0,
        help="only load this many keys one server at a time and report RSS/key",
    )
    ap.add_argument("--dir", default=os.path.join(tempfile.gettempdir(), "piccolo-bench"))
    ap.add_argument("--json", default="", help="append raw results here, one JSON object per run")
    a = ap.parse_args()
    if a.pin_server:
        a.server = [
            s.split("=", 1)[0] + f"=taskset -c {a.pin_server} " + s.split("=", 1)[1]
            for s in a.server
        ]
    servers = [Server(s, a.dir) for s in a.server] + [Server(s, a.dir, True) for s in a.attach]
    raw = open(a.json, "a") if a.json else None
    try:
        if a.mem:
            print(
                "| server | keys | RSS empty MB | RSS loaded MB | bytes RSS/key | overhead"
                f" over {16 + a.size} B | load s | load srv us/op |"
            )
            print("|---|---:|---:|---:|---:|---:|---:|---:|")
            for s in servers:
                s.start()
                time.sleep(0.5)
                r0, c0 = rss_b(s.pid), cpu_s(s.pid)
                dt = s.preload(a.mem, a.size, 0)
                c1 = cpu_s(s.pid)
                time.sleep(2)
                r1 = rss_b(s.pid)
                bpk = (r1 - r0) / a.mem
                print(
                    f"| {s.name} | {a.mem} | {r0/1e6:.1f} | {r1/1e6:.1f} | {bpk:.1f} |"
                    f" {bpk-16-a.size:.1f} | {dt:.1f} | {(c1-c0)*1e6/a.mem:.2f} |",
                    flush=True,
                )
                if raw:
                    raw.write(
                        json.dumps(
                            dict(kind="mem", server=s.name, keys=a.mem, rss0=r0, rss1=r1, load_s=dt)
                        )
                        + "\n"
                    )
                s.stop()
            return
        for s in servers:
            s.start()
            if not a.no_preload:
                dt = s.preload(a.keys, a.size, KEYBASE[a.tool])
                print(
                    f"# {s.name}: up pid {s.pid}, {a.keys} keys in {dt:.1f} s, RSS"
                    f" {rss_b(s.pid)/1e6:.0f} MB",
                    file=sys.stderr,
                    flush=True,
                )
        loads = [(w.split("/")[0], int(w.split("/")[1])) for w in a.workloads.split(",")]
        res, rate = {}, {}
        for rnd in range(a.rounds):
            for op, pipe in loads:
                for s in servers:
                    k = (op, pipe, s.name)
                    try:
                        if a.tool == "rb":
                            if k not in rate:  # ~1 s calibration, doubles as warm-up
                                n = 20000
                                while True:
                                    r = run_rb(s, op, pipe, a, n)
                                    if r["secs"] >= 0.7:
                                        break
                                    n = int(n * min(20, max(1.3, 1.0 / max(r["secs"], 0.02))))
                                rate[k] = r["rate"]
                            r = quiet_measure(s, op, pipe, a, max(1000, int(rate[k] * a.secs)))
                            rate[k] = r["rate"]
                        else:
                            r = quiet_measure(s, op, pipe, a, a.secs)
                    except (RuntimeError, subprocess.TimeoutExpired) as e:
                        print(f"# {k}: FAILED {str(e)[:400]}", file=sys.stderr, flush=True)
                        continue
                    res.setdefault(k, []).append(r)
                    print(
                        f"# r{rnd+1} {op}/P{pipe} {s.name}: {r['rate']:.0f} op/s srv"
                        f" {r['srv_us']:.2f} us/op {r['srv_pct']:.0f}% other"
                        f" {r['other_pct']:.1f}%"
                        + (f" ERR {r['errs']}" if r["errs"] else "")
                        + (f" miss {r['miss']:.3f}" if r.get("miss") else ""),
                        file=sys.stderr,
                        flush=True,
                    )
                    if raw:
                        raw.write(
                            json.dumps(
                                dict(
                                    kind="run",
                                    tool=a.tool,
                                    server=s.name,
                                    op=op,
                                    pipe=pipe,
                                    round=rnd + 1,
                                    conns=a.conns,
                                    **r,
                                )
                            )
                            + "\n"
                        )
                        raw.flush()
        print(
            "| workload | server | ops/s median | min-max | p50 ms | p99 ms | p99.9 ms | srv"
            " us/op | (min-max) | srv CPU % | client us/op | other % | RSS MB |"
        )
        print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
        for op, pipe in loads:
            for s in servers:
                rs = res.get((op, pipe, s.name))
                if not rs:
                    print(f"| {op} P{pipe} | {s.name} | FAILED |")
                    continue
                lo, hi = min(x["rate"] for x in rs), max(x["rate"] for x in rs)
                ul, uh = min(x["srv_us"] for x in rs), max(x["srv_us"] for x in rs)
                print(
                    f"| {op} P{pipe} | {s.name} | {med(rs,'rate'):.0f} | {lo:.0f}-{hi:.0f} |"
                    f" {med(rs,'p50'):.3f} | {med(rs,'p99'):.3f} | {med(rs,'p999'):.3f} "
                    f"| {med(rs,'srv_us'):.2f} | {ul:.2f}-{uh:.2f} | {med(rs,'srv_pct'):.0f}"
                    f" | {med(rs,'cli_us'):.2f} | {med(rs,'other_pct'):.1f} |"
                    f" {med(rs,'rss')/1e6:.0f} |"
                )
    finally:
        for s in servers:
            s.stop()


if __name__ == "__main__":
    main()
