#!/usr/bin/env python3
"""Loads the records of FOLDER through redis-py's cluster client, or reads them back.

usage: cluster_records.py load|read FOLDER HOST PORT

FOLDER is one that dumpavail.py has filled. `load` sets every name to its record and prints how
many; `read` writes name and record of every name to standard output, in order of names: what stands
in canon.txt, if nothing is lost or changed.
"""

import os
import sys

# Commands in one pipeline.
PIPELINE = 500


def records(folder):
    """Every name and record, in order of names."""
    with open(os.path.join(folder, "records.txt"), "rb") as file:
        while line := file.readline():
            name, length = line.split()
            yield name, file.read(int(length))
            file.read(1)


def lots(found):
    lot = []
    for one in found:
        lot.append(one)
        if len(lot) == PIPELINE:
            yield lot
            lot = []
    yield lot


def main():
    # Here, since others import from this file without having redis-py.
    from redis.cluster import RedisCluster

    what, folder, host, port = sys.argv[1:]
    client = RedisCluster(host=host, port=int(port))
    count = 0
    for lot in lots(records(folder)):
        pipe = client.pipeline()
        for name, record in lot:
            if what == "load":
                pipe.set(name, record)
            else:
                pipe.get(name)
        for (name, _), reply in zip(lot, pipe.execute()):
            if what == "read":
                sys.stdout.buffer.write(b"%s\n%s\n" % (name, reply))
            elif reply is not True:
                raise SystemExit(f"SET {name!r} was answered {reply!r}")
            count += 1
    if what == "load":
        print(count)


if __name__ == "__main__":
    main()
