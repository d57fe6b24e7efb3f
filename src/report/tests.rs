use crate::error::{DataError, FileError};
use std::collections::HashMap;

use ndarray::{Array2, Array3, ArrayView2, array};

use super::labels::{Box4, place};
use super::*;
use crate::map::{Card, Objective, Paradigm};
use crate::metrics::Floor;
use crate::model::*;
use crate::worlds::Toy;
use crate::{Gan, GanConfig, GaussianMixture, GaussianMixtureConfig, seeded};

fn moons() -> (Toy, Array2<f32>, DensityMap) {
    let moons = Toy::moons(0.1).unwrap();
    let x = moons.sample(300, &mut seeded(0));
    let map = DensityMap::of_toy(&moons, Window::around(x.view()).unwrap(), 48).unwrap();
    (moons, x, map)
}

fn curve(name: &str, points: &[(f64, f64)]) -> Curve {
    Curve { name: name.into(), points: points.to_vec() }
}

fn floor(mean: f64) -> Floor {
    Floor { mean, sd: 0.2 * mean, pairs: 20, draws: 3 }
}

fn report() -> TrainReport {
    let fall = |k: usize| 3.0 * (-(k as f64) / 200.0).exp();
    TrainReport {
        loss: (0..1000).map(fall).collect(),
        parts: vec![("one", (0..1000).map(|k| 0.5 * fall(k)).collect()), ("two", vec![0.25; 1000])],
        validation: (1..=10).map(|k| (100 * k, fall(100 * k))).collect(),
        stop: Stop::Completed,
    }
}

fn points(n: usize) -> Vec<Tradeoff<'static>> {
    let all = [Paradigm::Autoregressive, Paradigm::Diffusion, Paradigm::Energy];
    let point = |k: usize| Tradeoff {
        name: "a model by name",
        paradigm: all[k % 3],
        micros: 1.3f64.powi(k as i32 % 11),
        quality: 0.001 * (1 + k % 7) as f64,
    };
    (0..n).map(point).collect()
}

/// One of each.
fn album() -> Vec<(&'static str, Picture)> {
    let (_, x, map) = moons();
    let half = x.slice(ndarray::s![..100, ..]);
    let ways = Array3::from_shape_fn((20, 6, 2), |(n, s, d)| (n as f32 / 20.0 - 0.5) * s as f32 + d as f32);
    let panels: Vec<_> = (1..=4).map(|k| (format!("{k} < 5 & \"more\""), half)).collect();
    let curves =
        [curve("DDIM", &[(5.0, 0.2), (10.0, 0.05), (100.0, 0.01)]), curve("DDPM", &[(1000.0, 0.02)])];
    vec![
        ("scatter", scatter("rows", x.view(), Some(&map)).unwrap()),
        ("scatter alone", scatter("rows", x.view(), None).unwrap()),
        ("heat map", heat_map("density", &map).unwrap()),
        ("trajectories", trajectories("ways", ways.view(), Some(&map)).unwrap()),
        ("snapshots", snapshots("drift", &panels, Some(&map)).unwrap()),
        ("training", training_curves("training", Objective::Elbo, &report()).unwrap()),
        ("tradeoffs", tradeoffs("trade-offs", "distance", &points(7), Some(floor(0.0007))).unwrap()),
        ("many tradeoffs", tradeoffs("trade-offs", "distance", &points(24), None).unwrap()),
        ("steps", steps_vs_quality("steps", "distance", &curves, Some(floor(0.005))).unwrap()),
        ("images", diagonals()),
        ("margins", margins("figures", &["good", "fair", "bad"], &figures()).unwrap()),
        ("map", landmarks()),
    ]
}

/// Two models and their composition.
fn landmarks() -> Picture {
    let landmark =
        |card: Card| Landmark { card, measured: vec!["a figure & another".into(), "a third".into()] };
    let vae = Card::new("VAE", Objective::Elbo, crate::map::Sampling::OnePass);
    let gan = Card::new("WGAN-GP", Objective::WassersteinGp, crate::map::Sampling::OnePass);
    let chain = Card::new("chain", Objective::ChainRuleNll, crate::map::Sampling::Sequential { dim: 9 });
    let both = Card::composed("VAE + chain", vec![vae.clone(), chain]);
    map("map", &[("alone", vec![landmark(vae), landmark(gan)]), ("together", vec![landmark(both)])]).unwrap()
}

/// Within a bound of two ends, across an end, and outside.
fn figures() -> [Margin<'static>; 3] {
    let figure = |name, value, bound, group| Margin { name, value, bound, group };
    [
        figure("in the middle", (1.0, 0.05), (0.9, 1.1), 0),
        figure("at the end", (0.5, 0.1), (0.5, f64::INFINITY), 1),
        figure("far outside", (1e9, 0.0), (f64::NEG_INFINITY, 0.0), 2),
    ]
}

/// A diagonal and the other, of two pixels each.
fn diagonals() -> Picture {
    let x = array![[-3.0, 1.0, 9.0, 0.0], [1.0, 0.0, 0.0, 1.0]];
    let lines = [("a model", x.view()), ("the other", x.slice(ndarray::s![..;-1, ..]))];
    images("diagonals", &["up", "down"], &lines, (2, 2), (0.0, 1.0)).unwrap()
}

/// How often each class is drawn, and how many subpaths its paths have.
fn marks(picture: &Picture) -> HashMap<String, (usize, usize)> {
    let document = roxmltree::Document::parse(picture.svg()).unwrap();
    let mut all = HashMap::new();
    for path in document.descendants().filter(|node| node.has_tag_name("path")) {
        let entry: &mut (usize, usize) = all.entry(path.attribute("class").unwrap_or("").into()).or_default();
        entry.0 += 1;
        entry.1 += path.attribute("d").unwrap().matches('m').count();
    }
    all
}

#[test]
fn pictures_are_xml_with_a_name_and_finite_numbers() {
    for (name, picture) in album() {
        let document = roxmltree::Document::parse(picture.svg()).unwrap();
        let root = document.root_element();
        assert_eq!(root.attribute("role"), Some("img"), "{name}");
        let text = |tag| root.children().find(|node| node.has_tag_name(tag)).and_then(|node| node.text());
        assert_eq!(text("title"), Some(picture.title()), "{name}");
        assert_eq!(text("desc"), Some(picture.description()), "{name}");
        assert!(picture.description().len() > 15, "{name}");
        for node in document.descendants() {
            for attribute in node.attributes() {
                let value = attribute.value();
                assert!(!value.contains("NaN") && !value.contains("inf"), "{name}: {value}");
                // A page may hold many pictures.
                assert_ne!(attribute.name(), "id", "{name}");
                if ["x", "y", "width", "height"].contains(&attribute.name()) {
                    assert!(value.parse::<f64>().unwrap().abs() < 2000.0, "{name}: {value}");
                }
            }
        }
        assert!(picture.svg().len() < 60_000, "{name}: {} bytes", picture.svg().len());
    }
}

#[test]
fn pictures_hold_a_mark_for_each_thing() {
    let all: HashMap<_, _> = album().into_iter().map(|(name, picture)| (name, marks(&picture))).collect();
    // The legend's key has three dots, or one mark of each kind.
    assert_eq!(all["scatter"]["q-dots q0"], (2, 300 + 3));
    assert_eq!(all["scatter alone"]["q-dots q0"], (2, 300 + 3));
    assert!(!all["scatter alone"].contains_key("q-land"));
    // Regions of 50, 90 and 99 %, and the two boxes of the key.
    assert_eq!(all["scatter"]["q-land"].0, 3 + 2);
    // Steps of color above the lowest, which is the ground.
    assert_eq!(all["heat map"][""].0, 23);
    assert_eq!(all["trajectories"]["q-thin q6"], (2, 20 + 1));
    assert_eq!(all["trajectories"]["q-open q1"], (2, 20 + 1));
    assert_eq!(all["trajectories"]["q-mark q0"], (2, 20 + 1));
    assert_eq!(all["snapshots"]["q-dots q0"], (5, 4 * 100 + 3));
    assert_eq!(all["steps"]["q-mark q0"].0, 3 + 1);
    assert_eq!(all["steps"]["q-mark q1"].0, 1 + 1);
    let of = |name: &str| -> usize {
        all[name].iter().filter(|(class, _)| class.starts_with("q-mark")).map(|(_, n)| n.0).sum()
    };
    assert_eq!((of("tradeoffs"), of("many tradeoffs")), (7 + 3, 24 + 3));
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    for ((name, one), (_, other)) in album().iter().zip(&album()) {
        assert_eq!(one, other, "{name}");
        assert_eq!(one.png(200).unwrap(), other.png(200).unwrap(), "{name}");
    }
}

fn pixels(png: &[u8]) -> ((u32, u32), Vec<u8>) {
    let mut reader = ::png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
    let mut buffer = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut buffer).unwrap();
    ((info.width, info.height), buffer)
}

#[test]
fn a_png_has_the_size_asked_for_and_shows_the_picture() {
    for (name, picture) in album() {
        let (width, height) = picture.size();
        let ((w, h), rgba) = pixels(&picture.png(300).unwrap());
        assert_eq!(w, 300, "{name}");
        assert!((f64::from(h) - 300.0 * height / width).abs() <= 0.5, "{name}: {h}");
        assert!(rgba.chunks_exact(4).all(|pixel| pixel[3] == 255), "{name}: pixels one sees through");
        // In the light theme, with ink on it.
        assert_eq!(rgba[..3], [255; 3], "{name}");
        let dark = rgba.chunks_exact(4).filter(|pixel| pixel[..3].iter().all(|&v| v < 190)).count();
        assert!(dark > 150, "{name}: {dark} dark pixels");
    }
}

#[test]
fn images_ink_each_pixel_that_has_ink() {
    let picture = diagonals();
    let (_, pixels) = pixels(&picture.png(picture.size().0 as u32).unwrap());
    // Nothing else is quite black: four images with two pixels of four by four.
    let black = pixels.chunks_exact(4).filter(|pixel| pixel[..3] == [0, 0, 0]).count();
    assert_eq!(black, 4 * 2 * 16);
    let x = array![[0.0, 0.25, 0.5, 1.0f32]];
    let line = |side, ink| images("grays", &["one"], &[("a row", x.view())], side, ink);
    let svg = line((1, 4), (0.0, 1.0)).unwrap();
    for gray in ["#c0c0c0", "#808080", "#000000"] {
        assert!(svg.svg().contains(gray), "{gray} in {}", svg.svg());
    }
    assert!(matches!(line((2, 3), (0.0, 1.0)), Err(Error::Data(DataError::Shape { .. }))));
    assert!(matches!(line((1, 4), (1.0, 1.0)), Err(Error::Config { field: "ink", .. })));
    assert!(matches!(line((0, 4), (0.0, 1.0)), Err(Error::Config { field: "side", .. })));
    let two = images("grays", &["one", "two"], &[("a row", x.view())], (2, 2), (0.0, 1.0));
    assert!(matches!(two, Err(Error::Config { field: "a line's rows", .. })));
}

#[test]
fn text_is_drawn_from_the_crates_own_font() {
    let draw = |title: &str| pixels(&Draft::new(title, 480.0).finish().png(480).unwrap()).1;
    let dark = |pixels: &[u8]| pixels.chunks_exact(4).filter(|pixel| pixel[0] < 128).count();
    // Each character that the pictures write has a shape, and not that of another.
    let mut seen: HashMap<Vec<u8>, char> = HashMap::new();
    for c in "0189abgxyzABZ−+±×·–,.:%()→µλσηε₁₂⁰⁻⁹²³₀<>&".chars() {
        let drawn = draw(&c.to_string());
        assert!(dark(&drawn) > 0, "{c} is not drawn");
        assert_eq!(seen.insert(drawn, c), None, "{c}");
    }
}

#[test]
fn contours_hold_their_share_of_the_density() {
    let normal =
        Toy::mixture(&[1.0], array![[0.0, 0.0]].view(), array![[[1.0, 0.0], [0.0, 1.0]]].view()).unwrap();
    let map = DensityMap::of_toy(&normal, Window { x: (-5.0, 5.0), y: (-5.0, 5.0) }, 200).unwrap();
    let peak = -std::f64::consts::TAU.ln();
    // Of a plane normal density, a share q lies where ln p is above its peak by less than −ln(1 − q).
    for (share, level) in [0.5f64, 0.9, 0.99].iter().zip(map.levels_holding(&[0.5, 0.9, 0.99])) {
        let expected = peak + (1.0 - share).ln();
        assert!((level - expected).abs() < 0.01, "{share}: {level}, expected {expected}");
    }
}

#[test]
fn a_contour_runs_where_the_density_has_its_level() {
    let normal =
        Toy::mixture(&[1.0], array![[1.0, -2.0]].view(), array![[[1.0, 0.0], [0.0, 1.0]]].view()).unwrap();
    let window = Window { x: (-3.0, 5.0), y: (-6.0, 2.0) };
    let map = DensityMap::of_toy(&normal, window, 48).unwrap();
    let draft = Draft::new("", 480.0);
    let frame = density::plane_frame(&draft, window, 0.0);
    let level = -std::f64::consts::TAU.ln() - 2.0;
    let [path] = &map.rings(&frame, &[level])[..] else { panic!("one level") };
    // A circle of radius 2 about (1, −2), in relative coordinates of the frame.
    let numbers: Vec<f64> = (path.d.replace(['m', 'l', 'z'], " ").replace('-', " -").split_whitespace())
        .map(|number| number.parse().unwrap())
        .collect();
    let (center, edge) = (frame.at((1.0, -2.0)), frame.at((3.0, -2.0)));
    let mut at = (0.0, 0.0);
    assert!(numbers.len() > 40);
    for step in numbers.chunks_exact(2) {
        at = (at.0 + step[0], at.1 + step[1]);
        let radius = (at.0 - center.0).hypot(at.1 - center.1);
        assert!((radius / (edge.0 - center.0) - 1.0).abs() < 0.01, "{radius}");
    }
}

#[test]
fn edges_where_the_density_falls_to_nothing_are_drawn() {
    let board = Toy::checkerboard();
    let window = Window { x: (-4.5, 4.5), y: (-4.5, 4.5) };
    let map = DensityMap::of_toy(&board, window, 90).unwrap();
    let picture = scatter("board", board.sample(50, &mut seeded(0)).view(), Some(&map)).unwrap();
    // One level, as the density has one: the squares meet at corners.
    let land = marks(&picture)["q-land"];
    assert!(land.0 == 1 + 2 && land.1 >= 2 + 2, "{land:?}");
}

#[test]
fn no_label_lies_over_another_or_over_a_mark() {
    let bounds = Box4 { left: 60.0, top: 40.0, right: 700.0, bottom: 500.0 };
    let mut rng = seeded(3);
    use rand::Rng;
    for crowd in [20.0, 80.0, 300.0] {
        let at: Vec<(f64, f64)> = (0..25)
            .map(|_| {
                (380.0 + rng.random_range(-crowd..crowd), 270.0 + rng.random_range(-0.6 * crowd..0.6 * crowd))
            })
            .collect();
        let marks: Vec<_> = at.iter().map(|&at| (at, "DPM-Solver++-20")).collect();
        let line = Box4 { top: 269.0, bottom: 271.0, ..bounds };
        let boxes = place(&marks, bounds, Some(line));
        for (k, one) in boxes.iter().enumerate() {
            assert!(one.left >= bounds.left && one.right <= bounds.right && one.bottom <= bounds.bottom);
            for other in boxes[k + 1..].iter().chain([&line]) {
                assert_eq!(one.overlap(other), 0.0, "crowd {crowd}");
            }
            for &(x, y) in &at {
                let mark = Box4 { left: x - 5.0, top: y - 5.0, right: x + 5.0, bottom: y + 5.0 };
                assert_eq!(one.overlap(&mark), 0.0, "crowd {crowd}");
            }
        }
    }
}

#[test]
fn what_xml_cannot_say_is_left_out() {
    let title = "a\u{0}b\u{b}<c> & \u{ffff}\"d\"\n";
    let picture = scatter(title, array![[0.0f32, 1.0], [1.0, 0.0]].view(), None).unwrap();
    let document = roxmltree::Document::parse(picture.svg()).unwrap();
    let named = document.descendants().find(|node| node.has_tag_name("title")).unwrap();
    assert_eq!(named.text(), Some("ab<c> & \"d\" "));
    picture.png(100).unwrap();
}

#[test]
fn what_leaves_a_frame_is_told() {
    let calm =
        TrainReport { loss: vec![1.0, 2.0, 3.0], parts: Vec::new(), validation: vec![(3, 2.0)], ..report() };
    let picture = training_curves("calm", Objective::ChainRuleNll, &calm).unwrap();
    assert_eq!(
        picture.description(),
        "Loss over 3 steps of training, 3.000 at the end; on held-out rows 2.000 (nats per row, columns standardized)."
    );
    assert!(!picture.svg().contains("Beyond"));

    // The first 7 steps are one point, which alone is beyond the scale of the rest.
    let wild = |k: usize| if k < 7 { 512.0 } else { 1.0 + (k / 7 % 7) as f64 / 7.0 };
    let held_out = (1..=10).map(|k| (100 * k, if k == 1 { -77.77 } else { 1.0 })).collect();
    let wild = TrainReport {
        loss: (0..1000).map(wild).collect(),
        parts: Vec::new(),
        validation: held_out,
        stop: Stop::Completed,
    };
    let picture = training_curves("wild", Objective::ChainRuleNll, &wild).unwrap();
    let told = "Beyond the frame: loss to 512 (until step 7), held-out rows to −77.8 (until step 100).";
    assert!(picture.description().ends_with(told), "{}", picture.description());
    assert!(picture.svg().contains("(until step 7)"), "told to those who see it, too");

    let (_, mut x, map) = moons();
    let picture = scatter("rows", x.view(), Some(&map)).unwrap();
    let all = "Scatter of 300 rows over the regions that hold 50, 90 and 99 % of the truth.";
    assert_eq!(picture.description(), all);
    x[[0, 0]] = 1e3;
    let picture = scatter("rows", x.view(), Some(&map)).unwrap();
    assert_eq!(picture.description(), all.replace('.', "; 1 of them outside the frame."));
    assert!(picture.svg().contains(">300 rows, 1 of them outside the frame<"));
}

#[test]
fn models_at_the_floor_are_not_ranked() {
    let description = |floor| {
        let points = [("a", 0.0005), ("b", 0.001), ("c", 0.0013), ("d", 0.5)]
            .map(|(name, quality)| Tradeoff { name, quality, ..points(1)[0].clone() });
        tradeoffs("", "distance", &points, floor).unwrap().description().to_string()
    };
    // The reach is 0.001 · (1 + 2 · 0.2 · √(1/3 + 1/20)) = 0.00125.
    let told = description(Some(floor(0.001)));
    assert!(told.ends_with("At the floor, as a perfect sampler would be: a, b."), "{told}");
    for none in [None, Some(floor(0.0001))] {
        assert!(description(none).ends_with("Nearest to the truth: a, 0.00050."));
    }
}

#[test]
fn a_vaes_training_explains_its_warm_up() {
    let explained = |objective| {
        let picture = training_curves("", objective, &report()).unwrap();
        assert!(picture.svg().contains(objective.loss_unit()), "{objective}");
        picture.svg().contains("During the warm-up") && picture.description().contains("During the warm-up")
    };
    assert!(explained(Objective::Elbo) && !explained(Objective::WassersteinGp));
}

#[test]
fn odd_rows_make_pictures_too() {
    for x in [
        array![[0.0f32, 0.0]],
        array![[1.0f32, 5.0], [1.0, 5.0]],
        array![[f32::MAX, f32::MIN], [-1.0, 1.0]],
        array![[1e-30f32, 1e30], [2e-30, 1e30]],
    ] {
        let picture = scatter("odd", x.view(), None).unwrap();
        roxmltree::Document::parse(picture.svg()).unwrap();
        picture.png(64).unwrap();
    }
    let flat = TrainReport { loss: vec![f64::MAX, -f64::MAX, 0.0], ..report() };
    training_curves("wild", Objective::ChainRuleNll, &flat).unwrap().png(64).unwrap();
    let flat =
        TrainReport { loss: vec![1.0], parts: Vec::new(), validation: Vec::new(), stop: Stop::Interrupted };
    training_curves("one step", Objective::ChainRuleNll, &flat).unwrap().png(64).unwrap();
    let far = [curve("far", &[(1e-300, 1e300), (1e300, 1e-300)])];
    steps_vs_quality("far", "distance", &far, None).unwrap().png(64).unwrap();
}

/// A model whose card and dim are as told.
struct Odd(usize, f64);

impl Distribution for Odd {
    fn card(&self) -> Card {
        GaussianMixture::new(GaussianMixtureConfig::default()).unwrap().card()
    }

    fn dim(&self) -> usize {
        self.0
    }

    fn sample(&self, _: usize, _: &SampleOptions, _: &mut dyn rand::RngCore) -> Result<Samples> {
        unreachable!("no density draws")
    }

    fn sample_each(
        &self,
        _: u64,
        _: &SampleOptions,
        _: &mut dyn rand::RngCore,
        _: &mut dyn FnMut(ArrayView2<f32>) -> std::ops::ControlFlow<()>,
    ) -> Result<()> {
        unreachable!("no density draws")
    }

    fn log_likelihood(&self, x: ArrayView2<f32>, _: &LikelihoodOptions) -> Result<LogLikelihood> {
        Ok(LogLikelihood::Exact(ndarray::Array1::from_elem(x.nrows(), self.1)))
    }
}

impl Generative for Odd {
    fn num_params(&self) -> usize {
        0
    }

    fn train(
        &mut self,
        _: &Dataset,
        _: &TrainOptions,
        _: &mut dyn rand::RngCore,
        _: &mut dyn Observer,
    ) -> Result<TrainReport> {
        unreachable!("no picture trains")
    }
}

#[test]
fn bad_input_is_a_typed_error() {
    let (moons, x, map) = moons();
    let window = map.window();
    let options = LikelihoodOptions::default();
    let of = |model: &dyn Generative| DensityMap::of_model(model, window, 8, &options);

    let gan = Gan::new(GanConfig::default(), &mut seeded(0)).unwrap();
    let error = of(&gan).unwrap_err();
    assert!(matches!(&error, Error::NoLikelihood { model } if model == "WGAN-GP"), "{error}");
    assert!(matches!(of(&Odd(3, 0.0)), Err(Error::Data(DataError::Shape { got, .. })) if got == [3]));
    assert!(matches!(of(&Odd(2, f64::NAN)), Err(Error::Data(DataError::NonFinite { .. }))));
    assert!(matches!(of(&Odd(2, f64::INFINITY)), Err(Error::Data(DataError::NonFinite { .. }))));
    assert!(matches!(of(&Odd(2, f64::NEG_INFINITY)), Err(Error::Config { field: "Window", .. })));
    heat_map("flat", &of(&Odd(2, 0.0)).unwrap()).unwrap();

    for window in [
        Window { x: (0.0, 0.0), y: (0.0, 1.0) },
        Window { x: (1.0, 0.0), y: (0.0, 1.0) },
        Window { x: (f64::NAN, 1.0), y: (0.0, 1.0) },
        Window { x: (0.0, 1e300), y: (0.0, 1.0) },
        Window { x: (1e9, 1e9 + 1.0), y: (0.0, 1.0) },
    ] {
        let error = DensityMap::of_toy(&moons, window, 8).unwrap_err();
        assert!(matches!(error, Error::Config { field: "Window::x", .. }), "{window:?}: {error}");
    }
    for cells in [0, 1, 2049, usize::MAX] {
        let error = DensityMap::of_toy(&moons, window, cells).unwrap_err();
        assert!(matches!(error, Error::Config { field: "cells", .. }), "{error}");
    }
    let away = Window { x: (90.0, 91.0), y: (90.0, 91.0) };
    assert!(matches!(
        DensityMap::of_toy(&Toy::checkerboard(), away, 8),
        Err(Error::Config { field: "Window", .. })
    ));

    let three = Array2::<f32>::zeros((4, 3));
    assert!(matches!(scatter("", three.view(), None), Err(Error::Data(DataError::Shape { .. }))));
    assert!(matches!(
        scatter("", Array2::zeros((0, 2)).view(), None),
        Err(Error::Data(DataError::TooFewRows { .. }))
    ));
    let hole = array![[0.0f32, 1.0], [f32::NAN, 0.0]];
    assert!(matches!(
        scatter("", hole.view(), Some(&map)),
        Err(Error::Data(DataError::NonFinite { row: 1, .. }))
    ));
    assert!(matches!(snapshots("", &[], None), Err(Error::Config { field: "panels", .. })));
    let panels = vec![(String::new(), three.view())];
    assert!(matches!(snapshots("", &panels, None), Err(Error::Data(DataError::Shape { .. }))));
    for shape in [(3, 1, 2), (3, 4, 3)] {
        assert!(matches!(
            trajectories("", Array3::zeros(shape).view(), None),
            Err(Error::Data(DataError::Shape { .. }))
        ));
    }
    assert!(matches!(
        trajectories("", Array3::zeros((0, 4, 2)).view(), None),
        Err(Error::Data(DataError::TooFewRows { .. }))
    ));

    let empty = TrainReport { loss: Vec::new(), ..report() };
    assert!(matches!(
        training_curves("", Objective::ChainRuleNll, &empty),
        Err(Error::Data(DataError::TooFewRows { .. }))
    ));
    let broken = TrainReport { loss: vec![1.0, f64::NAN], ..report() };
    assert!(matches!(
        training_curves("", Objective::ChainRuleNll, &broken),
        Err(Error::Data(DataError::NonFinite { row: 1, .. }))
    ));
    let broken = TrainReport { validation: vec![(1, f64::INFINITY)], ..report() };
    assert!(matches!(
        training_curves("", Objective::ChainRuleNll, &broken),
        Err(Error::Data(DataError::NonFinite { .. }))
    ));

    assert!(matches!(tradeoffs("", "d", &[], None), Err(Error::Data(DataError::TooFewRows { .. }))));
    let zero = [Tradeoff { quality: 0.0, ..points(1)[0].clone() }];
    assert!(matches!(tradeoffs("", "d", &zero, None), Err(Error::Config { field: "Tradeoff::quality", .. })));
    assert!(matches!(
        tradeoffs("", "d", &points(3), Some(floor(f64::NAN))),
        Err(Error::Data(DataError::NonFinite { .. }))
    ));
    assert!(matches!(steps_vs_quality("", "d", &[], None), Err(Error::Data(DataError::TooFewRows { .. }))));
    let negative = [curve("", &[(-1.0, 1.0)])];
    assert!(matches!(steps_vs_quality("", "d", &negative, None), Err(Error::Config { .. })));

    let picture = scatter("", x.view(), None).unwrap();
    for width in [0, 8193] {
        assert!(matches!(picture.png(width), Err(Error::Config { field: "width", .. })));
    }
    assert!(matches!(picture.save("picture.jpg"), Err(Error::Config { field: "path", .. })));
    assert!(matches!(picture.save("no such folder/picture.svg"), Err(Error::File(FileError::Io { .. }))));
}

#[test]
fn a_picture_is_saved_by_its_ending() {
    let (_, x, _) = moons();
    let picture = scatter("saved", x.view(), None).unwrap();
    let folder = std::env::temp_dir().join(format!("quadrivium-pictures-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    picture.save(folder.join("a.svg")).unwrap();
    picture.save(folder.join("a.png")).unwrap();
    assert_eq!(std::fs::read_to_string(folder.join("a.svg")).unwrap(), picture.svg());
    assert_eq!(pixels(&std::fs::read(folder.join("a.png")).unwrap()).0.0, 960);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn margins_are_to_the_side_of_the_line_that_their_figures_are_of_the_bound() {
    let picture = margins("figures", &["good", "fair", "bad"], &figures()).unwrap();
    assert!(
        picture.description().contains("Within their bounds: in the middle. Not: at the end, far outside.")
    );
    let document = roxmltree::Document::parse(picture.svg()).unwrap();
    let of = |class: &str| {
        let path = document.descendants().find(|node| node.attribute("class") == Some(class)).unwrap();
        let start = path.attribute("d").unwrap().trim_start_matches('m').to_string();
        let end = start.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap();
        start[..end].parse::<f64>().unwrap()
    };
    // The intervals begin half a bound's half width inside, a fifth of the bound's end outside, and the figure itself outside.
    let (line, begins) = (of("q-dash"), ["q-line q0", "q-line q4", "q-line q1"].map(of));
    let unit = line - begins[2];
    for (begin, margin) in begins.into_iter().zip([0.5, -0.2, -1.0]) {
        assert!((begin - line - margin * unit).abs() < 0.2, "{begin}: {margin} units of {unit} from {line}");
    }
}

#[test]
fn margins_refuse_figures_without_a_place() {
    let [figure, ..] = figures();
    let refused = |figure: Margin<'_>| margins("figures", &["one"], &[figure]).is_err();
    assert!(!refused(figure.clone()));
    assert!(refused(Margin { value: (f64::NAN, 0.0), ..figure.clone() }));
    assert!(refused(Margin { value: (1.0, -0.1), ..figure.clone() }));
    assert!(refused(Margin { bound: (f64::NEG_INFINITY, f64::INFINITY), ..figure.clone() }));
    assert!(refused(Margin { bound: (1.0, 0.0), ..figure.clone() }));
    assert!(refused(Margin { group: 1, ..figure }));
    assert!(margins("figures", &["one"], &[]).is_err() && margins("figures", &[], &figures()).is_err());
}

#[test]
fn map_has_every_cell_of_each_card_and_its_color() {
    let picture = landmarks();
    let document = roxmltree::Document::parse(picture.svg()).unwrap();
    let texts: Vec<&str> = document
        .descendants()
        .filter(|node| node.has_tag_name("text"))
        .filter_map(|node| node.text())
        .collect();
    for text in [
        "alone",
        "together",
        "ELBO",
        "one pass",
        "lower bound",
        "Wasserstein + GP",
        "in stages",
        "a figure & another",
    ] {
        assert!(texts.contains(&text), "{text} in {texts:?}");
    }
    let marks = marks(&picture);
    for series in ["q-mark q1", "q-mark q2", "q-mark q6"] {
        assert_eq!(marks[series], (1, 1), "{series}");
    }
    assert!(map("map", &[("empty", Vec::new())]).is_err());
}
