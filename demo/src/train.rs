//! Makes weights: `fathomline-demo train` from nothing, `fathomline-demo tune` from the shipped ones.
//! Owns the loop from a seed to two files and a note. In: a plan. Out: `model.safetensors`,
//! `model.q8.gguf` and `README.md` in the folder named, with accuracy on requests the training never
//! saw. The same plan on the same machine gives the same weights unless the time limit cuts it
//! short. Never touches the weights in use.

mod fused;
mod lesson;
mod network;
mod note;
mod student;

use std::{
    fs::{self, File},
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use candle_core::{
    DType, Tensor,
    quantized::{GgmlDType, QTensor, gguf_file},
};

use crate::{
    exam::{self, Marks},
    grammar::{Grammar, Utterance},
    model::{Model, Quantization},
};

use lesson::Lessons;
use student::{Schedule, Student};

/// Steps between two reports.
const STEPS_PER_REPORT: usize = 50;
/// Enough that one request more or less right moves the accuracy by a quarter of a percent.
const VALIDATION_REQUESTS: usize = 400;
/// Requests of each season that no training sees, so that any number up to it can be examined.
const EXAM_REQUESTS_MAX: usize = 1_000;

/// What is learned, and from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// The usual season, from nothing.
    Usual,
    /// The new season beside the usual one, from the shipped weights.
    NewSeason,
}

impl Course {
    /// The demo's command that takes it.
    pub fn command(self) -> &'static str {
        match self {
            Self::Usual => "train",
            Self::NewSeason => "tune",
        }
    }

    /// Share of the texts that are of the new season.
    fn share(self) -> f64 {
        match self {
            Self::Usual => 0.0,
            // Without the usual season the model would forget it.
            Self::NewSeason => 0.75,
        }
    }

    /// Seasons that it is examined in on its way, as shares of new requests.
    fn seasons(self) -> &'static [f64] {
        match self {
            Self::Usual => &[0.0],
            Self::NewSeason => &[0.0, 1.0],
        }
    }

    /// Steps between two looks at the validation requests. A schedule that was cut short leaves
    /// weights worse than one that ended, so a short course is looked at when it is over.
    fn steps_per_check(self) -> usize {
        match self {
            Self::Usual => 250,
            Self::NewSeason => usize::MAX,
        }
    }

    fn student(self, seed: u64, steps: usize) -> Result<Student> {
        let schedule = |peak| Schedule { peak, steps };
        match self {
            Self::Usual => Student::new(seed, schedule(4e-3)),
            Self::NewSeason => Student::resumed(Quantization::F32.shipped(), schedule(6e-3)),
        }
    }
}

/// What to train and when to stop.
#[derive(Clone, Debug)]
pub struct Plan {
    pub course: Course,
    pub seed: u64,
    /// Length of the learning-rate schedule; training never goes past it.
    pub steps: usize,
    /// Stops early once this share of the validation requests is answered exactly.
    pub target_accuracy: f64,
    pub time_limit: Duration,
    /// Requests of each season behind every figure of the note; 1,000 at most.
    pub exam_requests: usize,
    pub out: PathBuf,
}

/// Where training stands.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub step: usize,
    /// Mean over the steps since the last report.
    pub loss: f64,
    /// Share of validation requests answered exactly, in the season that fares worst; none where
    /// they were not asked.
    pub accuracy: Option<f64>,
}

/// What training came to.
pub struct Outcome {
    pub progress: Progress,
    pub took: Duration,
    pub marks: Vec<Grade>,
}

/// Marks of one stored form of the weights in one season.
pub struct Grade {
    pub quantization: Quantization,
    pub season: &'static str,
    pub marks: Marks,
}

/// Trains, writes the weights and the note, and says what came out. Whoever hears the reports may
/// end it.
pub fn run(plan: &Plan, report: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<Outcome> {
    ensure!(plan.steps > 0, "cannot train for 0 steps; name at least 1");
    ensure!(
        plan.exam_requests <= EXAM_REQUESTS_MAX,
        "cannot examine {} requests; {EXAM_REQUESTS_MAX} are kept from training",
        plan.exam_requests
    );
    fs::create_dir_all(&plan.out)
        .with_context(|| format!("cannot make the folder {}", plan.out.display()))?;
    let grammar = Grammar::new();
    let began = Instant::now();
    let (student, progress) = teach(plan, &grammar, began, report)?;
    let took = began.elapsed();
    write_weights(&student, &plan.out)?;
    let outcome = Outcome {
        progress,
        took,
        marks: grade(&grammar, plan)?,
    };
    let note = plan.out.join("README.md");
    fs::write(&note, note::text(plan, &outcome))
        .with_context(|| format!("cannot write {}", note.display()))?;
    Ok(outcome)
}

fn teach(
    plan: &Plan,
    grammar: &Grammar,
    began: Instant,
    report: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Student, Progress)> {
    let seasons = plan.course.seasons().iter();
    let validation: Vec<_> = seasons
        .map(|share| exam::validation(grammar, *share, VALIDATION_REQUESTS))
        .collect();
    let unseen = unseen(plan.course, grammar, &validation);
    let mut lessons = Lessons::new(grammar, &unseen, (plan.course.share(), plan.seed));
    let mut student = plan.course.student(plan.seed, plan.steps)?;
    let mut losses = vec![];
    for step in 1.. {
        losses.push(student.learn(&lessons.next_pair())?);
        let last = step == plan.steps || began.elapsed() >= plan.time_limit;
        let checked = last || step.is_multiple_of(plan.course.steps_per_check());
        if !checked && !step.is_multiple_of(STEPS_PER_REPORT) {
            continue;
        }
        let accuracy = match checked {
            true => Some(worst(&student, &validation)?),
            false => None,
        };
        let progress = Progress {
            step,
            loss: losses.iter().sum::<f64>() / losses.len() as f64,
            accuracy,
        };
        let goes_on = report(progress).is_continue();
        if last || accuracy.is_some_and(|accuracy| accuracy >= plan.target_accuracy) {
            return Ok((student, progress));
        }
        ensure!(goes_on, "the training was stopped at step {step}");
        losses.clear();
    }
    unreachable!("the loop ends at the last step of the plan")
}

/// Share of requests answered exactly, in the season that fares worst.
fn worst(student: &Student, seasons: &[Vec<Utterance>]) -> Result<f64> {
    let mut model = Model::from_tensors(student.tensors())?;
    let mut worst = 1.0_f64;
    for requests in seasons {
        worst = worst.min(exam::examine(&mut model, requests)?.exact);
    }
    Ok(worst)
}

/// Requests that training leaves out, because an exam asks them.
fn unseen(course: Course, grammar: &Grammar, validation: &[Vec<Utterance>]) -> Vec<Utterance> {
    let held_out = course.seasons().iter();
    let held_out = held_out.map(|share| exam::held_out(grammar, *share, EXAM_REQUESTS_MAX));
    held_out
        .chain(validation.iter().cloned())
        .flatten()
        .collect()
}

fn write_weights(student: &Student, out: &Path) -> Result<()> {
    let tensors = student.tensors();
    let full = out.join(Quantization::F32.file_name());
    candle_core::safetensors::save(&tensors, &full)
        .with_context(|| format!("cannot write {}", full.display()))?;

    let mut quantized = vec![];
    for (name, tensor) in &tensors {
        quantized.push((
            name.as_str(),
            QTensor::quantize(tensor, stored_as(name, tensor))?,
        ));
    }
    // One order, whatever the map's: the same weights give the same bytes.
    quantized.sort_by_key(|(name, _)| *name);
    let borrowed: Vec<_> = quantized.iter().map(|(name, t)| (*name, t)).collect();
    let path = out.join(Quantization::Q8.file_name());
    let mut file =
        File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    gguf_file::write(&mut file, &[], &borrowed)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Matrices in eight bits; norms and the embedding, which is only looked up, stay as they are.
fn stored_as(name: &str, tensor: &Tensor) -> GgmlDType {
    debug_assert_eq!(tensor.dtype(), DType::F32);
    if tensor.rank() == 2 && !name.contains("embed_tokens") {
        GgmlDType::Q8_0
    } else {
        GgmlDType::F32
    }
}

/// Examines the files as written, not the model in memory.
fn grade(grammar: &Grammar, plan: &Plan) -> Result<Vec<Grade>> {
    let mut grades = vec![];
    for quantization in Quantization::ALL {
        let path = plan.out.join(quantization.file_name());
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut model = Model::from_bytes(quantization, &bytes)?;
        for (season, share) in [("usual", 0.0), ("first frost", 1.0)] {
            let requests = exam::held_out(grammar, share, plan.exam_requests);
            grades.push(Grade {
                quantization,
                season,
                marks: exam::examine(&mut model, &requests)?,
            });
        }
    }
    Ok(grades)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learning_lowers_the_loss_and_writes_what_the_demo_reads() {
        let grammar = Grammar::new();
        let pair = Lessons::new(&grammar, &[], (0.0, 1)).next_pair();
        let mut student = Course::Usual.student(1, 20).unwrap();
        let first = student.learn(&pair).unwrap();
        // About ln 256, which is what knowing nothing costs.
        assert!((5.0..6.5).contains(&first), "{first}");
        let losses: Vec<f64> = (0..9).map(|_| student.learn(&pair).unwrap()).collect();
        assert!(losses[8] < first - 0.5, "{first} then {losses:?}");

        let out = tempfile::tempdir().unwrap();
        write_weights(&student, out.path()).unwrap();
        for quantization in Quantization::ALL {
            let bytes = fs::read(out.path().join(quantization.file_name())).unwrap();
            assert!(Model::from_bytes(quantization, &bytes).is_ok());
        }
    }

    #[test]
    fn whoever_hears_the_reports_may_end_it() {
        let out = tempfile::tempdir().unwrap();
        let plan = Plan {
            course: Course::NewSeason,
            seed: 1,
            steps: 2 * STEPS_PER_REPORT,
            target_accuracy: 1.0,
            time_limit: Duration::from_secs(600),
            exam_requests: 1,
            out: out.path().to_owned(),
        };
        let mut reports = vec![];
        let stopped = run(&plan, &mut |progress| {
            reports.push((progress.step, progress.accuracy));
            ControlFlow::Break(())
        });
        let error = stopped.err().unwrap().to_string();
        assert!(error.contains("stopped at step 50"), "{error}");
        assert_eq!(reports, [(STEPS_PER_REPORT, None)]);
        let too_many = Plan {
            exam_requests: EXAM_REQUESTS_MAX + 1,
            ..plan
        };
        let error = run(&too_many, &mut |_| ControlFlow::Break(()));
        let error = error.err().unwrap().to_string();
        assert!(error.contains("cannot examine 1001"), "{error}");
    }
}
