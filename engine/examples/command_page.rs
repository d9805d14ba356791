//! The page of commands in the guide: `cargo run -p piccolo-engine --example command_page` prints
//! it, `... > docs/guide/commands.md` brings it up to date.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(piccolo_engine::command::page::page().as_bytes())
}
