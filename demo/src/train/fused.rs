//! Three operators with their gradients, each one pass over memory: rotary positions, causal
//! softmax, weighted cross-entropy. Put together from candle's primitives they are most of a
//! step's time. In and out: contiguous f32 tensors on the CPU. Never used for inference.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

/// Base of the rotary frequencies, the stock model's.
const ROPE_BASE: f32 = 10_000.0;

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let values = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => bail!("a fused operator needs a contiguous tensor"),
    }
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}

fn gradient(values: Vec<f32>, like: &Tensor) -> Result<Option<Tensor>> {
    Tensor::from_vec(values, like.shape(), like.device()).map(Some)
}

/// Turns each pair of `(batch, length, heads * width)` by an angle that grows with its place.
#[derive(Clone, Copy)]
pub(super) struct Rope {
    pub(super) length: usize,
    pub(super) heads: usize,
    pub(super) width: usize,
}

impl Rope {
    /// `direction` 1 turns forward; -1 turns back, which is the gradient of a rotation.
    fn turn(&self, mut x: Vec<f32>, direction: f32) -> Vec<f32> {
        let half = self.width / 2;
        let angle = |at: usize| {
            let (place, pair) = (at / half, at % half);
            let frequency = ROPE_BASE.powf(2.0 * pair as f32 / self.width as f32);
            let (sin, cos) = (place as f32 / frequency).sin_cos();
            (cos, direction * sin)
        };
        let table: Vec<(f32, f32)> = (0..self.length * half).map(angle).collect();
        for (row, values) in x.chunks_exact_mut(self.heads * self.width).enumerate() {
            let turns = &table[row % self.length * half..][..half];
            for head in values.chunks_exact_mut(self.width) {
                for (pair, (cos, sin)) in head.chunks_exact_mut(2).zip(turns) {
                    let (a, b) = (pair[0], pair[1]);
                    pair[0] = a * cos - b * sin;
                    pair[1] = a * sin + b * cos;
                }
            }
        }
        x
    }
}

impl CustomOp1 for Rope {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let turned = self.turn(slice(storage, layout)?.to_vec(), 1.0);
        Ok((CpuStorage::F32(turned), layout.shape().clone()))
    }

    fn bwd(&self, argument: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        gradient(self.turn(values(grad)?, -1.0), argument)
    }
}

/// Softmax of scaled scores `(.., length, length)` where a row sees only its own past.
pub(super) struct CausalSoftmax {
    pub(super) length: usize,
    pub(super) scale: f32,
}

impl CustomOp1 for CausalSoftmax {
    fn name(&self) -> &'static str {
        "causal-softmax"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut shares = slice(storage, layout)?.to_vec();
        for (row, scores) in shares.chunks_exact_mut(self.length).enumerate() {
            let (past, future) = scores.split_at_mut(row % self.length + 1);
            let top = past.iter().copied().fold(f32::MIN, f32::max);
            for score in past.iter_mut() {
                *score = ((*score - top) * self.scale).exp();
            }
            let total: f32 = past.iter().sum();
            past.iter_mut().for_each(|share| *share /= total);
            future.fill(0.0);
        }
        Ok((CpuStorage::F32(shares), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, result: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (shares, mut grads) = (values(result)?, values(grad)?);
        let rows = shares.chunks_exact(self.length);
        for (row, (shares, grads)) in rows.zip(grads.chunks_exact_mut(self.length)).enumerate() {
            let (past, future) = grads.split_at_mut(row % self.length + 1);
            let mean: f32 = shares.iter().zip(past.iter()).map(|(s, g)| s * g).sum();
            for (grad, share) in past.iter_mut().zip(shares) {
                *grad = share * (*grad - mean) * self.scale;
            }
            future.fill(0.0);
        }
        gradient(grads, result)
    }
}

/// Mean cross-entropy over weighted targets: `sum(weight * -ln p(target)) / total_weight`.
pub(super) struct CrossEntropy {
    pub(super) targets: Vec<u8>,
    pub(super) weights: Vec<f32>,
    /// Weight of the whole batch, of which this may be a part.
    pub(super) total_weight: f32,
}

impl CrossEntropy {
    /// Rows of logits that count, each with its target and its weight.
    fn rows<'a, T>(&'a self, rows: T) -> impl Iterator<Item = (T::Item, usize, f32)> + 'a
    where
        T: Iterator + 'a,
    {
        let targets = self.targets.iter().zip(&self.weights);
        rows.zip(targets)
            .map(|(row, (target, weight))| (row, usize::from(*target), *weight))
    }
}

/// `(max, sum of exp(x - max))` of one row.
fn partition(row: &[f32]) -> (f32, f32) {
    let top = row.iter().copied().fold(f32::MIN, f32::max);
    (top, row.iter().map(|x| (x - top).exp()).sum())
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let logits = slice(storage, layout)?;
        let width = logits.len() / self.targets.len();
        let mut loss = 0.0_f64;
        for (row, target, weight) in self.rows(logits.chunks_exact(width)) {
            if weight > 0.0 {
                let (top, sum) = partition(row);
                loss += f64::from(weight * (sum.ln() + top - row[target]));
            }
        }
        let mean = loss as f32 / self.total_weight;
        Ok((CpuStorage::F32(vec![mean]), Shape::from(())))
    }

    fn bwd(&self, argument: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let share = grad.to_scalar::<f32>()? / self.total_weight;
        let mut grads = values(argument)?;
        let width = grads.len() / self.targets.len();
        for (row, target, weight) in self.rows(grads.chunks_exact_mut(width)) {
            if weight > 0.0 {
                let (top, sum) = partition(row);
                for x in row.iter_mut() {
                    *x = weight * share * (*x - top).exp() / sum;
                }
                row[target] -= weight * share;
            } else {
                row.fill(0.0);
            }
        }
        gradient(grads, argument)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    /// Compares an operator's gradient with finite differences of a weighted sum of its results.
    fn check<Op: CustomOp1 + Send + Sync + 'static>(shape: (usize, usize), make: impl Fn() -> Op) {
        let count = shape.0 * shape.1;
        let wave = |i: usize, step: f32| (i as f32 * step).sin();
        let start: Vec<f32> = (0..count).map(|i| wave(i, 0.7)).collect();
        let loss = |x: &Tensor| {
            let result = x.apply_op1(make()).unwrap().flatten_all().unwrap();
            let weights = Tensor::from_iter(
                (0..result.elem_count()).map(|i| wave(i + 1, 1.3)),
                &Device::Cpu,
            );
            (result * weights.unwrap()).unwrap().sum_all().unwrap()
        };
        let at = |values: &[f32]| Var::from_slice(values, shape, &Device::Cpu).unwrap();
        let x = at(&start);
        let grads = loss(x.as_tensor()).backward().unwrap();
        let grads = values(grads.get(x.as_tensor()).unwrap()).unwrap();
        for i in 0..count {
            let (mut more, mut less) = (start.clone(), start.clone());
            (more[i], less[i]) = (more[i] + 1e-2, less[i] - 1e-2);
            let slope = |values: &[f32]| loss(at(values).as_tensor()).to_scalar::<f32>().unwrap();
            let expected = (slope(&more) - slope(&less)) / 2e-2;
            assert!(
                (grads[i] - expected).abs() < 2e-3,
                "{i}: {} {expected}",
                grads[i]
            );
        }
    }

    #[test]
    fn each_gradient_is_the_slope() {
        check((6, 8), || Rope {
            length: 3,
            heads: 2,
            width: 4,
        });
        check((8, 4), || CausalSoftmax {
            length: 4,
            scale: 0.5,
        });
        check((3, 5), || CrossEntropy {
            targets: vec![4, 0, 2],
            weights: vec![1.0, 0.0, 0.2],
            total_weight: 2.0,
        });
    }
}
