//! The file of the cluster's keys: read at the start, and again on SIGHUP.

use std::fs::File;
use std::io::{Error, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use piccolo_gossip::{KeyFault, Keys};

use super::error::ServeError;

/// Bytes of the file at most: two keys and some words about them.
const FILE_BYTES_MAX: u64 = 4 << 10;

/// How to come by a key.
const MAKE: &str = "make one with `(umask 077; openssl rand -hex 16 >FILE)`, and copy it to every \
                    node of the cluster";

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
        .map_err(|error| fault(unreadable(&error)))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(fault(format!("longer than {FILE_BYTES_MAX} bytes: is it the right file?")));
    }
    let keys = Keys::parse(&text).map_err(|error| fault(unfit(error)))?;
    if let Some(warning) = exposed(path, mode) {
        log::warn!("{warning}");
    }
    Ok(keys)
}

/// What the operator is told of a file that others can read or write. The group may: it is how
/// a secret is given to a container.
fn exposed(path: &Path, mode: u32) -> Option<String> {
    let path = path.display();
    (mode & 0o007 != 0).then(|| {
        format!(
            "--cluster-key {path}: its mode is {:o}, so everybody on this machine may use it: \
             `chmod 600 {path}`, as its owner, and another key if somebody else may have read it",
            mode & 0o777
        )
    })
}

fn unreadable(error: &Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => format!("{error}: {MAKE}"),
        ErrorKind::PermissionDenied => format!(
            "{error}: the user that runs this node has to own it, and may enter its folder: \
             `chown USER FILE`, `chmod 600 FILE`"
        ),
        ErrorKind::IsADirectory | ErrorKind::InvalidData => {
            format!("{error}: is it the right file?")
        }
        _ => error.to_string(),
    }
}

fn unfit(fault: KeyFault) -> String {
    match fault {
        KeyFault::Count { count: 0 } => format!("there is no key in it: {MAKE}"),
        fault => fault.to_string(),
    }
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

    const KEY: &str = "00112233445566778899aabbccddeeff";

    #[test]
    fn keys_are_described_by_number_and_fingerprint() {
        let (old, new) = (KEY, "ffeeddccbbaa99887766554433221100");
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
            ("", "there is no key in it: make one with `(umask 077; openssl rand -hex 16 >FILE)`"),
            ("# soon\n", "there is no key in it"),
            (&[KEY, KEY, KEY].map(|key| format!("{key}\n")).concat(), "the same as the first"),
            ("hush\n", "line 1: a key is 32 hexadecimal digits"),
            (&"#".repeat(5000), "longer than 4096 bytes"),
        ] {
            std::fs::write(&path, text).unwrap();
            assert!(fault().contains(why) && !fault().contains("hush"), "{}", fault());
        }
        std::fs::write(&path, [0xff; 9]).unwrap();
        assert!(fault().ends_with("is it the right file?"), "{}", fault());
        std::fs::write(&path, format!("{KEY} # since May\n")).unwrap();
        assert!(read(&path).is_ok());
        std::fs::remove_file(&path).unwrap();
        let folder = read(&std::env::temp_dir()).unwrap_err().to_string();
        assert!(folder.ends_with("is it the right file?"), "{folder}");
    }

    /// Told of the error itself: who runs the tests may be allowed to read everything.
    #[test]
    fn who_may_read_a_file_is_said_with_what_to_do() {
        let denied = unreadable(&ErrorKind::PermissionDenied.into());
        assert!(
            denied.contains("has to own it") && denied.contains("`chmod 600 FILE`"),
            "{denied}"
        );
        let path = Path::new("/etc/piccolo.key");
        for mode in [0o100_600, 0o100_400, 0o100_640] {
            assert_eq!(exposed(path, mode), None, "{mode:o}");
        }
        let told = exposed(path, 0o100_644).unwrap();
        assert!(told.starts_with("--cluster-key /etc/piccolo.key: its mode is 644, so"), "{told}");
        assert!(told.contains("`chmod 600 /etc/piccolo.key`"), "{told}");
    }
}
