//! A composition takes any model, also one that is known only when the program runs.

use std::ops::ControlFlow;

use ndarray::ArrayView2;
use rand::RngCore;

#[cfg(feature = "safetensors")]
use super::file::Persist;
use super::*;
use crate::engine::RowStreams;

macro_rules! boxed {
    ($model:ty, $element:ty) => {
        impl Distribution<$element> for Box<$model> {
            fn card(&self) -> Card {
                (**self).card()
            }

            fn dim(&self) -> usize {
                (**self).dim()
            }

            fn sample(
                &self,
                n: usize,
                options: &SampleOptions,
                rng: &mut dyn RngCore,
            ) -> Result<Samples<$element>> {
                (**self).sample(n, options, rng)
            }

            fn sample_each(
                &self,
                n: u64,
                options: &SampleOptions,
                rng: &mut dyn RngCore,
                sink: &mut dyn FnMut(ArrayView2<$element>) -> ControlFlow<()>,
            ) -> Result<()> {
                (**self).sample_each(n, options, rng, sink)
            }

            fn draw_at(
                &self,
                at: RowStreams,
                options: &SampleOptions,
                rows: &mut [$element],
            ) -> Result<usize> {
                (**self).draw_at(at, options, rows)
            }

            fn log_likelihood(
                &self,
                x: ArrayView2<$element>,
                options: &LikelihoodOptions,
            ) -> Result<LogLikelihood> {
                (**self).log_likelihood(x, options)
            }
        }

        impl Generative<$element> for Box<$model> {
            fn num_params(&self) -> usize {
                (**self).num_params()
            }

            fn condition(&self) -> ConditionKind {
                (**self).condition()
            }

            fn train(
                &mut self,
                data: &Dataset<$element>,
                options: &TrainOptions,
                rng: &mut dyn RngCore,
                observer: &mut dyn Observer,
            ) -> Result<TrainReport> {
                (**self).train(data, options, rng, observer)
            }

            fn given(&self, condition: &Condition) -> Result<Box<dyn Distribution<$element> + '_>> {
                (**self).given(condition)
            }
        }
    };
}

boxed!(dyn Generative, f32);
boxed!(dyn Generative<Token>, Token);
#[cfg(feature = "safetensors")]
boxed!(dyn Persist, f32);
#[cfg(feature = "safetensors")]
boxed!(dyn Persist<Token>, Token);
