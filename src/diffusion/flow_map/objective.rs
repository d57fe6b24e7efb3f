use std::ops::Range;

use rand::Rng as _;

use super::MapObjective;
use super::network::{MapNet, Span};
use super::teacher::{self, Teacher};
use crate::diffusion::matching::Lines;
use crate::diffusion::network::{At, Pass};
use crate::diffusion::objective::{Ends, drop_conditions};
use crate::diffusion::path::{Line, Path};
use crate::engine::{Batch, Loss, Progress};
use crate::nn::{Direction, Moment, Weights};
use crate::numeric::Real;
use crate::numeric::assignment::Assignment;
use crate::numeric::rng::Rng;

/// The loss of a flow map: on the diagonal the squared error of a velocity, off it that of an objective.
///
/// Each is a regression onto targets that have no gradient: first [`aim`](MapLoss::aim) makes the targets with the
/// parameters as they are, then [`regress`](MapLoss::regress) is a plain function of the parameters.
#[derive(Debug)]
pub(super) struct MapLoss<'a, F> {
    pub(super) net: &'a MapNet<F>,
    pub(super) ends: Lines<'a>,
    pub(super) objective: MapObjective,
    /// The share of rows on the diagonal.
    pub(super) diagonal: f64,
    /// The share of rows whose condition is dropped.
    pub(super) dropout: f64,
    /// The guidance scales that are learned, from the least to the largest.
    pub(super) scales: Option<(f64, f64)>,
    /// Where velocities come from; otherwise from the lines between the rows themselves.
    pub(super) teacher: Option<&'a Teacher>,
}

/// Where rows jump, and the far ends of their lines.
pub(super) struct Drawn<F> {
    /// Rows on the diagonal: the first ones.
    pub(super) on_diagonal: usize,
    pub(super) spans: Vec<Span>, // (n)
    /// A time within each jump.
    pub(super) via: Vec<f64>, // (n)
    pub(super) ends: Vec<F>,     // (n, d)
    /// What is left of their conditions, and behind it 1 − 1/w where scales w are learned.
    pub(super) c: Vec<F>, // (n, k)
    given: Vec<F>,               // what is left of their conditions alone
    row: Vec<f64>,
}

impl<F> Default for Drawn<F> {
    fn default() -> Self {
        let (spans, via, ends, c, given, row) = Default::default();
        Drawn { on_diagonal: 0, spans, via, ends, c, given, row }
    }
}

/// Buffers, kept from call to call.
#[derive(Default)]
pub(super) struct Scratch<F> {
    place: Vec<F>,  // x_s: (n, d)
    lines: Vec<F>,  // x₁ − x₀: (n, d)
    target: Vec<F>, // (n, d)
    assignment: Assignment,
    aim: Aim<F>,
    dy: Vec<F>,         // (n, d)
    dydot: Vec<F>,      // (n, d)
    still: Vec<F>,      // zeros: (n, d)
    rates: Vec<Moment>, // (n, 2)
    pass: Pass<F>,
}

/// What making targets needs.
#[derive(Default)]
struct Aim<F> {
    spans: Vec<Span>,
    x: Vec<F>,          // (m, d)
    y: Vec<F>,          // (m, d)
    first: Vec<F>,      // of two stages of a step: (m, d)
    none: Vec<F>,       // no conditions: (m, k)
    rates: Vec<Moment>, // (m, 2)
    pass: Pass<F>,
    teacher: teacher::Scratch,
}

/// Where the loss of consistency turns from quadratic to linear, in standard deviations per √d.
const HUBER: f64 = 0.01;

/// How near to the data a jump of consistency starts: nearer, its target is hardly another.
const NEAREST: f64 = 1e-3;

/// `to` = a + h·v, row by row.
fn moved<F: Real>(d: usize, a: &[F], v: &[F], h: impl Fn(usize) -> f64, to: &mut Vec<F>) {
    to.clear();
    for (r, (a, v)) in a.chunks_exact(d).zip(v.chunks_exact(d)).enumerate() {
        let h = F::of(h(r));
        to.extend(a.iter().zip(v).map(|(&a, &v)| a + h * v));
    }
}

impl<F: Real> MapLoss<'_, F> {
    /// Fills `y` with the velocities at places x and times: of the teacher, or, along the lines, of the data. Where
    /// scales are learned, they are the guided ones.
    ///
    /// Of a teacher: v(x, ∅) + w (v(x, c) − v(x, ∅)). Of a line, from the network's own velocities û_w, guided, and û,
    /// without a condition: (x₁ − x₀) + (1 − 1/w)(û_w − û), whose mean is û_w exactly where û_w = û + w (v − û) for the
    /// conditional velocity v (Geng et al. 2025b).
    fn velocities(
        &self,
        p: &[F],
        x: &[F],
        times: impl Iterator<Item = f64>,
        c: &[F],
        lines: Option<&[F]>,
        aim: &mut Aim<F>,
    ) {
        let (d, k) = (self.net.dim(), self.net.width());
        let Aim { spans, y, none, pass, teacher, .. } = aim;
        spans.clear();
        spans.extend(times.map(Span::at));
        y.clear();
        if let Some(source) = self.teacher {
            source.velocity(x, spans, c, self.scales.is_some(), teacher, y);
            return;
        }
        let at = At { x, c, levels: spans };
        let Some(lines) = lines else {
            y.extend_from_slice(self.net.infer(p, at, pass));
            return;
        };
        y.extend_from_slice(lines);
        if self.scales.is_some() {
            none.clear();
            none.resize(c.len(), F::zero());
            for (sign, c) in [(F::one(), c), (-F::one(), &none[..])] {
                let velocity = self.net.infer(p, At { c, ..at }, pass);
                for (r, (y, v)) in y.chunks_exact_mut(d).zip(velocity.chunks_exact(d)).enumerate() {
                    let share = sign * at_scale(at.c, k, r);
                    y.iter_mut().zip(v).for_each(|(y, &v)| *y += share * v);
                }
            }
        }
    }

    /// Appends the targets of the rows off the diagonal: places x, lines x₁ − x₀ and jumps.
    fn aim(
        &self,
        p: &[F],
        at: At<'_, F, Span>,
        lines: &[F],
        via: &[f64],
        aim: &mut Aim<F>,
        target: &mut Vec<F>,
    ) {
        let d = self.net.dim();
        let (x, c, spans) = (at.x, at.c, at.levels);
        let starts = || spans.iter().map(|span| span.from);
        match self.objective {
            // û(X, t, t) at X = x + (t − s) û(x, s, t).
            MapObjective::Lagrangian => {
                let Aim { x: arrived, pass, .. } = aim;
                moved(d, x, self.net.infer(p, at, pass), |r| spans[r].length(), arrived);
                let arrived = std::mem::take(arrived);
                self.velocities(p, &arrived, spans.iter().map(|span| span.to), c, None, aim);
                target.extend_from_slice(&aim.y);
                aim.x = arrived;
            }
            // v + (t − s) dû/ds along (û(x, s, s), 1, 0).
            MapObjective::Eulerian => {
                self.velocities(p, x, starts(), c, None, aim);
                let Aim { x: along, y, rates, pass, .. } = aim;
                along.clear();
                along.extend_from_slice(y);
                rates.clear();
                self.net.tell_rates(spans, (1.0, 0.0), rates);
                self.net.forward(p, at, pass);
                let dot = self.net.jvp(p, at, Direction { x: along, moments: rates }, pass);
                let first = target.len();
                moved_onto(d, dot, |r| spans[r].length(), target);
                self.velocities(p, x, starts(), c, Some(lines), aim);
                target[first..].iter_mut().zip(&aim.y).for_each(|(target, &v)| *target += v);
            }
            // The mean of two jumps, each half as long.
            MapObjective::Progressive => {
                let Aim { spans: parts, x: halfway, pass, .. } = aim;
                let first = target.len();
                parts.clear();
                parts.extend(spans.iter().zip(via).map(|(span, &via)| Span { to: via, ..*span }));
                let velocity = self.net.infer(p, At { levels: parts, ..at }, pass);
                moved(d, x, velocity, |r| parts[r].length(), halfway);
                moved_onto(d, velocity, |_| 0.5, target);
                parts
                    .iter_mut()
                    .zip(spans)
                    .for_each(|(part, span)| *part = Span { from: part.to, to: span.to });
                let velocity = self.net.infer(p, At { x: halfway, levels: parts, ..at }, pass);
                target[first..].iter_mut().zip(velocity).for_each(|(target, &v)| *target += F::of(0.5) * v);
            }
            // Where r leads on the same line, or on the teacher's path by a step of Heun's method; as a mean velocity.
            MapObjective::Consistency { .. } => {
                let step = |r: usize| via[r] - spans[r].from;
                let mut later = std::mem::take(&mut aim.x);
                match self.teacher {
                    None => moved(d, x, lines, step, &mut later),
                    Some(_) => {
                        self.velocities(p, x, starts(), c, None, aim);
                        moved(d, x, &aim.y, step, &mut later);
                        std::mem::swap(&mut aim.first, &mut aim.y);
                        self.velocities(p, &later, via.iter().copied(), c, None, aim);
                        let Aim { first, y, .. } = aim;
                        first.iter_mut().zip(y).for_each(|(first, y)| *first = F::of(0.5) * (*first + *y));
                        moved(d, x, first, step, &mut later);
                    }
                }
                let Aim { spans: rest, pass, .. } = aim;
                rest.clear();
                rest.extend(via.iter().map(|&via| Span { from: via, to: 1.0 }));
                let velocity = self.net.infer(p, At { x: &later, levels: rest, ..at }, pass);
                for (r, (later, v)) in later.chunks_exact(d).zip(velocity.chunks_exact(d)).enumerate() {
                    let (left, length) = (F::of(1.0 - via[r]), F::of(spans[r].length()));
                    let x = &x[r * d..][..d];
                    let row = later.iter().zip(v).zip(x);
                    target.extend(row.map(|((&later, &v), &x)| (later + left * v - x) / length));
                }
                aim.x = later;
            }
        }
    }

    /// The loss of a prediction y whose residual is given, over a jump, and the factor of the residual in its gradient.
    ///
    /// Squares ‖r‖²/d, or for consistency, with Δ = (1 − s) r, (√(‖Δ‖² + κ²) − κ)/(t′ − s), where t′ is the later
    /// time of its target: the pseudo-Huber loss (Song & Dhariwal 2024), with κ = 0.01 √d.
    fn price(&self, square: f64, span: Span, via: f64) -> (f64, f64) {
        let d = self.net.dim() as f64;
        match self.objective {
            MapObjective::Consistency { .. } => {
                let (length, kappa) = (span.length(), HUBER * d.sqrt());
                let root = (length * length * square + kappa * kappa).sqrt();
                let weight = (via - span.from).recip();
                (weight * (root - kappa), weight * length * length / root)
            }
            _ => (square / d, 2.0 / d),
        }
    }

    /// With `target` fixed, the losses on and off the diagonal and their gradient.
    ///
    /// The prediction is û itself, or for a Lagrangian û + (t − s) û̇ with û̇ = ∂û/∂t, the velocity ∂_t X of the map
    /// X = x + (t − s) û. A gradient g of it is g of û and (t − s) g of û̇, which `jvp_backward` takes back to p.
    fn regress(
        &self,
        w: Weights<F>,
        drawn: &Drawn<F>,
        weight: F,
        mut dp: Option<&mut [F]>,
        scratch: &mut Scratch<F>,
    ) -> [f64; 2] {
        let (d, k, n) = (self.net.dim(), self.net.width(), drawn.spans.len());
        let Scratch { place, target, dy, dydot, still, rates, pass, .. } = scratch;
        let mut losses = [0.0; 2];
        for (part, rows) in [0..drawn.on_diagonal, drawn.on_diagonal..n].into_iter().enumerate() {
            if rows.is_empty() {
                continue;
            }
            let at = part_of(d, k, place, drawn, rows.clone());
            let lagrangian = part == 1 && matches!(self.objective, MapObjective::Lagrangian);
            dy.clear();
            dy.extend_from_slice(self.net.forward(w.p, at, pass));
            let target = &target[rows.start * d..rows.end * d];
            dy.iter_mut().zip(target).for_each(|(y, &target)| *y -= target);
            if lagrangian {
                rates.clear();
                self.net.tell_rates(at.levels, (0.0, 1.0), rates);
                still.resize(dy.len(), F::zero());
                let udot = self.net.jvp(w.p, at, Direction { x: still, moments: rates }, pass);
                for (r, (y, udot)) in dy.chunks_exact_mut(d).zip(udot.chunks_exact(d)).enumerate() {
                    let length = F::of(at.levels[r].length());
                    y.iter_mut().zip(udot).for_each(|(y, &udot)| *y += length * udot);
                }
            }
            for (r, residual) in dy.chunks_exact_mut(d).enumerate() {
                let square = residual.iter().map(|r| r.f64().powi(2)).sum();
                let (loss, slope) = match part {
                    0 => (square / d as f64, 2.0 / d as f64),
                    _ => self.price(square, at.levels[r], drawn.via[rows.start + r]),
                };
                losses[part] += loss;
                residual.iter_mut().for_each(|r| *r = weight * F::of(slope) * *r);
            }
            let Some(dp) = dp.as_deref_mut() else { continue };
            if lagrangian {
                dydot.clear();
                moved_onto(d, dy, |r| at.levels[r].length(), dydot);
                let along = Direction { x: still, moments: rates };
                self.net.jvp_backward(w, at, along, (dy, dydot), dp, pass);
            } else {
                self.net.backward(w, at, dy, dp, pass);
            }
        }
        losses
    }

    /// The loss with targets by the parameters `fixed`: what is differenced.
    pub(super) fn loss_towards(
        &self,
        fixed: &[F],
        w: Weights<F>,
        x: &[F],
        drawn: &Drawn<F>,
        weight: F,
        dp: Option<&mut [F]>,
        scratch: &mut Scratch<F>,
    ) -> [f64; 2] {
        let (d, k, n) = (self.net.dim(), self.net.width(), drawn.spans.len());
        let Scratch { place, lines, target, assignment, aim, .. } = scratch;
        let partner = self.ends.pairing().partners(d, x, &drawn.ends, assignment);
        place.clear();
        lines.clear();
        for (r, (x, span)) in x.chunks_exact(d).zip(&drawn.spans).enumerate() {
            let end = &drawn.ends[partner.map_or(r, |partner| partner[r]) * d..][..d];
            Line::place(span.from, x, end, place);
            lines.extend(x.iter().zip(end).map(|(&x, &end)| Line::target(x, end)));
        }
        target.clear();
        let on = drawn.on_diagonal;
        if on > 0 {
            let at = part_of(d, k, place, drawn, 0..on);
            let times = at.levels.iter().map(|span| span.from);
            self.velocities(fixed, at.x, times, at.c, Some(&lines[..on * d]), aim);
            target.extend_from_slice(&aim.y);
        }
        if on < n {
            let at = part_of(d, k, place, drawn, on..n);
            self.aim(fixed, at, &lines[on * d..], &drawn.via[on..], aim, target);
        }
        self.regress(w, drawn, weight, dp, scratch)
    }
}

/// Where some of the rows are.
fn part_of<'a, F>(
    d: usize,
    k: usize,
    place: &'a [F],
    drawn: &'a Drawn<F>,
    rows: Range<usize>,
) -> At<'a, F, Span> {
    At {
        x: &place[rows.start * d..rows.end * d],
        c: &drawn.c[rows.start * k..rows.end * k],
        levels: &drawn.spans[rows],
    }
}

/// 1 − 1/w of row r.
fn at_scale<F: Real>(c: &[F], k: usize, r: usize) -> F {
    c[(r + 1) * k - 1]
}

/// Appends h·v, row by row.
fn moved_onto<F: Real>(d: usize, v: &[F], h: impl Fn(usize) -> f64, to: &mut Vec<F>) {
    for (r, v) in v.chunks_exact(d).enumerate() {
        let h = F::of(h(r));
        to.extend(v.iter().map(|&v| h * v));
    }
}

impl<F: Real> Loss<F> for MapLoss<'_, F> {
    type Row = F;
    type Drawn = Drawn<F>;
    type Workspace = Scratch<F>;

    fn part_names(&self) -> &'static [&'static str] {
        &["velocity", "map"]
    }

    fn tile(&self) -> usize {
        self.ends.pairing().tile()
    }

    fn transpose(&self, p: &[F], t: &mut [F]) {
        self.net.transpose(p, t);
    }

    /// Times in even combs with a random shift, which leave no gap, as of a flow matching. The jumps are uniform over
    /// the triangle 0 ≤ s ≤ t ≤ 1; those of consistency go to 1.
    fn draw(&self, rows: usize, c: &[F], progress: Progress, rng: &mut Rng, drawn: &mut Drawn<F>) {
        let Drawn { on_diagonal, spans, via, ends, c: left, given, row } = drawn;
        let share = if let MapObjective::Consistency { .. } = self.objective { 0.0 } else { self.diagonal };
        *on_diagonal = (share * rows as f64 + rng.random::<f64>()) as usize;
        *on_diagonal = (*on_diagonal).min(rows);
        spans.clear();
        via.clear();
        let comb = |shift: f64, i: usize, n: usize| (shift + i as f64 / n as f64).fract();
        let shift: f64 = rng.random();
        spans.extend((0..*on_diagonal).map(|i| Span::at(comb(shift, i, *on_diagonal))));
        via.extend(spans.iter().map(|span| span.to));
        let (shift, off): (f64, _) = (rng.random(), rows - *on_diagonal);
        for i in 0..off {
            let (a, b) = (comb(shift, i, off), rng.random());
            let (span, between) = match self.objective {
                MapObjective::Consistency { stages } => {
                    let from = a * (1.0 - NEAREST);
                    (Span { from, to: 1.0 }, later(from, stages, progress))
                }
                _ => (Span { from: a.min(b), to: a.max(b) }, 0.5 * (a + b)),
            };
            spans.push(span);
            via.push(between);
        }
        ends.resize(rows * self.net.dim(), F::zero());
        self.ends.draw(self.net.dim(), rng, ends, row);
        let width = self.net.width() - usize::from(self.scales.is_some());
        let Some((least, most)) = self.scales else {
            return drop_conditions(c, width, self.dropout, rng, left);
        };
        drop_conditions(c, width, self.dropout, rng, given);
        left.clear();
        for c in given.chunks_exact(width) {
            let w = least * (most / least).powf(rng.random());
            let dropped = c.iter().all(|c| *c == F::zero());
            left.extend_from_slice(c);
            left.push(if dropped { F::zero() } else { F::of(1.0 - w.recip()) });
        }
    }

    fn loss_grad(
        &self,
        w: Weights<F>,
        Batch { x, .. }: Batch<F>,
        drawn: &Drawn<F>,
        weight: F,
        dp: Option<&mut [F]>,
        parts: &mut [f64],
        scratch: &mut Scratch<F>,
    ) -> f64 {
        let losses = self.loss_towards(w.p, w, x, drawn, weight, dp, scratch);
        parts.iter_mut().zip(losses).for_each(|(part, loss)| *part += loss);
        losses[0] + losses[1]
    }
}

/// The later time with whose end that of time s is compared: of the noise share ν = 1 − s, max(0, 1 − n(ν)/2^(stage +
/// 1)) is left, n(ν) = 1 + 8/(1 + e^ν) (Geng et al. 2025, in ν for their t). In the first stage it is the data's end.
fn later(s: f64, stages: usize, progress: Progress) -> f64 {
    // In f64, as a training may have more steps than stages times a number of them can count.
    let stage = (progress.step as f64 / progress.steps.max(1) as f64 * stages as f64).floor();
    let nu = 1.0 - s;
    let n = 1.0 + 8.0 / (1.0 + nu.exp());
    1.0 - nu * (1.0 - n / (stage + 1.0).exp2()).max(0.0)
}
