//! Makes the weights: `fathomline-demo train`. Owns the loop from a seed to two files and a note.
//! In: a plan. Out: `model.safetensors`, `model.q8.gguf` and `README.md` in the folder named, with
//! accuracy on requests the training never saw. The same plan on the same machine gives the same
//! weights unless the time limit cuts it short. Never touches the weights in use.

mod fused;
mod lesson;
mod network;
mod note;
mod student;

use std::{
    fs::{self, File},
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
    grammar::Grammar,
    model::{Model, Quantization},
};

use lesson::Lessons;
use student::Student;

/// Steps between two looks at the validation requests.
const STEPS_PER_CHECK: usize = 250;
/// Enough that one request more or less right moves the accuracy by a quarter of a percent.
const VALIDATION_REQUESTS: usize = 400;
/// Requests behind every figure of the note.
const EXAM_REQUESTS: usize = 1_000;

/// What to train and when to stop.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Length of the learning-rate schedule; training never goes past it.
    pub steps: usize,
    /// Stops early once this share of the validation requests is answered exactly.
    pub target_accuracy: f64,
    pub time_limit: Duration,
    pub out: PathBuf,
}

/// Where training stands.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub step: usize,
    /// Mean over the steps since the last report.
    pub loss: f64,
    /// Share of validation requests answered exactly.
    pub accuracy: f64,
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

/// Trains, writes the weights and the note, and says what came out.
pub fn run(plan: &Plan, report: &mut dyn FnMut(Progress)) -> Result<Outcome> {
    ensure!(plan.steps > 0, "cannot train for 0 steps; name at least 1");
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
        marks: grade(&grammar, &plan.out)?,
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
    report: &mut dyn FnMut(Progress),
) -> Result<(Student, Progress)> {
    let validation = exam::validation(grammar, VALIDATION_REQUESTS);
    let mut unseen = exam::held_out(grammar, 0.0, EXAM_REQUESTS);
    unseen.extend_from_slice(&validation);
    let mut lessons = Lessons::new(grammar, &unseen, plan.seed);
    let mut student = Student::new(plan.seed, plan.steps)?;
    let mut losses = vec![];
    for step in 1.. {
        losses.push(student.learn(&lessons.next_pair())?);
        let last = step == plan.steps || began.elapsed() >= plan.time_limit;
        if !last && !step.is_multiple_of(STEPS_PER_CHECK) {
            continue;
        }
        let mut model = Model::from_tensors(student.tensors())?;
        let accuracy = exam::examine(&mut model, &validation)?.exact;
        let progress = Progress {
            step,
            loss: losses.iter().sum::<f64>() / losses.len() as f64,
            accuracy,
        };
        report(progress);
        if last || accuracy >= plan.target_accuracy {
            return Ok((student, progress));
        }
        losses.clear();
    }
    unreachable!("the loop ends at the last step of the plan")
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
fn grade(grammar: &Grammar, out: &Path) -> Result<Vec<Grade>> {
    let mut grades = vec![];
    for quantization in [Quantization::F32, Quantization::Q8] {
        let path = out.join(quantization.file_name());
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut model = Model::from_bytes(quantization, &bytes)?;
        for (season, share) in [("usual", 0.0), ("first frost", 1.0)] {
            let requests = exam::held_out(grammar, share, EXAM_REQUESTS);
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
        let pair = Lessons::new(&grammar, &[], 1).next_pair();
        let mut student = Student::new(1, 20).unwrap();
        let first = student.learn(&pair).unwrap();
        // About ln 256, which is what knowing nothing costs.
        assert!((5.0..6.5).contains(&first), "{first}");
        let losses: Vec<f64> = (0..9).map(|_| student.learn(&pair).unwrap()).collect();
        assert!(losses[8] < first - 0.5, "{first} then {losses:?}");

        let out = tempfile::tempdir().unwrap();
        write_weights(&student, out.path()).unwrap();
        for quantization in [Quantization::F32, Quantization::Q8] {
            let bytes = fs::read(out.path().join(quantization.file_name())).unwrap();
            assert!(Model::from_bytes(quantization, &bytes).is_ok());
        }
    }
}
