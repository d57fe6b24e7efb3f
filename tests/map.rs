//! The map as data: each method has its place, nothing else has one, and every word fits a table.

use std::collections::HashSet;
use std::fmt::Display;

use quadrivium::LikelihoodKind;
use quadrivium::map::{Divergence, FailureMode, LatencyLaw, Objective, Paradigm, Sampling, place};

/// All variants of an enum. The match without a wildcard stops compiling when a variant is added, so the list
/// stays whole.
macro_rules! all {
    ($type:ident: $($variant:ident),+ $(,)?) => {{
        fn _whole(v: $type) { match v { $($type::$variant => (),)+ } }
        [$($type::$variant),+]
    }};
}

fn paradigms() -> [Paradigm; 9] {
    all!(Paradigm: Autoregressive, Latent, Adversarial, Diffusion, Flow, Energy, Baseline, Hybrid, OffTheMap)
}

fn objectives() -> [Objective; 20] {
    all!(Objective: ChainRuleNll, ChangeOfVariables, Elbo, Minimax, NonSaturatingR1, Relativistic, WassersteinGp,
        NoisePrediction, FlowMatching, FlowMap, Consistency, ScoreMatching, SlicedScoreMatching, ContrastiveDivergence,
        ExpectationMaximization, KernelSmoothing, Counting, PrincipalComponents, Staged, OffTheMap)
}

fn divergences() -> [Divergence; 10] {
    all!(Divergence: ForwardKl, ForwardKlBound, JensenShannon, ReverseKlLessJs, Relativistic, Wasserstein1, Fisher,
        FisherAtOneLevel, Wasserstein2Bound, OffTheMap)
}

fn latency_laws() -> [LatencyLaw; 4] {
    all!(LatencyLaw: Constant, LinearInDim, LinearInSteps, LinearInDimAndSteps)
}

fn failure_modes() -> [FailureMode; 13] {
    all!(FailureMode: SlowInDim, ErrorAccumulation, Blur, PosteriorCollapse, ModeCollapse, VanishingGradient,
        Oscillation, SlowInSteps, DiscretizationError, Bridges, SlowMixing, LocalOptimum,
        CurseOfDimension)
}

fn likelihood_kinds() -> [LikelihoodKind; 6] {
    all!(LikelihoodKind: Exact, LowerBound, OdeEstimate, Estimate, Unnormalized, Unavailable)
}

/// One of each, with numbers that differ, and a second diffusion with few steps.
fn samplings() -> [Sampling; 9] {
    let whole = |s: Sampling| match s {
        Sampling::Sequential { .. }
        | Sampling::OnePass
        | Sampling::Denoising { .. }
        | Sampling::Flowing { .. }
        | Sampling::Langevin { .. }
        | Sampling::AnnealedLangevin { .. }
        | Sampling::Staged { .. } => s,
    };
    [
        Sampling::Sequential { dim: 7 },
        Sampling::OnePass,
        Sampling::Denoising { steps: 1000 },
        Sampling::Denoising { steps: 10 },
        Sampling::Flowing { steps: 100 },
        Sampling::Flowing { steps: 4 },
        Sampling::Langevin { steps: 60 },
        Sampling::AnnealedLangevin { steps: 101 },
        Sampling::Staged { evaluations: 51 },
    ]
    .map(whole)
}

#[test]
fn each_method_stands_where_the_field_puts_it() {
    use {
        Divergence as D, FailureMode as F, LatencyLaw as L, LikelihoodKind as K, Objective as O,
        Paradigm as P,
    };
    use {Sampling as S, Sampling::*};
    let methods: [(O, S, P, D, K, L, F); 26] = [
        (
            O::ChainRuleNll,
            Sequential { dim: 7 },
            P::Autoregressive,
            D::ForwardKl,
            K::Exact,
            L::LinearInDim,
            F::SlowInDim,
        ),
        (O::ChangeOfVariables, OnePass, P::Flow, D::ForwardKl, K::Exact, L::Constant, F::Bridges),
        (
            O::ChangeOfVariables,
            Sequential { dim: 7 },
            P::Flow,
            D::ForwardKl,
            K::Exact,
            L::LinearInDim,
            F::Bridges,
        ),
        (O::Elbo, OnePass, P::Latent, D::ForwardKlBound, K::LowerBound, L::Constant, F::Blur),
        (
            O::Minimax,
            OnePass,
            P::Adversarial,
            D::JensenShannon,
            K::Unavailable,
            L::Constant,
            F::VanishingGradient,
        ),
        (
            O::NonSaturatingR1,
            OnePass,
            P::Adversarial,
            D::ReverseKlLessJs,
            K::Unavailable,
            L::Constant,
            F::ModeCollapse,
        ),
        (
            O::Relativistic,
            OnePass,
            P::Adversarial,
            D::Relativistic,
            K::Unavailable,
            L::Constant,
            F::Oscillation,
        ),
        (O::WassersteinGp, OnePass, P::Adversarial, D::Wasserstein1, K::Unavailable, L::Constant, F::Blur),
        (
            O::NoisePrediction,
            Denoising { steps: 1000 },
            P::Diffusion,
            D::Fisher,
            K::OdeEstimate,
            L::LinearInSteps,
            F::SlowInSteps,
        ),
        (
            O::NoisePrediction,
            Denoising { steps: 10 },
            P::Diffusion,
            D::Fisher,
            K::OdeEstimate,
            L::LinearInSteps,
            F::DiscretizationError,
        ),
        (
            O::ScoreMatching,
            Denoising { steps: 1000 },
            P::Diffusion,
            D::Fisher,
            K::OdeEstimate,
            L::LinearInSteps,
            F::SlowInSteps,
        ),
        (
            O::ScoreMatching,
            Denoising { steps: 10 },
            P::Diffusion,
            D::Fisher,
            K::OdeEstimate,
            L::LinearInSteps,
            F::DiscretizationError,
        ),
        (
            O::FlowMatching,
            Flowing { steps: 100 },
            P::Flow,
            D::Wasserstein2Bound,
            K::OdeEstimate,
            L::LinearInSteps,
            F::SlowInSteps,
        ),
        (
            O::FlowMatching,
            Flowing { steps: 4 },
            P::Flow,
            D::Wasserstein2Bound,
            K::OdeEstimate,
            L::LinearInSteps,
            F::DiscretizationError,
        ),
        (
            O::FlowMap,
            Flowing { steps: 100 },
            P::Flow,
            D::Wasserstein2Bound,
            K::OdeEstimate,
            L::LinearInSteps,
            F::DiscretizationError,
        ),
        (
            O::FlowMap,
            Flowing { steps: 4 },
            P::Flow,
            D::Wasserstein2Bound,
            K::OdeEstimate,
            L::LinearInSteps,
            F::DiscretizationError,
        ),
        (
            O::Consistency,
            Flowing { steps: 100 },
            P::Diffusion,
            D::OffTheMap,
            K::Unavailable,
            L::LinearInSteps,
            F::DiscretizationError,
        ),
        (
            O::Consistency,
            Flowing { steps: 4 },
            P::Diffusion,
            D::OffTheMap,
            K::Unavailable,
            L::LinearInSteps,
            F::DiscretizationError,
        ),
        (
            O::ScoreMatching,
            Langevin { steps: 60 },
            P::Energy,
            D::FisherAtOneLevel,
            K::Unnormalized,
            L::LinearInSteps,
            F::SlowMixing,
        ),
        (
            O::ScoreMatching,
            AnnealedLangevin { steps: 101 },
            P::Energy,
            D::Fisher,
            K::Unavailable,
            L::LinearInSteps,
            F::SlowInSteps,
        ),
        (
            O::SlicedScoreMatching,
            AnnealedLangevin { steps: 101 },
            P::Energy,
            D::Fisher,
            K::Unavailable,
            L::LinearInSteps,
            F::SlowInSteps,
        ),
        (
            O::ContrastiveDivergence,
            Langevin { steps: 60 },
            P::Energy,
            D::ForwardKl,
            K::Unnormalized,
            L::LinearInSteps,
            F::SlowMixing,
        ),
        (
            O::ExpectationMaximization,
            OnePass,
            P::Baseline,
            D::ForwardKl,
            K::Exact,
            L::Constant,
            F::LocalOptimum,
        ),
        (O::KernelSmoothing, OnePass, P::Baseline, D::ForwardKl, K::Exact, L::Constant, F::Blur),
        (
            O::Counting,
            Sequential { dim: 7 },
            P::Baseline,
            D::ForwardKl,
            K::Exact,
            L::LinearInDim,
            F::CurseOfDimension,
        ),
        (O::PrincipalComponents, OnePass, P::Latent, D::ForwardKl, K::Exact, L::Constant, F::Blur),
    ];
    for (objective, sampling, paradigm, divergence, likelihood, latency, failure) in methods {
        let found = place(objective, sampling).unwrap_or_else(|| panic!("{objective}, {sampling}: no place"));
        let got = (found.paradigm, found.divergence, found.likelihood, found.latency, found.failures[0]);
        assert_eq!(got, (paradigm, divergence, likelihood, latency, failure), "{objective}, {sampling}");
    }
    // Every other pair is impossible.
    for objective in objectives() {
        for sampling in samplings() {
            let listed = methods.iter().any(|m| (m.0, m.1) == (objective, sampling));
            assert_eq!(place(objective, sampling).is_some(), listed, "{objective}, {sampling}");
        }
    }
}

/// Below 30 evaluations the error of few steps is the likelier failure, from there on the time.
#[test]
fn few_steps_fail_by_their_error() {
    for (objective, sampling) in [
        (Objective::NoisePrediction, (|steps| Sampling::Denoising { steps }) as fn(usize) -> Sampling),
        (Objective::FlowMatching, |steps| Sampling::Flowing { steps }),
    ] {
        let first = |steps| place(objective, sampling(steps)).unwrap().failures[0];
        assert_eq!(first(29), FailureMode::DiscretizationError);
        assert_eq!(first(30), FailureMode::SlowInSteps);
    }
}

#[test]
fn losses_have_units() {
    for objective in objectives() {
        assert!((10..=40).contains(&objective.loss_unit().len()), "{objective}: {}", objective.loss_unit());
    }
    assert_eq!(Objective::Elbo.loss_unit(), Objective::ChainRuleNll.loss_unit());
    assert_ne!(Objective::ExpectationMaximization.loss_unit(), Objective::ChainRuleNll.loss_unit());
}

#[test]
fn every_paradigm_objective_and_prediction_is_on_the_map() {
    let pairs = objectives().into_iter().flat_map(|o| samplings().map(|s| (o, s)));
    let places: Vec<_> = pairs.filter_map(|(o, s)| Some((o, s, place(o, s)?))).collect();
    for objective in
        objectives().into_iter().filter(|o| !matches!(o, Objective::Staged | Objective::OffTheMap))
    {
        assert!(places.iter().any(|p| p.0 == objective), "{objective}");
    }
    for paradigm in paradigms().into_iter().filter(|p| !matches!(p, Paradigm::Hybrid | Paradigm::OffTheMap)) {
        assert!(places.iter().any(|p| p.2.paradigm == paradigm), "{paradigm}");
    }
    for divergence in divergences().into_iter().filter(|d| *d != Divergence::OffTheMap) {
        assert!(places.iter().any(|p| p.2.divergence == divergence), "{divergence}");
    }
    // A composition has no place of its own.
    for latency in latency_laws().into_iter().filter(|law| *law != LatencyLaw::LinearInDimAndSteps) {
        assert!(places.iter().any(|p| p.2.latency == latency), "{latency}");
    }
    for failure in failure_modes() {
        assert!(places.iter().any(|p| p.2.failures.contains(&failure)), "{failure}");
    }
    for (objective, sampling, place) in places {
        let distinct: HashSet<_> = place.failures.iter().collect();
        assert_eq!(distinct.len(), place.failures.len(), "{objective}, {sampling}: a failure twice");
        // Network evaluations follow the latency law.
        let expected = match (place.latency, sampling) {
            (LatencyLaw::Constant, _) => 1,
            (LatencyLaw::LinearInDim, Sampling::Sequential { dim }) => dim,
            (
                LatencyLaw::LinearInSteps,
                Sampling::Denoising { steps }
                | Sampling::Flowing { steps }
                | Sampling::Langevin { steps }
                | Sampling::AnnealedLangevin { steps },
            ) => steps,
            (law, _) => panic!("{law} for {sampling}"),
        };
        assert_eq!(sampling.nfe(), expected, "{objective}, {sampling}");
    }
}

#[test]
fn latency_laws_add_up_to_what_grows_with_either() {
    use LatencyLaw::*;
    for law in latency_laws() {
        assert_eq!((law + law, law + Constant, Constant + law), (law, law, law));
        assert_eq!(law + LinearInDimAndSteps, LinearInDimAndSteps);
    }
    assert_eq!(
        (LinearInDim + LinearInSteps, LinearInSteps + LinearInDim),
        (LinearInDimAndSteps, LinearInDimAndSteps)
    );
}

#[test]
fn weaker_kind_of_likelihood_wins_in_a_sum() {
    use LikelihoodKind::*;
    let order = [Exact, OdeEstimate, Estimate, LowerBound, Unnormalized, Unavailable];
    for (i, a) in order.into_iter().enumerate() {
        for (j, b) in order.into_iter().enumerate() {
            assert_eq!(a.weaker(b), order[i.max(j)], "{a} and {b}");
        }
    }
}

#[test]
fn words_are_distinct_short_and_padded_by_a_width() {
    fn check(words: impl IntoIterator<Item = impl Display>) {
        let mut seen = HashSet::new();
        for word in words {
            let text = word.to_string();
            assert!((1..=25).contains(&text.chars().count()), "{text:?} does not fit a column");
            assert_eq!(format!("{word:<30}|"), format!("{text:<30}|"));
            assert_eq!(format!("{word:>30}"), format!("{text:>30}"));
            assert!(seen.insert(text.clone()), "{text:?} stands for two");
        }
    }
    check(paradigms());
    check(objectives());
    check(samplings());
    check(divergences());
    check(latency_laws());
    check(failure_modes());
    check(likelihood_kinds());
    assert_eq!(Sampling::Denoising { steps: 50 }.to_string(), "50 denoising steps");
}
