//! The file of the cluster's keys: read at the start, and again on SIGHUP.

use std::fs::File;
use std::io::{Error, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use piccolo_gossip::Keys;

use super::error::ServeError;

/// Bytes of the file at most: two keys and some words about them.
const FILE_BYTES_MAX: u64 = 4 << 10;

/// Reads the keys, and warns if others on this machine can.
///
/// # Errors
///
/// The file cannot be read, or holds something else.
pub(super) fn read(path: &Path) -> Result<Keys, ServeError> {
    let fault = |why: String| ServeError::KeyFile { path: path.to_owned(), why };
    let file = File::open(path).map_err(|error| fault(unreadable(&error)))?;
    let mode = file.metadata().map_or(0, |metadata| metadata.permissions().mode());
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| fault(error.to_string()))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(fault(format!("longer than {FILE_BYTES_MAX} bytes: is it the right file?")));
    }
    let keys = Keys::parse(&text).map_err(|error| fault(error.to_string()))?;
    if mode & 0o007 != 0 {
        let path = path.display();
        log::warn!(
            "{path}: everybody on this machine may use it: `chmod 600 {path}`, as its owner"
        );
    }
    Ok(keys)
}

fn unreadable(error: &Error) -> String {
    let advice = match error.kind() {
        ErrorKind::NotFound => {
            ": make one with `(umask 077; openssl rand -hex 16 >FILE)`, and copy it \
                               to every node"
        }
        ErrorKind::PermissionDenied => ": the user that runs this node has to own it",
        _ => "",
    };
    format!("{error}{advice}")
}

/// The keys in words that show none: operators compare nodes by them while a key is replaced.
pub(super) fn described(keys: &Keys) -> String {
    match keys.fingerprints().as_slice() {
        [only] => format!("1 key, fingerprint {only}"),
        [first, others @ ..] => {
            let (count, others) = (1 + others.len(), others.join(", "));
            format!("{count} keys, fingerprints {first} (proves), {others} (accepted)")
        }
        [] => "no key".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_described_by_number_and_fingerprint() {
        let (old, new) = ("00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100");
        let both = Keys::parse(&format!("{old}\n{new}")).unwrap();
        let [first, second] = both.fingerprints().try_into().unwrap();
        assert_eq!(
            described(&both),
            format!("2 keys, fingerprints {first} (proves), {second} (accepted)")
        );
        let one = described(&Keys::parse(new).unwrap());
        assert_eq!(one, format!("1 key, fingerprint {second}"));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_name() {
        let name = format!("piccolo-key-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let fault = || read(&path).unwrap_err().to_string();
        assert!(fault().contains(path.to_str().unwrap()), "{}", fault());
        assert!(fault().contains("openssl rand -hex 16 >FILE"), "{}", fault());
        for (text, why) in [
            ("", "0 keys, not 1 or 2"),
            ("hush\n", "line 1: a key is 32 hexadecimal digits"),
            (&"#".repeat(5000), "longer than 4096 bytes"),
        ] {
            std::fs::write(&path, text).unwrap();
            assert!(fault().contains(why) && !fault().contains("hush"), "{}", fault());
        }
        std::fs::write(&path, "00112233445566778899aabbccddeeff # since May\n").unwrap();
        assert!(read(&path).is_ok());
        std::fs::remove_file(&path).unwrap();
    }
}
