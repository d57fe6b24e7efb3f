//! Without the feature `plot` there are no pictures.

use std::convert::Infallible;
use std::path::Path;

use quadrivium::TrainReport;
use quadrivium::prelude::*;

use crate::measure::{Effort, Figures};
use crate::models::{Candidate, Rule};
use crate::report::Results;
use crate::source::Split;

type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A type without values: there is never an album.
pub struct Album(Infallible);

impl Album {
    pub fn new(_: &Split, _: Effort, _: bool) -> Outcome<Self> {
        Err("--report draws pictures: run with `cargo run --release --features plot --example tradeoffs`"
            .into())
    }

    pub fn trained(&mut self, _: &Candidate, _: &TrainReport) -> Result<()> {
        match self.0 {}
    }

    pub fn steps(&mut self, _: &Diffusion, _: &[Figures]) -> Result<()> {
        match self.0 {}
    }

    pub fn drift(&mut self, _: &Split, _: Rule, _: u64) -> Result<()> {
        match self.0 {}
    }
}

pub fn write(_: &Path, _: &[Results], albums: &[Album], _: &str) -> Outcome<()> {
    match albums.first() {
        Some(album) => match album.0 {},
        None => Ok(()),
    }
}
