#!/usr/bin/env bash
# Makes schema/src/generated anew from the .capnp files. Needs `capnp` (Debian: capnproto) and
# `capnpc-rust` (cargo install capnpc --version 0.27.0 --locked).
set -euo pipefail
cd "$(dirname "$0")"
out=${1:-src/generated}
for tool in capnp capnpc-rust rustfmt; do
  command -v "$tool" >/dev/null ||
    { echo "regenerate: $tool is missing, see the head of $0" >&2; exit 2; }
done
mkdir -p "$out"
capnp compile -orust:"$out" --src-prefix=. gossip.capnp kv.capnp peer.capnp
# The tool's version would differ from machine to machine.
sed -i -e '/^\/\/ capnp binary version/d' -e '/^\/\/ capnpc crate version/d' "$out"/*.rs
rustfmt --config-path ../rustfmt.toml "$out"/*.rs
