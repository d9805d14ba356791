#!/usr/bin/env python3
"""Writes what `curl --config` needs to load and read the records of FOLDER through REST.

usage: rest_records.py FOLDER HOST:PORT

FOLDER is one that dumpavail.py has filled. Writes into it:
  put/N        the record number N, since curl sends files
  put.curl     PUT of every record; curl prints the status of each in a line
  get.curl     GET of every name, in order of names; curl prints each record and a line end
  bodies.txt   what the latter prints if nothing is lost or changed, byte for byte
Prints the number of records.
"""

import os
import sys
from urllib.parse import quote

from cluster_records import records


def main():
    folder, address = sys.argv[1:]
    os.makedirs(os.path.join(folder, "put"), exist_ok=True)
    count = 0
    with (
        open(os.path.join(folder, "put.curl"), "w") as put,
        open(os.path.join(folder, "get.curl"), "w") as get,
        open(os.path.join(folder, "bodies.txt"), "wb") as bodies,
    ):
        put.write('write-out = "%{http_code}\\n"\n')
        get.write('write-out = "\\n"\n')
        for count, (name, record) in enumerate(records(folder), 1):
            path = os.path.join(folder, "put", str(count))
            with open(path, "wb") as file:
                file.write(record)
            url = f"http://{address}/v1/kv/{quote(name, safe='')}"
            put.write(f'url = "{url}"\nupload-file = "{path}"\n')
            get.write(f'url = "{url}"\n')
            bodies.write(record + b"\n")
    print(count)


if __name__ == "__main__":
    main()
