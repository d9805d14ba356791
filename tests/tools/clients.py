#!/usr/bin/env python3
"""What a user of redis-py does, with its defaults, against the nodes at the ports given.

Each step writes through one node and reads through the next. Ends with one line if all is well.
"""

import sys

import redis


def expect(found, wanted):
    if found != wanted:
        raise SystemExit(f"found {found!r}, expected {wanted!r}")


def strings(one, other):
    expect(one.set("key", "value"), True)
    expect(other.get("key"), b"value")
    expect(one.set("key", "again", nx=True), None)
    expect(other.set("key", "again", xx=True, get=True), b"value")
    expect(one.append("key", "st"), 7)
    expect(other.getrange("key", 0, 4), b"again")
    expect(one.strlen("key"), 7)
    expect(other.getdel("key"), b"against")
    expect(one.exists("key"), 0)


def expiry(one, other):
    expect(one.set("brief", "x", px=100000), True)
    expect(0 < other.pttl("brief") <= 100000, True)
    expect(one.persist("brief"), True)
    expect(other.ttl("brief"), -1)
    expect(one.expire("brief", 100, nx=True), True)
    expect(other.expire("brief", 50, gt=True), False)
    expect(one.delete("brief"), 1)


def many_keys(one, other):
    values = {f"many:{at}": str(at) for at in range(500)}
    expect(one.mset(values), True)
    expect(other.mget(list(values)), [value.encode() for value in values.values()])
    expect(other.dbsize(), 500)
    expect(sorted(one.scan_iter(match="many:*", count=50)), sorted(k.encode() for k in values))
    expect(other.delete(*values), 500)


def default_pipeline(one, other):
    """`pipeline()` wraps its commands in MULTI and EXEC; these touch many slots."""
    with one.pipeline() as pipe:
        for at in range(100):
            pipe.set(f"pipe:{at}", at)
            pipe.incr("pipe:sum", at)
        replies = pipe.execute()
    expect(len(replies), 200)
    expect(replies[-1], sum(range(100)))
    with other.pipeline(transaction=False) as pipe:
        for at in range(100):
            pipe.get(f"pipe:{at}")
        expect(pipe.execute(), [str(at).encode() for at in range(100)])
    expect(one.flushdb(), True)


def watched(one, other):
    one.set("{w}balance", 10)
    with one.pipeline() as pipe:
        pipe.watch("{w}balance")
        before = int(pipe.get("{w}balance"))
        other.set("{w}balance", 20)
        pipe.multi()
        pipe.set("{w}balance", before + 1)
        try:
            pipe.execute()
            raise SystemExit("EXEC went through although the watched key had changed")
        except redis.WatchError:
            pass

    def add_one(pipe):
        pipe.multi()
        pipe.incr("{w}balance")

    expect(other.transaction(add_one, "{w}balance"), [21])
    expect(one.delete("{w}balance"), 1)


def refusals(one, _):
    for wrong in (lambda: one.lpush("list", 1), lambda: one.execute_command("NOSUCH")):
        try:
            wrong()
            raise SystemExit("a command that is not supported was answered")
        except redis.ResponseError as error:
            expect("unknown command" in str(error), True)
    expect(one.ping(), True)


def main():
    ports = [int(port) for port in sys.argv[1:]]
    for protocol in (2, 3):
        nodes = [redis.Redis(port=port, protocol=protocol) for port in ports]
        for at, one in enumerate(nodes):
            other = nodes[(at + 1) % len(nodes)]
            for step in (strings, expiry, many_keys, default_pipeline, watched, refusals):
                step(one, other)
    print(f"redis-py: all as expected ({redis.__version__}, {len(ports)} nodes)")


if __name__ == "__main__":
    main()
