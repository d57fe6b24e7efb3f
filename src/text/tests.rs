use super::*;
use crate::Error;
use crate::numeric::rng::seeded;
