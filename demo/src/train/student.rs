//! The weights while they learn. Owns the variables, the optimizer and its schedule. In: one batch
//! in two halves. Out: the loss, and the tensors as they are. Never asks candle for random numbers:
//! its CPU generator takes no seed.

use std::{collections::HashMap, thread};

use anyhow::{Context, Result, anyhow, ensure};
use candle_core::{DType, Device, Tensor, backprop::GradStore};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, VarBuilder, VarMap};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{lesson::Lesson, network::Network};
use crate::model;

/// Share of the peak that is left at the end of the schedule.
const LEARNING_RATE_FLOOR: f64 = 0.05;
const WARM_UP_STEPS: usize = 50;

pub(super) struct Student {
    variables: VarMap,
    network: Network,
    optimizer: AdamW,
    schedule: Schedule,
    step: usize,
}

/// How fast weights move, from the first step to the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// The learning rate at its highest.
    pub(super) peak: f64,
    pub(super) steps: usize,
}

impl Student {
    /// Fresh weights from `seed`.
    pub(super) fn new(seed: u64, schedule: Schedule) -> Result<Self> {
        Self::with(schedule, |variables| scatter(variables, seed))
    }

    /// Goes on from weights as a safetensors file holds them.
    pub(super) fn resumed(weights: &[u8], schedule: Schedule) -> Result<Self> {
        let tensors = candle_core::safetensors::load_buffer(weights, &Device::Cpu)?;
        Self::with(schedule, |variables| copy(variables, &tensors))
    }

    fn with(schedule: Schedule, fill: impl FnOnce(&VarMap) -> Result<()>) -> Result<Self> {
        let variables = VarMap::new();
        let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
        let network = Network::load(&builder, &model::config())?;
        fill(&variables)?;
        let parameters = ParamsAdamW {
            lr: 0.0,
            beta2: 0.99,
            weight_decay: 0.01,
            ..ParamsAdamW::default()
        };
        let optimizer = AdamW::new(variables.all_vars(), parameters)?;
        Ok(Self {
            variables,
            network,
            optimizer,
            schedule,
            step: 0,
        })
    }

    /// One step: half of the batch on a thread of its own, half on this one.
    pub(super) fn learn(&mut self, halves: &[Lesson; 2]) -> Result<f64> {
        let total_weight = halves[0].total_weight() + halves[1].total_weight();
        let (first, second) = thread::scope(|scope| {
            let other = scope.spawn(|| self.study(&halves[1], total_weight));
            let first = self.study(&halves[0], total_weight);
            (first, other.join())
        });
        let (first_loss, mut gradients) = first?;
        let (second_loss, others) = second.map_err(|_| anyhow!("a training thread panicked"))??;
        gradients.extend(others)?;
        let loss = f64::from(first_loss + second_loss);
        ensure!(
            loss.is_finite(),
            "the loss is {loss} at step {}; try another --seed",
            self.step
        );
        self.optimizer
            .set_learning_rate(self.schedule.rate(self.step));
        self.optimizer.step(&gradients)?;
        self.step += 1;
        Ok(loss)
    }

    fn study(&self, lesson: &Lesson, total_weight: f32) -> Result<(f32, GradStore)> {
        let logits = self.network.forward(&lesson.input()?)?;
        let loss = logits.apply_op1(lesson.loss(total_weight))?;
        Ok((loss.to_scalar()?, loss.backward()?))
    }

    /// The weights under the names that candle's own model reads.
    pub(super) fn tensors(&self) -> HashMap<String, Tensor> {
        let variables = self.variables.data().lock();
        let variables = variables.expect("no thread panics while it holds the variables");
        let detached = |(name, variable): (&String, &candle_core::Var)| {
            (name.clone(), variable.as_detached_tensor())
        };
        variables.iter().map(detached).collect()
    }
}

/// Gives every matrix its random start: uniform, with variance 1 over the width it sums. Norms
/// start at one, where they are.
fn scatter(variables: &VarMap, seed: u64) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(seed);
    let variables = variables.data().lock();
    let variables = variables.expect("no thread panics while it holds the variables");
    let mut named: Vec<_> = variables.iter().filter(|(_, v)| v.rank() == 2).collect();
    // The map's own order changes from run to run; the seed's numbers must not.
    named.sort_by_key(|(name, _)| *name);
    for (_, variable) in named {
        let width = variable.dim(1)?;
        let reach = (3.0 / width as f32).sqrt();
        let values: Vec<f32> = (0..variable.elem_count())
            .map(|_| rng.random_range(-reach..reach))
            .collect();
        variable.set(&Tensor::from_vec(values, variable.shape(), &Device::Cpu)?)?;
    }
    Ok(())
}

/// Takes every matrix and norm from `tensors`, each under its own name.
fn copy(variables: &VarMap, tensors: &HashMap<String, Tensor>) -> Result<()> {
    let variables = variables.data().lock();
    let variables = variables.expect("no thread panics while it holds the variables");
    for (name, variable) in variables.iter() {
        let tensor = tensors.get(name);
        variable.set(tensor.with_context(|| format!("the weights lack {name}"))?)?;
    }
    Ok(())
}

impl Schedule {
    /// Up over the first steps, then down a cosine.
    fn rate(self, step: usize) -> f64 {
        let warm = ((step + 1) as f64 / WARM_UP_STEPS as f64).min(1.0);
        let done = step as f64 / self.steps as f64;
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        self.peak * warm * (LEARNING_RATE_FLOOR + (1.0 - LEARNING_RATE_FLOOR) * cosine)
    }
}

#[cfg(test)]
mod tests {
    use candle_transformers::models::llama2_c::{Cache, Llama};

    use super::*;
    use crate::grammar::{Grammar, Utterance};

    fn brief(steps: usize) -> Schedule {
        Schedule { peak: 4e-3, steps }
    }

    fn lesson(texts: usize) -> Lesson {
        let (grammar, mut rng) = (Grammar::new(), StdRng::seed_from_u64(8));
        let drawn: Vec<Utterance> = (0..texts).map(|_| grammar.speak(0.0, &mut rng)).collect();
        Lesson::new(&drawn)
    }

    #[test]
    fn its_logits_are_the_stock_models() {
        let student = Student::new(3, brief(1)).unwrap();
        let input = lesson(4).input().unwrap();
        let ours = student.network.forward(&input).unwrap();
        let builder = VarBuilder::from_tensors(student.tensors(), DType::F32, &Device::Cpu);
        let stock = Llama::load(builder, model::config()).unwrap();
        let empty = VarBuilder::from_tensors(HashMap::new(), DType::F32, &Device::Cpu);
        let mut cache = Cache::new(false, &model::config(), empty).unwrap();
        let theirs = stock.forward(&input, 0, &mut cache).unwrap();
        let difference = (ours - theirs).unwrap().abs().unwrap().max_all().unwrap();
        let difference = difference.to_scalar::<f32>().unwrap();
        assert!(difference < 1e-5, "{difference}");
    }

    #[test]
    fn every_tensor_has_a_gradient() {
        let student = Student::new(3, brief(1)).unwrap();
        let lesson = lesson(2);
        let (_, gradients) = student.study(&lesson, lesson.total_weight()).unwrap();
        let variables = student.variables.data().lock().unwrap();
        assert_eq!(variables.len(), 21);
        for (name, variable) in variables.iter() {
            let gradient = gradients.get(variable.as_tensor());
            let gradient = gradient.unwrap_or_else(|| panic!("{name} has no gradient"));
            let size = gradient.abs().unwrap().sum_all().unwrap();
            assert!(size.to_scalar::<f32>().unwrap() > 0.0, "{name}");
        }
    }

    #[test]
    fn two_halves_learn_what_the_whole_would() {
        let lesson = lesson(2);
        let total = lesson.total_weight();
        let student = Student::new(3, brief(1)).unwrap();
        let (whole, _) = student.study(&lesson, total).unwrap();
        let (part, _) = student.study(&lesson, 2.0 * total).unwrap();
        assert!((whole - 2.0 * part).abs() < 1e-5);
    }

    #[test]
    fn one_seed_gives_one_student() {
        let learn = |seed| {
            let mut student = Student::new(seed, brief(2)).unwrap();
            let loss = student.learn(&[lesson(2), lesson(3)]).unwrap();
            student.learn(&[lesson(3), lesson(2)]).unwrap() + loss
        };
        assert_eq!(learn(4), learn(4));
        assert_ne!(learn(4), learn(5));
    }

    #[test]
    fn it_goes_on_from_where_the_weights_are() {
        let shipped = model::Quantization::F32.shipped();
        let resumed = Student::resumed(shipped, brief(1)).unwrap();
        let loss = |student: &Student| {
            let lesson = lesson(8);
            let (loss, _) = student.study(&lesson, lesson.total_weight()).unwrap();
            loss
        };
        let fresh = Student::new(3, brief(1)).unwrap();
        assert!(loss(&resumed) < 0.2 && loss(&fresh) > 5.0);
    }

    #[test]
    fn the_learning_rate_rises_then_falls() {
        let schedule = Schedule {
            peak: 1.0,
            steps: 1000,
        };
        assert!(schedule.rate(0) < 0.05);
        assert!(schedule.rate(60) > 0.98);
        let end = schedule.rate(999);
        assert!((LEARNING_RATE_FLOOR..0.06).contains(&end), "{end}");
    }
}
