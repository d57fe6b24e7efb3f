use super::EnergyConfig;
use crate::nn::{Fused, Network, REACH, Tape, Weights, clamp, grow, join, take_rows};
use crate::numeric::Real;
use crate::numeric::rng::Rng;

/// The energy of rows z: (n, d), in standard units, under conditions c: (n, k), or (1, k) for all rows:
///
/// E(z, c) = f(z̃, c; p) + ‖z‖²/2w², z̃ = clamp(z, ±REACH).
///
/// f is a network on Fourier features of z̃, with c as it is beside them. Along each axis it is constant beyond the reach, so the confinement
/// ‖z‖²/2w² makes exp(−E) integrable for any p, and the tails are those of a Gaussian. f starts at 0.
#[derive(Debug, Clone)]
pub(super) struct Energy {
    net: Fused,
    /// Columns of z, and of c.
    dim: usize,
    condition: usize,
    /// 1/w².
    pull: f64,
}

/// The buffers of one batch of rows, sized on first use and kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Pass<F> {
    near: Vec<F>,   // z̃: (n, d)
    joined: Vec<F>, // [z̃ | c], or a tangent of it: (n, d + k)
    dx: Vec<F>,     // a gradient in it: (n, d + k)
    tape: Tape<F>,
    dy: Vec<F>, // (n)
    /// E: (n)
    pub(super) e: Vec<F>,
    /// ∇E: (n, d)
    pub(super) g: Vec<F>,
}

impl Energy {
    pub(super) fn new(config: &EnergyConfig) -> Self {
        let condition = config.condition.width();
        let net = config.network.build(config.dim, condition, 1, 0.0);
        Energy { net, dim: config.dim, condition, pull: config.width.powi(-2) }
    }

    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    /// Columns of a condition.
    pub(super) fn condition(&self) -> usize {
        self.condition
    }

    pub(super) fn num_params(&self) -> usize {
        self.net.num_params()
    }

    /// The table of p.
    #[cfg(feature = "safetensors")]
    pub(super) fn layout(&self) -> crate::nn::Layout {
        let mut layout = Default::default();
        self.net.describe("energy.", &mut layout);
        layout
    }

    pub(super) fn init<F: Real>(&self, p: &mut [F], rng: &mut Rng) {
        self.net.init(p, rng);
    }

    pub(super) fn transpose<F: Real>(&self, p: &[F], t: &mut [F]) {
        self.net.transpose(p, t);
    }

    /// ‖z‖²/2w² of one row.
    pub(super) fn confinement<F: Real>(&self, z: &[F]) -> F {
        F::of(0.5 * self.pull) * z.iter().map(|&z| z * z).sum()
    }

    /// What f takes.
    fn input<'a, F: Real>(&self, z: &[F], c: &[F], near: &'a mut Vec<F>, joined: &'a mut Vec<F>) -> &'a [F] {
        near.clear();
        near.extend(z.iter().map(|&z| clamp(z, REACH)));
        join(near, self.dim, c, self.condition, joined)
    }

    /// f(z̃, c), nothing kept for the derivatives.
    pub(super) fn infer<'a, F: Real>(&self, p: &[F], z: &[F], c: &[F], pass: &'a mut Pass<F>) -> &'a [F] {
        let Pass { near, joined, tape, .. } = pass;
        tape.infer(&self.net, p, self.input(z, c, near, joined))
    }

    /// f(z̃, c), with what the other functions need.
    pub(super) fn forward<'a, F: Real>(&self, p: &[F], z: &[F], c: &[F], pass: &'a mut Pass<F>) -> &'a [F] {
        let Pass { near, joined, tape, .. } = pass;
        tape.forward(&self.net, p, self.input(z, c, near, joined))
    }

    /// dp += ∂⟨dy, E⟩/∂p at the last `forward`.
    pub(super) fn backward<F: Real>(&self, w: Weights<F>, dy: &[F], dp: &mut [F], pass: &mut Pass<F>) {
        pass.tape.backward(&self.net, w, dy, Some(dp), None);
    }

    /// Fills `pass.e` with E and `pass.g` with ∇E, its gradient in z.
    pub(super) fn evaluate<F: Real>(&self, w: Weights<F>, z: &[F], c: &[F], pass: &mut Pass<F>) {
        self.slope(w, z, c, pass, |tape, dy, g| tape.backward(&self.net, w, dy, None, Some(g)));
    }

    /// `evaluate`, followed by `backward_slope`.
    pub(super) fn evaluate_keeping<F: Real>(&self, w: Weights<F>, z: &[F], c: &[F], pass: &mut Pass<F>) {
        self.slope(w, z, c, pass, |tape, dy, g| tape.backward_keeping(&self.net, w, dy, g));
    }

    fn slope<F: Real>(
        &self,
        w: Weights<F>,
        z: &[F],
        c: &[F],
        pass: &mut Pass<F>,
        backward: impl Fn(&mut Tape<F>, &[F], &mut [F]),
    ) {
        self.forward(w.p, z, c, pass);
        let Pass { near, dx, tape, dy, e, g, .. } = pass;
        e.clear();
        e.extend(tape.y().iter().zip(z.chunks_exact(self.dim)).map(|(&f, z)| f + self.confinement(z)));
        dy.clear();
        dy.resize(e.len(), F::one());
        g.resize(z.len(), F::zero());
        if self.condition == 0 {
            backward(tape, dy, g);
        } else {
            let dx = grow(dx, e.len() * (self.dim + self.condition));
            backward(tape, dy, dx);
            take_rows(dx, self.dim, self.condition, g);
        }
        let pull = F::of(self.pull);
        for ((g, &z), &near) in g.iter_mut().zip(z).zip(&*near) {
            *g = pull * z + if near == z { *g } else { F::zero() };
        }
    }

    /// dp += ∂⟨u, ∇E⟩/∂p after `evaluate_keeping`, for u: (n, d) held fixed.
    ///
    /// ⟨u, ∇E⟩ is the derivative of E along u, so its gradient is the reverse of one `jvp` along u; the part in
    /// ẋ of that reverse is ∇E, which is kept. Beyond the reach f has no slope, whatever p: there u counts as
    /// 0. The confinement has no parameters, and a condition stands still.
    pub(super) fn backward_slope<F: Real>(
        &self,
        w: Weights<F>,
        z: &[F],
        u: &mut [F],
        dp: &mut [F],
        pass: &mut Pass<F>,
    ) {
        let Pass { near, joined, dx, tape, dy, .. } = pass;
        for ((u, &z), &near) in u.iter_mut().zip(z).zip(&*near) {
            *u = if near == z { *u } else { F::zero() };
        }
        dx.clear();
        dx.resize(self.condition, F::zero());
        tape.jvp(&self.net, w.p, join(u, self.dim, dx, self.condition, joined));
        tape.jvp_backward_kept(&self.net, w, None, dy, dp);
    }
}
