//! Durations, as they are typed: how long to wait, and how long something may take.
//!
//! What is waited for it does not know.

use std::time::Duration;

/// A number with a unit, or several of them.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "a duration is a number with a unit, such as 500ms, 30s or 1h30m".to_owned())
}

/// How long something may take: a millisecond at least.
pub(super) fn parse_limit(text: &str) -> Result<Duration, String> {
    let limit = parse_duration(text)?;
    let too_short = || "nothing is done in no time: a limit is a millisecond at least, such as 30s or 1h30m".to_owned();
    Some(limit).filter(|limit| limit.as_millis() > 0).ok_or_else(too_short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        for wrong in ["", "abc", "5", "-1s", "1 fortnight"] {
            let said = parse_duration(wrong).unwrap_err();
            assert!(said.starts_with("a duration is a number with a unit"), "{wrong}: {said}");
        }
    }

    #[test]
    fn a_limit_is_longer_than_nothing() {
        assert_eq!(parse_limit("1ms"), Ok(Duration::from_millis(1)));
        for (wrong, said) in [("0s", "a millisecond at least"), ("999us", "a millisecond at least"), ("x", "a number")]
        {
            assert!(parse_limit(wrong).unwrap_err().contains(said), "{wrong}");
        }
    }
}
