//! Durations as text with a unit: `500ms`, `300s`, `5m`, `1h`.
//!
//! Promises: [`parse`] takes what [`write`] gives back, and nothing without a unit.
//! Does not know: which durations make sense where.

use std::time::Duration;

/// A whole number and one of `ms`, `s`, `m`, `h`. Refuses in one sentence.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "`{text}` is no duration; write a whole number and a unit, as in \"300s\", \"500ms\", \"5m\" or \"1h\""
        )
    };
    let n_digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(n_digits);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
        .ok_or_else(wrong)
}

/// In seconds where that is exact, else in milliseconds; finer parts are not written.
pub(crate) fn write(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        _ => format!("{}ms", duration.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("300s"), Ok(Duration::from_secs(300)));
        assert_eq!(parse("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse("1h"), Ok(Duration::from_secs(3600)));
    }

    #[test]
    fn what_is_no_duration() {
        for text in [
            "",
            "300",
            "s",
            "-1s",
            "1.5s",
            " 1s",
            "1 s",
            "1d",
            "1S",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn written_and_read_again() {
        for ms in [1, 500, 1_000, 1_500, 900_000] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse(&write(duration)), Ok(duration));
        }
    }
}
