#!/usr/bin/env python3
"""Turns `apt-cache dumpavail` (standard input) into what a key:value store can be fed and asked.

Writes into FOLDER:
  load.resp    SET name record, for every package, in RESP: for `redis-cli --pipe`
  ask.txt      ECHO name, GET name, in order of names: for `redis-cli --raw` from standard input
  canon.txt    what that answers if nothing is lost or changed, byte for byte
  records.txt  for other readers: "name bytes\\n", then the record and "\\n"
Prints the number of records. A name that stands twice counts once, with its last record.
"""

import os
import sys


def records(dump):
    """name -> record of every stanza; stanzas are parted by empty lines."""
    found = {}
    for stanza in dump.split(b"\n\n"):
        stanza = stanza.strip(b"\n")
        for line in stanza.split(b"\n"):
            if line.startswith(b"Package:"):
                found[line[len(b"Package:") :].strip()] = stanza
                break
    return found


def set_command(name, record):
    return b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(name), name, len(record), record)


def main():
    folder = sys.argv[1]
    found = sorted(records(sys.stdin.buffer.read()).items())
    with open(os.path.join(folder, "load.resp"), "wb") as load:
        load.writelines(set_command(name, record) for name, record in found)
    with open(os.path.join(folder, "ask.txt"), "wb") as ask:
        ask.writelines(b"ECHO %s\nGET %s\n" % (name, name) for name, _ in found)
    with open(os.path.join(folder, "canon.txt"), "wb") as canon:
        canon.writelines(b"%s\n%s\n" % (name, record) for name, record in found)
    with open(os.path.join(folder, "records.txt"), "wb") as plain:
        for name, record in found:
            plain.write(b"%s %d\n%s\n" % (name, len(record), record))
    print(len(found))


if __name__ == "__main__":
    main()
