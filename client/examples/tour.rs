//! A short tour: `cargo run -p piccolo-client --example tour -- 127.0.0.1:7379`.

#![expect(clippy::print_stdout, reason = "a tour talks to people")]

use piccolo_client::kv::{Condition, Expiry};
use piccolo_client::{Call, Client, Error, Options, Outcome, SetHow};

fn main() -> Result<(), Error> {
    let seeds: Vec<String> = std::env::args().skip(1).collect();
    let mut client = Client::connect(&seeds, Options::default())?;

    // One thing at a time.
    let version = client.set(b"tour:greeting", b"hello")?;
    println!("written as version {version}");
    if let Some(entry) = client.get(b"tour:greeting")? {
        println!("read {:?}", String::from_utf8_lossy(&entry.value));
    }

    // Only if nobody has written since.
    match client.cas(b"tour:greeting", version, b"hello again")? {
        Outcome::Written { version, .. } => println!("replaced by version {version}"),
        Outcome::Unmet(version) => println!("somebody was faster: version {version}"),
        other => println!("{other:?}"),
    }

    // For a minute, with a type, if there is no such key.
    let how = SetHow {
        condition: Condition::Absent,
        expiry: Expiry::InMs(60_000),
        meta: b"application/json",
    };
    println!("{:?}", client.set_with(b"tour:once", b"{}", how)?);

    // Many at once, each to the node that leads its key.
    let keys: Vec<String> = (0..1000).map(|i| format!("tour:count:{i}")).collect();
    let calls: Vec<Call<'_>> = keys.iter().map(|key| Call::increment(key.as_bytes(), 1)).collect();
    let done = client.batch(&calls).into_iter().flatten().count();
    println!("{done} of {} counted", keys.len());

    // What is there.
    let (mut cursor, mut found) = (0, 0);
    loop {
        let page = client.scan(cursor, 500, b"tour:")?;
        (cursor, found) = (page.cursor, found + page.keys.len());
        if cursor == 0 {
            break;
        }
    }
    println!("{found} keys begin with tour:");
    Ok(())
}
