//! The page of commands in the guide says what the registry says.

#[test]
fn the_page_of_commands_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide/commands.md");
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        page == piccolo_engine::command::page::page(),
        "docs/guide/commands.md is out of date; from the root of the project: cargo run -p \
         piccolo-engine --example command_page > docs/guide/commands.md"
    );
}
