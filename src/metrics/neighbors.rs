//! Nearest rows: copies, two-sample tests, and labels by the majority of neighbors.

use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate};

use super::pairs::{Points, for_each_row};
use super::{check_count, check_pair};
use crate::error::{DataError, Error, Result, check};

/// The nearest rows of another sample: see [`nearest_rows`].
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbors {
    /// Their indices, nearest first: (n, k).
    pub rows: Array2<usize>,
    /// Their distances: (n, k).
    pub distances: Array2<f64>,
}

/// The `k` rows of y, (m, d), that are nearest to each row of x, (n, d); of equal distances the first.
///
/// # Errors
/// [`Error::Config`] for k = 0, [`DataError::TooFewRows`] for fewer rows of y, [`DataError::Shape`],
/// [`DataError::NonFinite`].
///
/// ```
/// use quadrivium::{metrics::nearest_rows, ndarray::array};
/// let near = nearest_rows(array![[0.0], [9.0]].view(), array![[1.0], [7.0], [-4.0]].view(), 2)?;
/// assert_eq!((near.rows, near.distances), (array![[0, 2], [1, 0]], array![[1.0, 4.0], [2.0, 8.0]]));
/// # Ok::<(), quadrivium::Error>(())
/// ```
pub fn nearest_rows(x: ArrayView2<f32>, y: ArrayView2<f32>, k: usize) -> Result<Neighbors> {
    check_pair(x, y, 1)?;
    search(x, y, k, false)
}

/// As [`nearest_rows`]; row i of y is no neighbor of row i of x if they are to be `others`.
fn search(x: ArrayView2<f32>, y: ArrayView2<f32>, k: usize, others: bool) -> Result<Neighbors> {
    check(k >= 1, "k", k, "at least 1")?;
    check_count("y", y.nrows(), k + usize::from(others))?;
    let (x, y, scale) = Points::pair(x, y);
    let blocks = for_each_row(
        &x,
        &y,
        Vec::new,
        #[inline(always)]
        |i, d2, found: &mut Vec<(usize, f64)>| {
            if others {
                d2[i] = f32::INFINITY;
            }
            let first = found.len();
            for _ in 0..k {
                let nearest =
                    |best: (usize, f32), (j, &d2): (usize, &f32)| if d2 < best.1 { (j, d2) } else { best };
                let (j, least) = d2.iter().enumerate().fold((0, f32::INFINITY), nearest);
                found.push((j, f64::from(least).sqrt()));
                d2[j] = f32::INFINITY;
            }
            debug_assert_eq!(found.len(), first + k);
        },
    );
    let found: Vec<(usize, f64)> = blocks.into_iter().flatten().collect();
    let shape = (found.len() / k, k);
    Ok(Neighbors {
        rows: Array2::from_shape_vec(shape, found.iter().map(|found| found.0).collect())
            .expect("k of each row"),
        distances: Array2::from_shape_vec(shape, found.iter().map(|found| scale * found.1).collect())
            .expect("k of each row"),
    })
}

/// How often a row of the two samples together, x: (n, d) and y: (m, d), has a nearest other row of its own sample: the
/// classifier two-sample test by one neighbor (Lopez-Paz & Oquab 2017, with the classifier of their §3).
///
/// About ½ for two samples of one distribution and the same size, 1 for samples that lie apart; less than ½ where rows of
/// one are copies of rows of the other.
///
/// # Errors
/// As [`nearest_rows`].
///
/// ```
/// use quadrivium::{metrics::two_sample_accuracy, ndarray::array};
/// let (x, y) = (array![[0.0], [1.0]], array![[8.0], [9.0]]);
/// assert_eq!(two_sample_accuracy(x.view(), y.view())?, 1.0);
/// assert_eq!(two_sample_accuracy(x.view(), x.view())?, 0.0);
/// # Ok::<(), quadrivium::Error>(())
/// ```
pub fn two_sample_accuracy(x: ArrayView2<f32>, y: ArrayView2<f32>) -> Result<f64> {
    check_pair(x, y, 1)?;
    let both = concatenate(Axis(0), &[x, y]).expect("rows of as many columns");
    let near = search(both.view(), both.view(), 1, true)?;
    let own = |(row, &nearest): (usize, &usize)| (row < x.nrows()) == (nearest < x.nrows());
    Ok(near.rows.iter().enumerate().filter(|&found| own(found)).count() as f64 / both.nrows() as f64)
}

/// The labels of the rows of `test`, (n, d), by the majority of the `k` nearest rows of x, (m, d), of which `labels` has one
/// each; of equally many the label of the nearest.
///
/// # Errors
/// As [`nearest_rows`]; [`DataError::Shape`] for other than one label for each row.
///
/// ```
/// use quadrivium::{metrics::nearest_labels, ndarray::array};
/// let x = array![[0.0], [1.0], [8.0]];
/// let found = nearest_labels(x.view(), &[3, 3, 5], array![[7.0], [2.0]].view(), 1)?;
/// assert_eq!(found, array![5, 3]);
/// # Ok::<(), quadrivium::Error>(())
/// ```
pub fn nearest_labels(
    x: ArrayView2<f32>,
    labels: &[u32],
    test: ArrayView2<f32>,
    k: usize,
) -> Result<Array1<u32>> {
    if labels.len() != x.nrows() {
        let expected = format!("({})", x.nrows());
        return Err(Error::Data(DataError::Shape { what: "labels", got: vec![labels.len()], expected }));
    }
    let near = nearest_rows(test, x, k)?;
    let majority = |rows: ndarray::ArrayView1<usize>| {
        let votes = |label: u32| rows.iter().filter(|&&row| labels[row] == label).count();
        // The last of the greatest, from the farthest to the nearest.
        rows.iter().rev().map(|&row| labels[row]).max_by_key(|&label| votes(label)).unwrap_or_default()
    };
    Ok(near.rows.rows().into_iter().map(majority).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::testing::{mean_is, normal};

    #[test]
    fn neighbors_are_those_of_a_naive_search() {
        let (x, y) = (normal(50, 3, 0.0, 1), normal(700, 3, 0.3, 2));
        let near = nearest_rows(x.view(), y.view(), 4).unwrap();
        for (row, (rows, distances)) in
            x.rows().into_iter().zip(near.rows.rows().into_iter().zip(near.distances.rows()))
        {
            let mut all: Vec<(f64, usize)> = y
                .rows()
                .into_iter()
                .map(|other| row.iter().zip(other).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt())
                .zip(0..)
                .collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0));
            for (k, &(distance, at)) in all[..4].iter().enumerate() {
                assert_eq!(rows[k], at);
                assert!((distances[k] - distance).abs() < 1e-5, "{} {distance}", distances[k]);
            }
        }
    }

    #[test]
    fn two_samples_of_one_distribution_are_told_apart_by_chance() {
        let accuracies: Vec<f64> = (0..40)
            .map(|seed| {
                two_sample_accuracy(
                    normal(300, 2, 0.0, 2 * seed).view(),
                    normal(300, 2, 0.0, 2 * seed + 1).view(),
                )
                .unwrap()
            })
            .collect();
        mean_is(&accuracies, 0.5, 0.02);
        let apart =
            two_sample_accuracy(normal(300, 2, 0.0, 1).view(), normal(300, 2, 2.0, 2).view()).unwrap();
        assert!(apart > 0.75, "{apart}");
    }

    #[test]
    fn ties_go_to_the_nearest() {
        let x = ndarray::array![[0.0f32], [1.0], [3.0], [4.0]];
        let found = nearest_labels(x.view(), &[7, 8, 9, 8], ndarray::array![[0.1]].view(), 3).unwrap();
        assert_eq!(found, ndarray::array![7]);
        let found = nearest_labels(x.view(), &[7, 8, 9, 8], ndarray::array![[0.1]].view(), 4).unwrap();
        assert_eq!(found, ndarray::array![8]);
        assert!(nearest_labels(x.view(), &[7], x.view(), 1).is_err());
        assert!(nearest_rows(x.view(), x.view(), 5).is_err() && nearest_rows(x.view(), x.view(), 0).is_err());
    }
}
