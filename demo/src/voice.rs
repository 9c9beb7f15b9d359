//! How the story sounds. Owns standard error: a line for everything that happened, and below it,
//! on a terminal, one line that moves while nothing happens. In: sentences. Never writes to
//! standard output, which belongs to `--json`.

use std::{
    cell::Cell,
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Tells the story as it happens.
pub struct Voice {
    began: Instant,
    /// The moving line; hidden where nobody could see it move.
    bar: ProgressBar,
    /// Quarters of a wait that were said aloud, where the line is hidden.
    quarters: Cell<u128>,
}

impl Voice {
    pub fn new() -> Self {
        let bar = ProgressBar::no_length();
        if !stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        let voice = Self {
            began: Instant::now(),
            bar,
            quarters: Cell::new(0),
        };
        voice.idle();
        voice
    }

    /// Something happened.
    pub fn say(&self, sentence: impl AsRef<str>) {
        let seconds = self.began.elapsed().as_secs();
        let line = format!(
            "{:2}:{:02}  {}",
            seconds / 60,
            seconds % 60,
            sentence.as_ref()
        );
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// We are waiting for something that takes about `total`, of which `done` has passed.
    pub fn wait(&self, what: &str, done: Duration, total: Duration) {
        self.bar.set_style(style("{spinner} {bar:24} {msg}"));
        self.bar.set_length(total.as_secs());
        self.bar.set_position(done.min(total).as_secs());
        self.bar.set_message(what.to_owned());
        if self.bar.is_hidden() {
            self.mention(what, 4 * done.as_millis() / total.as_millis().max(1));
        }
    }

    /// Every quarter once: a log shall show that we live, and not every second of it.
    fn mention(&self, what: &str, quarter: u128) {
        if quarter > self.quarters.replace(quarter) && quarter < 4 {
            self.say(format!("{what}: {} %", 25 * quarter));
        }
    }

    /// We are waiting, and nobody knows how long.
    pub fn watch(&self, what: &str) {
        self.bar.set_style(style("{spinner} {msg}"));
        self.bar.set_message(what.to_owned());
    }

    /// Nothing is waited for.
    pub fn idle(&self) {
        self.watch("");
    }

    /// Takes the moving line away for good.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Default for Voice {
    fn default() -> Self {
        Self::new()
    }
}

/// A count as people write it: 3,100.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_told_apart() {
        let texts = [0, 999, 1_000, 36_047, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "36,047", "1,234,567"]);
    }
}
