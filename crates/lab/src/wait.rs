//! Waiting for something that can be observed, with a deadline.
//!
//! Promises: returns as soon as the thing is seen, and never later than the deadline by more than one look.
//! Does not know: what is looked at.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Time between two looks: short beside what a person notices, long beside what a look costs.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Calls `look` until it gives a value. `what` completes the sentence "waited N s in vain for …".
///
/// Errors: the deadline passed; an error of `look` ends the wait at once.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        if Instant::now() >= deadline {
            bail!("waited {} s in vain for {what}", limit.as_secs_f32());
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_what_was_seen_and_gives_up_at_the_deadline() {
        let mut looks = 0;
        let seen = until("the third look", Duration::from_secs(5), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(seen.unwrap(), 3);
        let error = until::<()>("nothing", Duration::ZERO, || Ok(None)).unwrap_err();
        assert!(error.to_string().contains("nothing"));
    }
}
