//! What each paradigm minimizes.

use crate::claim::{Bound, Claim, Estimate, Finding, quick};
use crate::lab::{Lab, Outcome};

pub const CLAIMS: &[Claim] = &[quick(0, "A sum is the sum.", sum)];

fn sum(lab: &Lab) -> Outcome<Finding> {
    let sum = lab.mean(|seed| Ok(seed as f64))?;
    Ok(Finding::new().claim("mean seed", sum, Bound::Within(0.0, 4.0)).beside("one", Estimate::exact(1.0)))
}
