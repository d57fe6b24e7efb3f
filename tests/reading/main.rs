//! The reading procedure on labeled texts, on texts that are written otherwise, and on no texts at all.

#[path = "../../examples/reading/cases.rs"]
mod cases;

use quadrivium::map::read::{Aim, Claim, Outside, Procedure, Reading, Rules, Stage, Tone, read};
use quadrivium::map::{Paradigm, questions};
use quadrivium::{LikelihoodKind, seeded};
use rand::Rng;

use cases::{FIELDS, load};

fn paradigms(text: &str) -> Vec<Paradigm> {
    read(text).components.iter().map(|part| part.paradigm).collect()
}

/// Whether all evidence is a part of the text.
fn check_spans(text: &str, reading: &Reading) {
    let parts = reading.components.iter().flat_map(|part| &part.evidence);
    for evidence in parts.chain(&reading.outside_evidence).chain(&reading.set_aside) {
        assert!(text.get(evidence.span.clone()).is_some_and(|quote| !quote.trim().is_empty()));
    }
}

#[test]
fn practice_is_read_without_a_mistake() {
    let cases = load("practice");
    assert!(cases.len() >= 80, "{}", cases.len());
    for case in cases {
        let reading = read(&case.text);
        check_spans(&case.text, &reading);
        for judged in case.judge(&reading) {
            assert!(
                judged.holds(),
                "{}, {}: {}; right is {}",
                case.name,
                judged.field,
                judged.read,
                judged.right
            );
        }
    }
}

/// What the rules reach is held, so that a change for one text does not spoil another unseen.
#[test]
fn texts_of_known_models_are_placed() {
    for set in ["tuning", "validation", "second", "third"] {
        let cases = load(set);
        let wrong: Vec<&str> = cases
            .iter()
            .filter(|case| {
                case.judge(&read(&case.text))
                    .iter()
                    .any(|judged| judged.field == FIELDS[0] && !judged.holds())
            })
            .map(|case| case.name.as_str())
            .collect();
        assert!(wrong.is_empty(), "{set}: {wrong:?}");
        assert!(cases.iter().filter(|case| case.is_outside()).count() >= 3, "{set}");
    }
}

/// Texts by somebody who knew no rule. These three are still read wrongly: slow models that it was tired of, a flow that is
/// compared without a word of comparison, and masking that does not call itself a diffusion.
#[test]
fn texts_by_others_are_placed_but_for_three() {
    let cases = load("fourth");
    assert_eq!((cases.len(), cases.iter().filter(|case| case.is_outside()).count()), (30, 6));
    let wrong = cases.iter().filter(|case| !case.judge(&read(&case.text))[0].holds());
    let wrong: Vec<&str> = wrong.map(|case| case.name.as_str()).collect();
    assert_eq!(wrong, ["waveglow", "jem", "llada"]);
}

#[test]
fn validation_is_every_second_text_of_the_first_set() {
    let [tuning, validation] = ["tuning", "validation"].map(load);
    let mut all: Vec<(&str, &str)> = Vec::new();
    all.extend(tuning.iter().map(|case| (case.name.as_str(), "tuning")));
    all.extend(validation.iter().map(|case| (case.name.as_str(), "validation")));
    all.sort();
    assert!(all.len() >= 40);
    for (at, (name, set)) in all.into_iter().enumerate() {
        assert_eq!(set, ["tuning", "validation"][at % 2], "{name}");
    }
}

#[test]
fn text_outside_the_map_gets_no_paradigm() {
    for (text, reason) in [
        ("A linear classifier of tumors.", Outside::Classifier),
        ("The policy is trained with PPO to maximize reward.", Outside::Policy),
        ("Samples are scored by an energy score; no likelihood and no adversary.", Outside::ScoringRule),
        ("A dual encoder for retrieval, trained with InfoNCE.", Outside::Contrastive),
        ("It is trained to fill in masked words.", Outside::MaskedPrediction),
        ("We bake bread.", Outside::CannotTell),
        ("", Outside::CannotTell),
        (
            "Heat diffusion in steel, optical flow, and a diesel generator under adversarial attacks.",
            Outside::CannotTell,
        ),
        (
            "We survey GANs, VAEs, normalizing flows, autoregressive and diffusion models.",
            Outside::CannotTell,
        ),
        ("A tool that helps to write prompts for Stable Diffusion.", Outside::CannotTell),
        ("A classifier that tells diffusion images from GAN images.", Outside::Classifier),
        ("The cash flow of the company improved by 3 % in 50 steps.", Outside::CannotTell),
    ] {
        let reading = read(text);
        assert_eq!((reading.components.len(), reading.outside), (0, Some(reason)), "{text}");
        assert_eq!((reading.likelihood, reading.passes.total()), (None, None), "{text}");
    }
}

#[test]
fn denial_comparison_and_history_are_no_evidence() {
    for (text, expected) in [
        ("A VAE without a discriminator.", Paradigm::Latent),
        ("Unlike diffusion models, our GAN needs one pass.", Paradigm::Adversarial),
        (
            "Unlike GANs, VAEs and flows, which are hard to train, we predict the noise that was added.",
            Paradigm::Diffusion,
        ),
        ("Earlier versions used a GAN; this one is a denoising diffusion model.", Paradigm::Diffusion),
        ("A normalizing flow that outperforms GANs and diffusion models.", Paradigm::Flow),
        ("No VAE, no discriminator, only next-token prediction.", Paradigm::Autoregressive),
        ("A GAN-free approach: a denoising diffusion model.", Paradigm::Diffusion),
        ("Instead of a diffusion model we train an energy-based model.", Paradigm::Energy),
        ("GANs are fast. We train a variational autoencoder.", Paradigm::Latent),
        ("Our VAE is ahead of NGCF, a method based on a normalizing flow, in all tests.", Paradigm::Latent),
        ("This denoising diffusion improves on E-NF (a flow), and is faster.", Paradigm::Diffusion),
        ("Our earlier work on images is extended here by a denoising diffusion model.", Paradigm::Diffusion),
        ("Here a VAE is enough. In our earlier work it was given by a normalizing flow.", Paradigm::Latent),
    ] {
        assert_eq!(paradigms(text), [expected], "{text}");
    }
    let tones: Vec<Tone> = read("Unlike GANs, we use no VAE. Our previous model was a diffusion model.")
        .set_aside
        .iter()
        .map(|said| said.tone)
        .collect();
    assert_eq!(tones, [Tone::Other, Tone::Denied, Tone::Past]);
}

#[test]
fn a_few_words_are_enough() {
    use Paradigm::{Adversarial, Autoregressive, Diffusion, Flow, Latent};
    for (text, expected) in [
        (
            "A flow as the prior of a VAE's latents, with a diffusion in that space.",
            &[Flow, Latent, Diffusion][..],
        ),
        ("A trained diffusion, tuned against a discriminator.", &[Diffusion, Adversarial]),
        ("VAE and diffusion together.", &[Latent, Diffusion]),
        ("A language model conditioning a diffusion.", &[Autoregressive, Diffusion]),
        ("A GLIDE.", &[Diffusion]),
        ("A diffusion in one step.", &[Diffusion]),
        ("A VQ-VAE, and a GPT over its codes.", &[Autoregressive, Latent]),
        // Alone, the words are those of physics as well.
        ("It is slowed down by diffusion of ions, and by the flow.", &[]),
    ] {
        assert_eq!(paradigms(text), expected, "{text}");
    }
}

#[test]
fn spelling_and_markup_do_not_change_a_reading() {
    let plain = "A normalizing flow prior for a variational autoencoder. A diffusion model is distilled for next-token models.";
    let expected = paradigms(plain);
    assert!(expected.len() >= 3);
    for other in [
        plain.to_uppercase(),
        plain.replace("normalizing", "normalising").replace("autoencoder", "auto-encoder"),
        plain.replace(' ', "\n"),
        plain.replace(' ', " **").replace('.', "**."),
        plain.replace("next-token", "next\u{2011}token").replace("auto", "auto\u{ad}"),
        plain.replace("variational", "_variational_").replace("diffusion", "`diffusion`"),
        format!("\u{feff}# Title\n\n- {plain}"),
    ] {
        assert_eq!(paradigms(&other), expected, "{other}");
    }
}

#[test]
fn passes_follow_the_numbers_of_the_text() {
    for (text, passes) in [
        ("A diffusion model, 50 DDIM steps, classifier-free guidance.", "50 steps × 2 (guidance) = 100"),
        ("A diffusion model, 25–50 DDIM steps.", "25–50 steps"),
        ("A diffusion model, two to four sampling steps.", "2–4 steps"),
        ("A diffusion model trained for 500,000 training steps.", "steps"),
        ("A diffusion model. No more than before: without 50 steps.", "steps"),
        ("A VAE.", "1 pass"),
        ("A large language model.", "tokens × 1"),
        ("A large language model writes 300 tokens.", "300 tokens × 1"),
        (
            "A latent diffusion model in 4 denoising steps with guidance distillation and CFG.",
            "4 steps + 1 decoder pass = 5",
        ),
        ("An energy-based model sampled by 60 steps of Langevin dynamics.", "60 steps"),
        (
            "A diffusion model with Heun's second-order Heun solver in 18 steps.",
            "18 steps × 2 (two evaluations a step) = 36",
        ),
    ] {
        assert_eq!(read(text).passes.to_string(), passes, "{text}");
    }
}

#[test]
fn unusual_claims_are_reported_with_what_they_probably_are() {
    let claims = |text: &str| read(text).unusual.iter().map(|unusual| unusual.claim).collect::<Vec<_>>();
    assert_eq!(claims("A diffusion model that draws in a single step."), [Claim::OneStep]);
    assert_eq!(claims("An autoregressive model that decodes all tokens in parallel."), [Claim::Parallel]);
    assert_eq!(claims("A GAN with an exact likelihood."), [Claim::ExactLikelihood]);
    assert_eq!(claims("A diffusion model in 50 steps, and a normalizing flow with exact likelihood."), []);
    assert!(read("A one-step diffusion model.").unusual[0].probably.contains("distilled"));
}

#[test]
fn what_is_implied_is_not_stated() {
    let reading = read("A diffusion model.");
    assert_eq!((reading.components[0].aim, reading.components[0].aim_stated), (Aim::NoiseMse, false));
    assert_eq!(
        (reading.components[0].procedure, reading.components[0].procedure_stated),
        (Procedure::MultiStep, false)
    );
    for missing in ["objective", "sampling", "number of steps", "conditioned", "likelihood"] {
        assert!(reading.not_stated.iter().any(|said| said.contains(missing)), "{missing}");
    }
    let full = read(
        "A text-conditional network predicts the noise; 20 DDIM steps; log-densities by the probability-flow ODE.",
    );
    assert_eq!(full.not_stated, Vec::<String>::new());
    assert_eq!(full.likelihood, Some(LikelihoodKind::OdeEstimate));
}

#[test]
fn fine_tuning_by_a_game_is_a_stage() {
    let reading = read("A diffusion model, fine-tuned against a discriminator in a second stage.");
    let stages: Vec<_> = reading.components.iter().map(|part| (part.paradigm, part.stage)).collect();
    assert_eq!(stages, [(Paradigm::Diffusion, Stage::Training), (Paradigm::Adversarial, Stage::FineTuning)]);
    assert_eq!(reading.likelihood, Some(LikelihoodKind::Unavailable));
}

#[test]
fn every_rule_of_the_table_can_be_met() {
    for rule in Rules::standard().iter() {
        assert!(!rule.source.is_empty(), "{}", rule.pattern);
        // The first form of the pattern, written out.
        let mut words = String::new();
        let mut rest = rule.pattern.as_str();
        while let Some(first) = rest.chars().next() {
            let group = match first {
                '(' | '[' => {
                    let (group, after) = rest[1..].split_once([')', ']']).expect("it is closed");
                    rest = after;
                    group.split('/').next().unwrap_or_default()
                }
                _ => {
                    let (plain, after) = rest.split_at(rest.find(['(', '[']).unwrap_or(rest.len()));
                    rest = after;
                    plain
                }
            };
            words += &format!(" {group} ");
        }
        let text = words.replace("...", " ").replace('#', "7").replace("* ", " ");
        let alone: Rules =
            format!("{} | outside = simulation | 1", rule.pattern).parse().expect("it stands in the table");
        assert_eq!(alone.read(&text).outside, Some(Outside::Simulation), "{}: {text}", rule.pattern);
    }
}

#[test]
fn faulty_rules_are_refused_with_their_line() {
    for (table, line) in [
        ("a b | diffusion", 1),
        ("\n\nword | difusion | 1", 3),
        ("word | diffusion | heavy", 1),
        ("word | diffusion | -1", 1),
        ("(a / b | diffusion | 1", 1),
        ("(a / [b]) | diffusion | 1", 1),
        ("... word | diffusion | 1", 1),
        ("ab* | diffusion | 1", 1),
        ("| diffusion | 1", 1),
        ("word | outside = nowhere | 1", 1),
    ] {
        assert_eq!(table.parse::<Rules>().expect_err(table).line, line, "{table}");
    }
}

#[test]
fn any_bytes_are_read() {
    let mut rng = seeded(0);
    let practice = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reading/practice.txt")).unwrap();
    for round in 0..300 {
        // A piece of a real text, with bytes changed, or noise alone.
        let start = rng.random_range(0..practice.len() - 400);
        let mut bytes = practice[start..start + 400].to_vec();
        let changed = if round % 3 == 0 { 400 } else { 12 };
        for _ in 0..changed {
            let at = rng.random_range(0..400);
            bytes[at] = rng.random();
        }
        let text = String::from_utf8_lossy(&bytes);
        let reading = read(&text);
        check_spans(&text, &reading);
        assert!(!reading.card(&text).is_empty());
    }
    for text in [
        "'",
        "s's",
        "1.",
        "1,0",
        "1,000,",
        "-–—",
        "\u{200b}",
        "a\u{301}'s",
        "İ",
        "9".repeat(400).as_str(),
        "1e999 steps DDIM",
    ] {
        check_spans(text, &read(text));
    }
}

#[test]
fn questions_name_measurements_that_exist() {
    let results = include_str!("../../docs/RESULTS.md");
    for question in questions() {
        for block in question.measured {
            assert!(results.contains(&format!("<!-- {block}: begin -->")), "{}: {block}", question.asks);
        }
        let example = question
            .command
            .split("--example ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next())
            .expect("an example");
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(example);
        assert!(folder.join("main.rs").exists() || folder.with_extension("rs").exists(), "{example}");
    }
}
