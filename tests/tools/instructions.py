#!/usr/bin/env python3
"""Instructions per command of the sans-IO shard, held against a bar.

Runs engine/examples/shard_count.rs under callgrind with two numbers of turns; the difference is
the cost of the turns alone: bytes in to bytes out, parsing, slot, table, reply. The count does
not depend on what else the machine does. A count more than 5 % above its bar fails: then either
mend the change, or raise the bar in the commit that says what the instructions are spent on.

usage: instructions.py PATH_TO_shard_count
"""
import re
import subprocess
import sys
import tempfile

# (operation, pipeline): instructions per command, on x86_64.
BARS = {("get", 1): 2842, ("get", 16): 1801, ("set", 1): 3117, ("set", 16): 2068}
SLACK = 1.05
TURNS = (2000, 6000)


def count(program, op, pipeline, turns):
    with tempfile.NamedTemporaryFile() as out:
        run = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}",
             program, op, str(pipeline), str(turns)],
            capture_output=True, text=True, check=True, timeout=300)
    return int(re.search(r"Collected : (\d+)", run.stderr).group(1))


def main():
    program = sys.argv[1]
    failed = False
    for (op, pipeline), bar in BARS.items():
        low, high = (count(program, op, pipeline, turns) for turns in TURNS)
        per_command = (high - low) / ((TURNS[1] - TURNS[0]) * pipeline)
        over = per_command > bar * SLACK
        failed |= over
        print(f"{op} pipeline {pipeline}: {per_command:.0f} instructions a command,"
              f" bar {bar}{' EXCEEDED' if over else ''}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
