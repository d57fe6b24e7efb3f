//! The same in burn: a noise predictor on two moons, DDIM, the rows' mean.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Distribution, Tensor};

const BATCH: usize = 256;
const STEPS: usize = 2000;

#[derive(Module, Debug)]
struct Net {
    layers: Vec<Linear>,
}

impl Net {
    fn new(device: &Device) -> Self {
        let widths = [34, 128, 128, 128, 2];
        let layer = |w: &[usize]| LinearConfig::new(w[0], w[1]).init(device);
        Net { layers: widths.windows(2).map(layer).collect() }
    }

    /// ε̂ of x: (n, 2) at times t: (n, 1) in [0, 1].
    fn forward(&self, x: Tensor<2>, t: Tensor<2>) -> Tensor<2> {
        let frequencies: [f32; 16] = std::array::from_fn(|i| 1000f32.powf(i as f32 / 15.0));
        let angles = t.clone() * Tensor::<1>::from_floats(frequencies, &t.device()).unsqueeze();
        let mut h = Tensor::cat(vec![x, angles.clone().sin(), angles.cos()], 1);
        for (i, layer) in self.layers.iter().enumerate() {
            h = layer.forward(h);
            if i < 3 {
                h = silu(h);
            }
        }
        h
    }
}

fn moons(device: &Device) -> Tensor<2> {
    let uniform = || Tensor::<2>::random([BATCH, 1], Distribution::Default, device);
    let (angle, lower) = (uniform() * std::f32::consts::PI, uniform().greater_elem(0.5).float());
    // (cos a, sin a), or (1 − cos a, ½ − sin a).
    let sign = -(lower.clone() * 2.0) + 1.0;
    let x = angle.clone().cos() * sign.clone() + lower.clone();
    let y = angle.sin() * sign + lower * 0.5;
    Tensor::cat(vec![x, y], 1) + normal(BATCH, device) * 0.1
}

fn normal(rows: usize, device: &Device) -> Tensor<2> {
    Tensor::random([rows, 2], Distribution::Normal(0.0, 1.0), device)
}

/// α and σ of the cosine schedule.
fn level(t: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let angle = t * (std::f32::consts::FRAC_PI_2 * 0.999);
    (angle.clone().cos(), angle.sin())
}

fn main() {
    let device = Device::flex().autodiff();
    let mut net = Net::new(&device);
    let mut optimizer = AdamConfig::new().init();
    for _ in 0..STEPS {
        let t = Tensor::<2>::random([BATCH, 1], Distribution::Default, &device);
        let (eps, (alpha, sigma)) = (normal(BATCH, &device), level(t.clone()));
        let noisy = moons(&device) * alpha + eps.clone() * sigma;
        let loss = (net.forward(noisy, t) - eps).powi_scalar(2).mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        net = optimizer.step(1e-3, net, gradients);
    }
    let (net, device) = (net.valid(), device.inner());
    let mut x = normal(1_000, &device);
    for step in (0..50).rev() {
        let time = |step: usize| Tensor::full([1_000, 1], step as f32 / 50.0, &device);
        let ((alpha, sigma), (alpha_next, sigma_next)) = (level(time(step + 1)), level(time(step)));
        let eps = net.forward(x.clone(), time(step + 1));
        let start = ((x - eps.clone() * sigma) / alpha).clamp(-3.0, 3.0);
        x = start * alpha_next + eps * sigma_next;
    }
    println!("{:?}", x.mean_dim(0).to_data());
}
