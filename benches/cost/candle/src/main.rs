//! The same in candle: a noise predictor on two moons, DDIM, the rows' mean.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{AdamW, Linear, Module, Optimizer, ParamsAdamW, VarBuilder, VarMap, linear};

const BATCH: usize = 256;
const STEPS: usize = 2000;

struct Net(Vec<Linear>);

impl Net {
    fn new(vb: VarBuilder) -> Result<Self> {
        let widths = [34, 128, 128, 128, 2];
        let layer = |i: usize| linear(widths[i], widths[i + 1], vb.pp(format!("layer{i}")));
        Ok(Net((0..4).map(layer).collect::<Result<_>>()?))
    }

    /// ε̂ of x: (n, 2) at times t: (n, 1) in [0, 1].
    fn forward(&self, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        let frequencies: Vec<f32> = (0..16).map(|i| 1000f32.powf(i as f32 / 15.0)).collect();
        let angles = t.broadcast_mul(&Tensor::from_vec(frequencies, (1, 16), t.device())?)?;
        let mut h = Tensor::cat(&[x, &angles.sin()?, &angles.cos()?], 1)?;
        for (i, layer) in self.0.iter().enumerate() {
            h = layer.forward(&h)?;
            if i < 3 {
                h = h.silu()?;
            }
        }
        Ok(h)
    }
}

fn moons(device: &Device) -> Result<Tensor> {
    let angle = (Tensor::rand(0f32, 1f32, (BATCH, 1), device)? * std::f64::consts::PI)?;
    let lower = Tensor::rand(0f32, 1f32, (BATCH, 1), device)?.ge(0.5)?.to_dtype(DType::F32)?;
    // (cos a, sin a), or (1 − cos a, ½ − sin a).
    let sign = (1.0 - (&lower * 2.0)?)?;
    let x = ((angle.cos()? * &sign)? + &lower)?;
    let y = ((angle.sin()? * &sign)? + (lower * 0.5)?)?;
    Tensor::cat(&[x, y], 1)? + (Tensor::randn(0f32, 1f32, (BATCH, 2), device)? * 0.1)?
}

/// α and σ of the cosine schedule.
fn level(t: &Tensor) -> Result<(Tensor, Tensor)> {
    let angle = (t * (std::f64::consts::FRAC_PI_2 * 0.999))?;
    Ok((angle.cos()?, angle.sin()?))
}

fn main() -> Result<()> {
    let device = Device::Cpu;
    let vars = VarMap::new();
    let net = Net::new(VarBuilder::from_varmap(&vars, DType::F32, &device))?;
    let mut optimizer = AdamW::new(vars.all_vars(), ParamsAdamW { lr: 1e-3, ..Default::default() })?;
    for _ in 0..STEPS {
        let (x, t) = (moons(&device)?, Tensor::rand(0f32, 1f32, (BATCH, 1), &device)?);
        let eps = Tensor::randn(0f32, 1f32, (BATCH, 2), &device)?;
        let (alpha, sigma) = level(&t)?;
        let noisy = (x.broadcast_mul(&alpha)? + eps.broadcast_mul(&sigma)?)?;
        let loss = (net.forward(&noisy, &t)? - eps)?.sqr()?.mean_all()?;
        optimizer.backward_step(&loss)?;
    }
    let mut x = Tensor::randn(0f32, 1f32, (1_000, 2), &device)?;
    for step in (0..50).rev() {
        let time = |step: usize| Tensor::full(step as f32 / 50.0, (1_000, 1), &device);
        let ((alpha, sigma), (alpha_next, sigma_next)) = (level(&time(step + 1)?)?, level(&time(step)?)?);
        let eps = net.forward(&x, &time(step + 1)?)?;
        let start = (x - eps.broadcast_mul(&sigma)?)?.broadcast_div(&alpha)?.clamp(-3f32, 3f32)?;
        x = (start.broadcast_mul(&alpha_next)? + eps.broadcast_mul(&sigma_next)?)?;
    }
    println!("{:?}", x.mean(0)?.to_vec1::<f32>()?);
    Ok(())
}
