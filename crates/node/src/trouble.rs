//! A trouble that lasts: it is worth a line when it begins, changes or has lasted for another minute, and not each time.
//!
//! It knows when to speak; what is said, and of what, it does not.

use std::time::{Duration, Instant};

/// How long the same trouble is not mentioned again.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// What was said of a trouble, and when.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    said: Option<(String, Instant)>,
}

impl Trouble {
    /// Whether there is something to say.
    pub(crate) fn is_news(&mut self, reason: &str, now: Instant) -> bool {
        let said = |(said, at): &(String, Instant)| said == reason && now.duration_since(*at) < SAY_EVERY;
        if self.said.as_ref().is_some_and(said) {
            return false;
        }
        self.said = Some((reason.to_owned(), now));
        true
    }

    /// It is over. Whether anything had been said of it.
    pub(crate) fn ends(&mut self) -> bool {
        self.said.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_said_when_it_begins_changes_or_lasts() {
        let mut trouble = Trouble::default();
        let began = Instant::now();
        let mut is_news = |reason, seconds| trouble.is_news(reason, began + Duration::from_secs(seconds));
        assert_eq!([is_news("refused", 0), is_news("refused", 59), is_news("refused", 60)], [true, false, true]);
        assert_eq!([is_news("silent", 61), is_news("silent", 62), is_news("refused", 63)], [true, false, true]);
        assert!(trouble.ends());
        assert!(!trouble.ends());
        assert!(trouble.is_news("refused", began));
    }
}
