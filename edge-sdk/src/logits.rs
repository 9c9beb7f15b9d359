//! What one row of logits says about the model's mind. In: raw logits, before temperature and
//! penalties, and the token that was chosen. Out: entropy, uncertainty, margin, surprisal in one
//! pass. Pure: no clock, no allocation, no panic, no error; a row that makes no sense is `None`.
//!
//! With `m` the largest logit and `rest` the sum of `e^(x-m)` over all others, the probability of
//! the likeliest token is `1 / (1 + rest)`. Keeping `rest` apart from that 1 keeps every digit of
//! a confident model's uncertainty, which is where drift begins. `wide.rs` has the same for large
//! vocabularies, several logits at a time.

mod wide;

/// Vocabularies from here on are worked on many logits at a time; below, 64 bits cost nothing.
const WIDE_MIN: usize = 1_024;

/// Statistics of one next-token distribution, natural logarithms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogitStats {
    /// The likeliest token; the first of them if several are.
    pub likeliest: u32,
    /// `-sum p ln p`, in nat.
    pub entropy: f64,
    /// 1 minus the probability of the likeliest token.
    pub uncertainty: f64,
    /// Probability of the likeliest token minus that of the second.
    pub margin: f64,
    largest: f64,
    log_sum: f64,
}

impl LogitStats {
    /// One pass over a row. `None` when it is empty, has a NaN or a positive infinity, or rules
    /// every token out.
    pub fn of(logits: &[f32]) -> Option<Self> {
        if logits.len() < WIDE_MIN {
            Pass::over(logits)
        } else {
            wide::stats(logits)
        }
    }

    /// `-ln p` of a token with this logit, in nat; infinite for a token that was ruled out.
    pub fn surprisal(&self, logit: f32) -> f64 {
        (self.largest - f64::from(logit)).max(0.0) + self.log_sum
    }

    /// `-ln p` of the likeliest token, in nat.
    pub fn surprisal_of_likeliest(&self) -> f64 {
        self.log_sum
    }
}

/// What the pass knows so far.
struct Pass {
    likeliest: usize,
    largest: f64,
    second: f64,
    /// Sum of `e^(x-largest)` over all but the largest.
    rest: f64,
    /// Sum of `(x-largest) e^(x-largest)` over the same.
    weighted: f64,
    valid: bool,
}

impl Pass {
    /// One pass in 64 bits.
    fn over(logits: &[f32]) -> Option<LogitStats> {
        let mut pass = Self::start(f64::from(*logits.first()?));
        for (index, logit) in logits.iter().enumerate().skip(1) {
            pass.take(index, f64::from(*logit));
        }
        pass.finish()
    }

    fn start(first: f64) -> Self {
        Self {
            likeliest: 0,
            largest: first,
            second: f64::NEG_INFINITY,
            rest: 0.0,
            weighted: 0.0,
            valid: is_logit(first),
        }
    }

    fn take(&mut self, index: usize, logit: f64) {
        self.valid &= is_logit(logit);
        if logit > self.largest {
            self.overtake(index, logit);
            return;
        }
        if logit > self.second {
            self.second = logit;
        }
        let below = logit - self.largest;
        let share = below.exp();
        // A token that was ruled out has share 0, and 0 times minus infinity is not a number.
        if share > 0.0 {
            self.rest += share;
            self.weighted += below * share;
        }
    }

    /// The sums are relative to the largest logit: bring them to the new one.
    fn overtake(&mut self, index: usize, logit: f64) {
        let below = self.largest - logit;
        let share = below.exp();
        if share > 0.0 {
            self.weighted = share * (self.weighted + below * (self.rest + 1.0));
            self.rest = share * (self.rest + 1.0);
        } else {
            (self.weighted, self.rest) = (0.0, 0.0);
        }
        (self.second, self.largest, self.likeliest) = (self.largest, logit, index);
    }

    fn finish(self) -> Option<LogitStats> {
        if !self.valid || self.largest == f64::NEG_INFINITY {
            return None;
        }
        let total = 1.0 + self.rest;
        let log_sum = self.rest.ln_1p();
        Some(LogitStats {
            likeliest: u32::try_from(self.likeliest).ok()?,
            entropy: (log_sum - self.weighted / total).max(0.0),
            uncertainty: self.rest / total,
            margin: -(self.second - self.largest).exp_m1() / total,
            largest: self.largest,
            log_sum,
        })
    }
}

/// Minus infinity is how samplers rule a token out.
fn is_logit(logit: f64) -> bool {
    !logit.is_nan() && logit != f64::INFINITY
}

#[cfg(test)]
mod tests;
