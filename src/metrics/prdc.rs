//! Precision, recall, density and coverage by nearest neighbors.

use ndarray::ArrayView2;

use super::pairs::{Points, for_each_row};
use super::{check_count, check_pair};
use crate::error::{Result, check};

/// Fidelity (precision, density) and diversity (recall, coverage) of a sample: see [`prdc`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prdc {
    /// Share of fake rows inside at least one real ball.
    pub precision: f64,
    /// Share of real rows inside at least one fake ball.
    pub recall: f64,
    /// Real balls that a fake row lies in, on average, ÷ k. About 1 for a perfect sampler; it may exceed 1.
    pub density: f64,
    /// Share of real balls that hold at least one fake row.
    pub coverage: f64,
}

/// Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020).
///
/// The ball of a row is closed; its radius is the distance to the k-th nearest other row of the same sample. For
/// two samples of one distribution, with n and m rows, the mean of density is 1 and that of coverage is 1 −
/// Πᵢ₌₁ᵏ (n − i)/(n + m − i), whatever the distribution: choose k so that this is above 0.95 (k = 5 is usual).
/// Precision and recall have no such law, and a single outlier with a large ball inflates them.
///
/// `real` has shape (n, d), `fake` (m, d); memory is O((n + m) · (d + (n + m)/512)), time O((n + m)² d).
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) for k = 0, [`DataError::TooFewRows`](crate::error::DataError::TooFewRows)
/// for a sample of k rows or fewer, [`DataError::Shape`](crate::error::DataError::Shape),
/// [`DataError::NonFinite`](crate::error::DataError::NonFinite).
///
/// ```
/// use quadrivium::{metrics::prdc, ndarray::array};
/// let real = array![[0.0], [1.0], [5.0]];
/// let fake = array![[0.5], [0.6], [9.5]];
/// // k = 1: real balls [−1, 1], [0, 2], [1, 9]; fake balls [0.4, 0.6], [0.5, 0.7], [0.6, 18.4].
/// let report = prdc(real.view(), fake.view(), 1)?;
/// assert_eq!((report.precision, report.recall), (2.0 / 3.0, 2.0 / 3.0));
/// assert_eq!((report.density, report.coverage), (4.0 / 3.0, 2.0 / 3.0));
/// # Ok::<(), quadrivium::Error>(())
/// ```
pub fn prdc(real: ArrayView2<f32>, fake: ArrayView2<f32>, k: usize) -> Result<Prdc> {
    check(k >= 1, "k", k, "at least 1")?;
    check_pair(real, fake, 1)?;
    check_count("real", real.nrows(), k.saturating_add(1))?;
    check_count("fake", fake.nrows(), k.saturating_add(1))?;
    let (real, fake, _) = Points::pair(real, fake);
    let (real_r2, fake_r2) = (squared_radii(&real, k), squared_radii(&fake, k));

    let state = || Counts { balls: vec![0; fake.rows], covered: 0, recalled: 0 };
    let blocks = for_each_row(
        &real,
        &fake,
        state,
        #[inline(always)]
        |i, d2, counts| {
            let (mut covered, mut recalled) = (0u32, 0u32);
            for ((&d2, balls), &fake_r2) in d2.iter().zip(&mut counts.balls).zip(&fake_r2) {
                let inside = u32::from(d2 <= real_r2[i]);
                *balls += inside;
                covered |= inside;
                recalled |= u32::from(d2 <= fake_r2);
            }
            counts.covered += covered as usize;
            counts.recalled += recalled as usize;
        },
    );

    let mut balls = vec![0usize; fake.rows];
    for block in &blocks {
        for (total, &count) in balls.iter_mut().zip(&block.balls) {
            *total += count as usize;
        }
    }
    let share = |count: usize, of: &Points| count as f64 / of.rows as f64;
    Ok(Prdc {
        precision: share(balls.iter().filter(|count| **count > 0).count(), &fake),
        recall: share(blocks.iter().map(|block| block.recalled).sum(), &real),
        density: share(balls.iter().sum(), &fake) / k as f64,
        coverage: share(blocks.iter().map(|block| block.covered).sum(), &real),
    })
}

/// What a block of real rows counts.
struct Counts {
    balls: Vec<u32>, // (m), real balls of the block around each fake row
    covered: usize,
    recalled: usize,
}

/// The squared distance of each row to its k-th nearest other row.
fn squared_radii(x: &Points, k: usize) -> Vec<f32> {
    let state = || (Vec::new(), vec![0f32; k]);
    let blocks = for_each_row(
        x,
        x,
        state,
        #[inline(always)]
        |i, d2, (radii, best)| {
            d2[i] = f32::INFINITY;
            radii.push(kth_smallest(d2, best));
        },
    );
    blocks.into_iter().flat_map(|(radii, _)| radii).collect()
}

/// The k-th smallest value, with k = `best.len()`, which ends as the k smallest in ascending order.
///
/// Few values enter the best k, about k (1 + ln n/k) of n, so most chunks are passed over by a vector
/// comparison.
#[inline(always)]
fn kth_smallest(values: &[f32], best: &mut [f32]) -> f32 {
    best.fill(f32::INFINITY);
    let last = best.len() - 1;
    for chunk in values.chunks(64) {
        let worst = best[last];
        let mut any = false;
        for &v in chunk {
            any |= v < worst;
        }
        if any {
            for &v in chunk {
                if v < best[last] {
                    let at = best.partition_point(|b| *b <= v);
                    best.copy_within(at..last, at + 1);
                    best[at] = v;
                }
            }
        }
    }
    best[last]
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array, concatenate, s};

    use super::*;
    use crate::Error;
    use crate::error::DataError;
    use crate::metrics::testing::{mean_is, normal, same_on_any_number_of_threads};

    fn naive(real: &Array2<f32>, fake: &Array2<f32>, k: usize) -> Prdc {
        let d2 = |a: &Array2<f32>, i: usize, b: &Array2<f32>, j: usize| -> f64 {
            a.row(i).iter().zip(b.row(j)).map(|(p, q)| (*p as f64 - *q as f64).powi(2)).sum()
        };
        let radius = |a: &Array2<f32>, i: usize| {
            let mut all: Vec<f64> = (0..a.nrows()).filter(|j| *j != i).map(|j| d2(a, i, a, j)).collect();
            all.sort_by(f64::total_cmp);
            all[k - 1]
        };
        let (n, m) = (real.nrows(), fake.nrows());
        let real_r: Vec<f64> = (0..n).map(|i| radius(real, i)).collect();
        let fake_r: Vec<f64> = (0..m).map(|j| radius(fake, j)).collect();
        let inside = |i: usize, j: usize| d2(real, i, fake, j) <= real_r[i];
        let share = |count: usize, of: usize| count as f64 / of as f64;
        Prdc {
            precision: share((0..m).filter(|&j| (0..n).any(|i| inside(i, j))).count(), m),
            recall: share((0..n).filter(|&i| (0..m).any(|j| d2(real, i, fake, j) <= fake_r[j])).count(), n),
            density: share((0..m).map(|j| (0..n).filter(|&i| inside(i, j)).count()).sum(), m) / k as f64,
            coverage: share((0..n).filter(|&i| (0..m).any(|j| inside(i, j))).count(), n),
        }
    }

    #[test]
    fn agrees_with_the_definition() {
        for (n, m, d, k) in [(6, 7, 1, 5), (100, 90, 2, 1), (530, 40, 3, 4), (40, 530, 2, 3)] {
            let (real, fake) = (normal(n, d, 0.0, 1), normal(m, d, 0.7, 2));
            assert_eq!(prdc(real.view(), fake.view(), k).unwrap(), naive(&real, &fake, k), "{n} {m} {d} {k}");
        }
    }

    #[test]
    fn on_one_distribution_density_and_coverage_have_their_stated_means() {
        let (n, m, k) = (60, 50, 3);
        let reports: Vec<Prdc> = (0..100)
            .map(|seed| {
                let (real, fake) = (normal(n, 2, 0.0, 1000 + seed), normal(m, 2, 0.0, 2000 + seed));
                prdc(real.view(), fake.view(), k).unwrap()
            })
            .collect();
        let miss: f64 = (1..=k).map(|i| (n - i) as f64 / (n + m - i) as f64).product();
        mean_is(&reports.iter().map(|r| r.density).collect::<Vec<_>>(), 1.0, 0.1);
        mean_is(&reports.iter().map(|r| r.coverage).collect::<Vec<_>>(), 1.0 - miss, 0.05);
    }

    #[test]
    fn far_samples_score_zero_and_a_lost_mode_costs_diversity_only() {
        let (near, far) = (normal(200, 2, 0.0, 3), normal(200, 2, 50.0, 4));
        let none = Prdc { precision: 0.0, recall: 0.0, density: 0.0, coverage: 0.0 };
        assert_eq!(prdc(near.view(), far.view(), 5).unwrap(), none);
        let both = concatenate![ndarray::Axis(0), near, far];
        let half = prdc(both.view(), normal(400, 2, 0.0, 5).view(), 5).unwrap();
        assert!(half.precision > 0.9 && half.density > 0.9, "{half:?}");
        assert!(half.recall < 0.51 && (0.4..0.51).contains(&half.coverage), "{half:?}");
    }

    #[test]
    fn equal_and_repeated_rows_lie_in_their_own_balls() {
        let x = Array2::<f32>::ones((7, 2));
        let all = Prdc { precision: 1.0, recall: 1.0, density: 7.0 / 3.0, coverage: 1.0 };
        assert_eq!(prdc(x.view(), x.view(), 3).unwrap(), all);
        let x = normal(100, 2, 0.0, 6);
        let r = prdc(x.view(), x.slice(s![..;-1, ..]), 2).unwrap();
        assert_eq!((r.precision, r.recall, r.coverage), (1.0, 1.0, 1.0));
    }

    #[test]
    fn same_bits_on_any_number_of_threads_and_typed_errors() {
        let (x, y) = (normal(1100, 2, 0.0, 7), normal(600, 2, 0.1, 8));
        same_on_any_number_of_threads(|| prdc(x.view(), y.view(), 5).unwrap().density);
        assert!(matches!(prdc(x.view(), y.view(), 0), Err(Error::Config { field: "k", .. })));
        let two = prdc(x.view(), array![[0.0, 0.0], [1.0, 1.0]].view(), 2);
        assert!(matches!(
            prdc(x.view(), y.view(), usize::MAX),
            Err(Error::Data(DataError::TooFewRows { what: "real", .. }))
        ));
        assert!(matches!(two, Err(Error::Data(DataError::TooFewRows { what: "fake", got: 2, least: 3 }))));
        assert!(matches!(
            prdc(x.view(), Array2::zeros((9, 1)).view(), 1),
            Err(Error::Data(DataError::Shape { .. }))
        ));
    }
}
