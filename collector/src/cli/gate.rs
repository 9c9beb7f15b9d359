//! `fathomline gate`: may a new version go on? Of a running collector or of a data folder.
//!
//! In: a model and two versions. Out: the decision on standard output and as exit code: 0 promote,
//! 1 rollback, 3 hold; 2 is an error.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use fathomline_collector::{
    Config,
    references::{Asked, decide_in},
};
use fathomline_queries::gate::{Answer, ClassAnswer, Decision, SignalAnswer};

use super::{
    asking::Asking,
    keeping::{json, print, remark},
    runtime,
};

/// Between two questions while waiting; the answer changes with each lane that closes.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(crate) struct Gate {
    /// Model name.
    #[arg(long, value_name = "NAME")]
    model: String,
    /// The version that wants to go on.
    #[arg(long, value_name = "VERSION")]
    candidate: String,
    /// The version it is held against.
    #[arg(long, value_name = "VERSION")]
    against: String,
    /// One device class; all of them otherwise.
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// The service, where several run the model.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// A metric that must get better, such as the one that a retraining was asked for.
    #[arg(long, value_name = "METRIC")]
    improve: Option<String>,
    #[command(flatten)]
    asking: Asking,
    /// Read a data folder instead: committed rows only.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// With --data: the collector's configuration, for its section `gate`.
    #[arg(long, value_name = "FILE", requires = "data")]
    config: Option<PathBuf>,
    /// Ask again for so long while the answer is hold, such as 30min or 24h.
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "data")]
    wait: Option<Duration>,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// A table of signals, for people.
    Text,
    /// The answer as the API gives it, for programs.
    Json,
}

impl Gate {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let answer = runtime::ask(self.answer())?;
        print(|out| match self.format {
            Format::Json => json(out, &answer),
            Format::Text => text(out, &answer),
        })?;
        Ok(match answer.decision {
            Decision::Promote => ExitCode::SUCCESS,
            Decision::Rollback => ExitCode::from(1),
            Decision::Hold => ExitCode::from(3),
        })
    }

    async fn answer(&self) -> anyhow::Result<Answer> {
        let asked = self.asked()?;
        let Some(folder) = &self.data else {
            return self.waited(&asked).await;
        };
        remark("committed rows only; what waits in the collector's log is not seen");
        let config = Config::load(self.config.as_deref())?;
        Ok(decide_in(folder, &config, &asked).await?)
    }

    fn asked(&self) -> anyhow::Result<Asked> {
        let asked = Asked {
            model: self.model.clone(),
            candidate: self.candidate.clone(),
            against: self.against.clone(),
            class: self.class.clone(),
            service: self.service.clone(),
            improve: self.improve.clone(),
        };
        Ok(asked.checked()?)
    }

    /// Asks until the answer is no hold, or the time is over. A collector that is away for a moment
    /// ends no wait; one that refuses does.
    async fn waited(&self, asked: &Asked) -> anyhow::Result<Answer> {
        let client = self.asking.client()?;
        let url = self.asking.at("/api/v1/gate");
        let until = self.wait.map(|wait| Instant::now() + wait);
        let mut said = String::new();
        loop {
            let request = client.get(&url).query(asked);
            let answer: anyhow::Result<Answer> = self.asking.answer(request, &url).await;
            let again = until.is_some_and(|until| Instant::now() + PAUSE < until);
            match answer {
                Ok(answer) if answer.decision == Decision::Hold && again => {
                    if said != answer.reason {
                        remark(&format!("hold: {}", answer.reason));
                        said = answer.reason;
                    }
                }
                Err(error) if again && is_away(&error) => remark(&format!("{error}; waiting")),
                answer => return answer,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn is_away(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<reqwest::Error>();
    cause.is_some_and(|error| error.is_connect() || error.is_timeout())
}

fn text(out: &mut dyn Write, answer: &Answer) -> io::Result<()> {
    writeln!(out, "{}: {}", answer.decision.name(), answer.reason)?;
    for class in &answer.classes {
        writeln!(out)?;
        of_class(out, answer, class)?;
    }
    let settings = &answer.settings;
    writeln!(
        out,
        "\nmargin {}, windows of {} s, {} devices and {} h at least, {} h of the baseline before, \
         a person decides after {} h; rollback at {:.0}, promote at {:.0}",
        settings.margin,
        settings.window_us as f64 / 1e6,
        settings.min_devices,
        hours(settings.min_time_us),
        hours(settings.aa_us),
        hours(settings.deadline_us),
        1.0 / settings.rollback_alpha,
        1.0 / settings.promote_alpha,
    )
}

fn hours(us: i64) -> f64 {
    let tenths_of_a_minute = (us as f64 / 6e6).round();
    (tenths_of_a_minute / 6.0).round() / 100.0
}

fn of_class(out: &mut dyn Write, answer: &Answer, class: &ClassAnswer) -> io::Result<()> {
    writeln!(
        out,
        "{}: {}; {} devices run {}, {} run {}",
        class.device_class,
        class.decision.name(),
        class.candidate_devices,
        answer.candidate,
        class.against_devices,
        answer.against
    )?;
    for reason in &class.reasons {
        writeln!(out, "  {reason}")?;
    }
    if class.signals.is_empty() {
        return Ok(());
    }
    let head = [
        "signal",
        "standing",
        &*answer.candidate,
        &*answer.against,
        "times",
        "harm",
        "fine",
        "deff",
    ];
    let lines = class.signals.iter().map(line);
    let lines: Vec<[String; 8]> = [head.map(str::to_owned)].into_iter().chain(lines).collect();
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    for line in &lines {
        let cells = line.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        writeln!(out, "  {}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

fn line(signal: &SignalAnswer) -> [String; 8] {
    let percent = |share: Option<f64>| {
        share.map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", 100.0 * share))
    };
    let value = |ln_e: Option<f64>| {
        ln_e.map_or_else(
            || "-".to_owned(),
            |ln_e| match ln_e {
                ln_e if ln_e > 14.0 => "over 1000000".to_owned(),
                ln_e => format!("{:.2}", ln_e.exp()),
            },
        )
    };
    let source = match signal.source.is_empty() {
        true => String::new(),
        false => format!(" ({})", signal.source),
    };
    let fine = match (signal.ok_ln_e, signal.better_ln_e) {
        (Some(ok), Some(better)) => Some(ok.min(better)),
        (ok, better) => ok.or(better),
    };
    [
        format!("{}{source} {}", signal.metric, signal.event),
        signal.standing.name().to_owned(),
        percent(signal.candidate.share()),
        percent(signal.against.share()),
        signal
            .ratio
            .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
        value(Some(signal.harm_ln_e)),
        value(fine),
        format!("{:.2}", signal.design_effect),
    ]
}

/// A whole number and a unit, as in the configuration.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "s" => Some(1),
        "min" => Some(60),
        "h" => Some(3600),
        _ => None,
    };
    let number: Option<u64> = number.parse().ok();
    let seconds = number
        .zip(seconds)
        .and_then(|(number, unit)| number.checked_mul(unit));
    let seconds = seconds.filter(|seconds| (1..=365 * 86_400).contains(seconds));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| "write a whole number and a unit: s, min or h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("30min"), Ok(Duration::from_secs(1800)));
        for wrong in ["", "5", "h", "0s", "-1s", "1d", "99999999999999999999s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
