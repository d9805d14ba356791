//! CPU that other processes use, as Linux counts it.

use std::fs;

use crate::clock::SECOND;

/// Nanoseconds of CPU (user and system) that all `pids` together have used so far.
///
/// # Errors
///
/// Names the process that is not there, or whose numbers cannot be read.
pub(crate) fn of(pids: &[u32]) -> Result<u64, String> {
    let mut sum = 0;
    for pid in pids {
        let path = format!("/proc/{pid}/stat");
        let text = fs::read_to_string(&path)
            .map_err(|error| format!("process {pid} of --pid: {path}: {error}"))?;
        let ticks = ticks(&text).ok_or_else(|| format!("{path} is not as Linux writes it"))?;
        sum += ticks * (SECOND / TICKS_PER_SECOND);
    }
    Ok(sum)
}

/// `utime` and `stime` of a line of `/proc/PID/stat`: fields 14 and 15 (source: proc(5)). The
/// second field, the name, may hold blanks and parentheses, so counting starts behind it.
fn ticks(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(number(14)? + number(15)?)
}

/// USER_HZ, which is 100 on every Linux that Rust's std runs on.
const TICKS_PER_SECOND: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_found_behind_any_name() {
        let stat = "42 (a) b ) R 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0 99";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("42 (a) R 1"), None);
    }

    #[test]
    fn this_process_has_numbers_and_an_absent_one_is_named() {
        assert!(of(&[std::process::id()]).is_ok());
        assert!(of(&[u32::MAX]).unwrap_err().contains("4294967295"));
    }
}
