//! Files of models: what a reader of the format sees, and what becomes of a damaged or hostile one.
#![cfg(feature = "safetensors")]

use quadrivium::error::FileError;
use quadrivium::ndarray::{Array2, array, s};
use quadrivium::persist::{self, Column, Persist, Role};
use quadrivium::prelude::*;
use quadrivium::rand::Rng;
use quadrivium::seeded;
use quadrivium::tables::Units;
use quadrivium::worlds::Toy;
use quadrivium::{
    Activation, Architecture, ComponentCount, ConditionKind, Error, Head, Mixing, NetworkSpec, Pairing,
    Sampler, Source,
};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

fn moons() -> Dataset {
    Dataset::new(Toy::moons(0.1).unwrap().sample(300, &mut seeded(1))).unwrap()
}

fn drawn(model: &dyn Generative) -> Array2<f32> {
    model.sample(20, &SampleOptions::default(), &mut seeded(5)).unwrap().x
}

/// One small model of each kind, trained a little.
fn models() -> Vec<Box<dyn Persist>> {
    let mut rng = seeded(3);
    let rng = &mut rng;
    let network = || NetworkSpec::mlp([6, 6], Activation::Silu, 3);
    let head = Head::Bins { bins: 5 };
    let autoregressive = AutoregressiveConfig { network: network(), head, ..Default::default() };
    let gan = GanConfig { generator: network(), critic: network(), ..Default::default() };
    let flow = FlowConfig { network: network(), mixing: Mixing::Permutation, ..Default::default() };
    let vae = VaeConfig { encoder: network(), decoder: network(), ..Default::default() };
    let sampler = Sampler::Ddim { steps: 4, eta: 0.0 };
    let diffusion = DiffusionConfig { network: network(), sampler, ..Default::default() };
    let energy = EnergyConfig { network: network(), ..Default::default() };
    let score = ScoreConfig { network: network(), ..Default::default() };
    let map = FlowMapConfig { network: network(), ..Default::default() };
    let pairing = Pairing::OptimalTransport { rows: 16 };
    let matching = FlowMatchingConfig { network: network(), pairing, ..Default::default() };
    let components = ComponentCount::Fixed(3);
    let mixture = GaussianMixtureConfig { components, max_iter: 5, ..Default::default() };
    let mut models: Vec<Box<dyn Persist>> = vec![
        Box::new(Autoregressive::new(autoregressive, rng).unwrap()),
        Box::new(Flow::new(flow, rng).unwrap()),
        Box::new(Vae::new(vae, rng).unwrap()),
        Box::new(Gan::new(gan, rng).unwrap()),
        Box::new(Diffusion::new(diffusion, rng).unwrap()),
        Box::new(EnergyModel::new(energy, rng).unwrap()),
        Box::new(ScoreModel::new(score, rng).unwrap()),
        Box::new(FlowMap::new(map, rng).unwrap()),
        Box::new(FlowMatching::new(matching, rng).unwrap()),
        Box::new(GaussianMixture::new(mixture).unwrap()),
        Box::new(KernelDensity::new(KernelDensityConfig::default()).unwrap()),
    ];
    for model in &mut models {
        let options = TrainOptions { steps: 2, batch: 32, ..Default::default() };
        model.train(&moons(), &options, rng, &mut NoObserver).unwrap();
    }
    models
}

/// Small models under a condition: of one column, and of two. With each, a condition for draws.
fn conditioned() -> Vec<(Box<dyn Persist>, Condition)> {
    let rng = &mut seeded(6);
    let (class, number) = (ConditionKind::Class { classes: 3 }, ConditionKind::Vector { dim: 1 });
    let (hidden, masked) = (vec![6, 6], Architecture::MaskedAutoregressive);
    let autoregressive = |dim, condition| AutoregressiveConfig {
        dim,
        condition,
        network: NetworkSpec::mlp(hidden.clone(), Activation::Silu, 3),
        ..Default::default()
    };
    let flow = |dim, condition, architecture| FlowConfig {
        dim,
        condition,
        architecture,
        network: NetworkSpec::mlp(hidden.clone(), Activation::Silu, 2),
        ..Default::default()
    };
    let mut models: Vec<Box<dyn Persist>> = vec![
        Box::new(Autoregressive::new(autoregressive(1, number), rng).unwrap()),
        Box::new(Autoregressive::new(autoregressive(2, class), rng).unwrap()),
        Box::new(Flow::new(flow(1, number, masked), rng).unwrap()),
        Box::new(Flow::new(flow(1, class, Architecture::Coupling), rng).unwrap()),
        Box::new(Flow::new(flow(2, class, Architecture::Coupling), rng).unwrap()),
    ];
    for model in &mut models {
        let rows = Dataset::new(moons().x().slice(s![.., ..model.dim()]).to_owned()).unwrap();
        let condition = match model.condition() {
            ConditionKind::Class { classes } => Condition::Class((0..300).map(|row| row % classes).collect()),
            _ => Condition::Vector(moons().x().slice(s![.., 1..]).to_owned()),
        };
        let options = TrainOptions { steps: 2, batch: 32, ..Default::default() };
        model.train(&rows.with_condition(condition).unwrap(), &options, rng, &mut NoObserver).unwrap();
    }
    let with_condition = |model: Box<dyn Persist>| match model.condition() {
        ConditionKind::Class { .. } => (model, Condition::class(2)),
        _ => (model, Condition::vector(&[0.4])),
    };
    models.into_iter().map(with_condition).collect()
}

fn header(bytes: &[u8]) -> usize {
    u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}

/// The file with its header changed, and no checksum that would tell.
fn rewrite(bytes: &[u8], change: impl Fn(&mut Value, &mut Value)) -> Vec<u8> {
    let (text, data) = bytes[8..].split_at(header(bytes));
    let mut header: Value = serde_json::from_slice(text).unwrap();
    let mut entry: Value =
        serde_json::from_str(header["__metadata__"]["quadrivium"].as_str().unwrap()).unwrap();
    entry.as_object_mut().unwrap().remove("checksum");
    change(&mut header, &mut entry);
    header["__metadata__"]["quadrivium"] = entry.to_string().into();
    let text = header.to_string().into_bytes();
    [&(text.len() as u64).to_le_bytes(), &text[..], data].concat()
}

/// The whole numbers within a config, and the lists of them, by their places.
fn counts(path: String, value: &Value) -> Vec<(String, &Value)> {
    match value {
        Value::Number(number) if number.is_u64() => vec![(path, value)],
        Value::Array(_) => vec![(path, value)],
        Value::Object(fields) => {
            fields.iter().flat_map(|(name, value)| counts(format!("{path}/{name}"), value)).collect()
        }
        _ => vec![],
    }
}

/// Bytes for a million levels of noise and a plan of as many steps, the most that a config may ask for.
const LEVELS: u64 = 1 << 26;

/// What loading says, and that it takes no more memory than such a file may.
fn load(bytes: &[u8]) -> Result<Box<dyn Persist>> {
    load_within(0, bytes)
}

/// The same with `more` bytes.
fn load_within(more: u64, bytes: &[u8]) -> Result<Box<dyn Persist>> {
    let mut loaded = None;
    let most = allocation_counter::measure(|| loaded = Some(persist::from_bytes(bytes))).bytes_max;
    // Of the default diffusion's levels and plan there are a few hundred bytes per timestep, whatever the file.
    let limit = 30 * bytes.len() as u64 + 500_000 + more;
    assert!(most < limit, "{most} bytes of memory for a file of {}", bytes.len());
    loaded.unwrap()
}

#[test]
fn the_reference_implementation_reads_the_files() {
    for model in models() {
        let bytes = model.to_bytes().unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let entry: Value =
            serde_json::from_str(&metadata.metadata().as_ref().unwrap()["quadrivium"]).unwrap();
        assert_eq!(entry["format"], json!(persist::FORMAT));
        assert_eq!(entry["model"]["config"]["dim"], json!(2));
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert!(file.len() >= 3);
        // What it writes from that is the same model, in whatever order it does.
        let metadata = Some(metadata.metadata().clone().unwrap().into_iter().collect());
        let again = safetensors::serialize(file.iter(), metadata).unwrap();
        assert_eq!(drawn(load(&again).unwrap().as_ref()), drawn(model.as_ref()));
    }
    let vae = Vae::new(
        VaeConfig {
            encoder: NetworkSpec::mlp([5], Activation::Tanh, 4),
            decoder: NetworkSpec::mlp([5], Activation::Tanh, 4),
            ..Default::default()
        },
        &mut seeded(0),
    )
    .unwrap();
    let bytes = vae.to_bytes().unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for prefix in ["", "training."] {
        let weight = file.tensor(&format!("{prefix}decoder.1.weight")).unwrap();
        assert_eq!(weight.shape(), [18, 5]);
    }
}

#[test]
fn a_file_survives_the_disk_and_replaces_the_old_one() {
    let folder = std::env::temp_dir().join(format!("quadrivium-persist-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("model.safetensors");
    for model in models() {
        persist::save(model.as_ref(), &path).unwrap();
        assert_eq!(drawn(persist::load(&path).unwrap().as_ref()), drawn(model.as_ref()));
    }
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["model.safetensors"], "no temporary file is left");
    // The last was a kernel density.
    let error = Vae::load(&path).unwrap_err();
    assert!(error.to_string().contains("\"kernel_density\": expected \"vae\""), "{error}");
    assert!(matches!(Vae::load(folder.join("none")), Err(Error::File(FileError::Io { .. }))));
    let vae = Vae::new(VaeConfig::default(), &mut seeded(0)).unwrap();
    assert!(matches!(vae.save(folder.join("no/such/folder")), Err(Error::File(FileError::Io { .. }))));
    assert!(matches!(vae.save(&folder), Err(Error::File(FileError::Io { .. }))));
    let left = std::fs::read_dir(std::env::temp_dir()).unwrap();
    let prefix = format!(".quadrivium-persist-{}", std::process::id());
    assert!(!left.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)));

    // A file that goes on for ever, and one whose first bytes announce more than there is.
    std::fs::write(&path, [&1e6f64.to_le_bytes()[..], b"{}"].concat()).unwrap();
    assert!(matches!(Vae::load(&path), Err(Error::File(FileError::Format { .. }))));
    if cfg!(target_os = "linux") {
        assert!(matches!(Vae::load("/dev/zero"), Err(Error::File(FileError::Format { .. }))));
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_damaged_file_is_refused_or_changes_nothing() {
    let mut rng = seeded(9);
    for model in models() {
        let bytes = model.to_bytes().unwrap();
        let (end, rows) = (8 + header(&bytes), drawn(model.as_ref()));
        let check = |bytes: &[u8], what: &str| match load(bytes) {
            // Spaces at the end of a header may be other spaces.
            Ok(loaded) => assert_eq!(drawn(loaded.as_ref()), rows, "{what}"),
            Err(Error::File(FileError::Format { .. }) | Error::File(FileError::FormatVersion { .. })) => {}
            Err(error) => panic!("{what}: {error}"),
        };
        let mut damaged = bytes.clone();
        for at in 0..end {
            damaged[at] ^= 1 << rng.random_range(0..8);
            check(&damaged, &format!("bit of byte {at}"));
            damaged[at] = rng.random();
            check(&damaged, &format!("byte {at}"));
            damaged[at] = bytes[at];
        }
        for _ in 0..200 {
            let at = rng.random_range(end..bytes.len());
            damaged[at] ^= 1 << rng.random_range(0..8);
            assert!(
                matches!(load(&damaged), Err(Error::File(FileError::Format { .. }))),
                "a bit of the numbers, byte {at}"
            );
            damaged[at] = bytes[at];
        }
        for len in (0..200).map(|k| k * bytes.len() / 200).chain(bytes.len() - 9..bytes.len()) {
            assert!(
                matches!(load(&bytes[..len]), Err(Error::File(FileError::Format { .. }))),
                "the first {len} bytes"
            );
        }
        // What is cut off, or added, tells how long the whole file is.
        let whole = format!("(a file of {} bytes in all)", bytes.len());
        for wrong in [&bytes[..bytes.len() - 1], &[&bytes[..], b"0"].concat()] {
            assert!(
                matches!(load(wrong), Err(Error::File(FileError::Format { what })) if what.ends_with(&whole))
            );
        }
    }
    for len in [0, 1, 7, 8, 9, 100, 1000] {
        let noise: Vec<u8> = (0..len).map(|_| rng.random()).collect();
        assert!(matches!(load(&noise), Err(Error::File(FileError::Format { .. }))));
        assert!(matches!(load(&vec![b'{'; len]), Err(Error::File(FileError::Format { .. }))));
    }
}

#[test]
fn every_bit_of_a_file_with_columns_counts() {
    let config = GaussianMixtureConfig { components: ComponentCount::Fixed(1), ..Default::default() };
    let mut model = GaussianMixture::new(config).unwrap();
    model.train(&moons(), &TrainOptions::default(), &mut seeded(0), &mut NoObserver).unwrap();
    let folder = std::env::temp_dir().join(format!("quadrivium-bits-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("model.safetensors");
    let columns = [("length", 0.0), ("width", 1.0)].map(|(name, width)| Column {
        name: name.into(),
        width,
        ..Column::default()
    });
    persist::save_with(&model, &columns, &path).unwrap();
    let file = std::fs::read(&path).unwrap();
    let (mut loaded, mut refused) = (0, 0);
    for bit in 0..file.len() * 8 {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &damaged).unwrap();
        match persist::load_with(&path) {
            Ok((same, named)) => {
                assert_eq!(named, columns, "bit {bit}");
                assert!(same.to_bytes().unwrap() == model.to_bytes().unwrap(), "bit {bit}");
                loaded += 1;
            }
            Err(Error::File(FileError::Format { .. }) | Error::File(FileError::FormatVersion { .. })) => {
                assert!(persist::describe(&path).is_err(), "bit {bit}");
                refused += 1;
            }
            Err(other) => panic!("bit {bit}: {other}"),
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
    assert!(loaded < refused / 100, "{loaded} of {refused}");
}

#[test]
fn entries_that_begin_as_ours_are_ours() {
    let model = models().pop().unwrap();
    let bytes = model.to_bytes().unwrap();
    let with = |entry: &str| rewrite(&bytes, |header, _| header["__metadata__"][entry] = "[]".into());
    for unknown in ["quadrivium.colums", "quadrivium2", "quadrivium.columns.units"] {
        match load(&with(unknown)) {
            Err(Error::File(FileError::Format { what })) => assert!(what.contains(unknown), "{what}"),
            other => panic!("{unknown}: {:?}", other.map(|model| model.card())),
        }
    }
    assert_eq!(drawn(load(&with("format")).unwrap().as_ref()), drawn(model.as_ref()));
    // Columns cannot be taken away from a file with a checksum, nor put into it.
    let path = std::env::temp_dir().join(format!("quadrivium-entries-{}", std::process::id()));
    let columns = ["a", "b"].map(|name| Column { name: name.into(), ..Column::default() });
    persist::save_with(model.as_ref(), &columns, &path).unwrap();
    let file = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let renamed = String::from_utf8_lossy(&file).find("quadrivium.columns").unwrap();
    let mut without = file.clone();
    without[renamed..renamed + 4].copy_from_slice(b"some");
    assert!(
        matches!(load(&without), Err(Error::File(FileError::Format { what })) if what.contains("checksum"))
    );
    // Of two arrays with one name, which one counts?
    let text = r#"{"__metadata__":{"quadrivium":"{}"},"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#;
    let twice = [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    assert!(
        matches!(load(&twice), Err(Error::File(FileError::Format { what })) if what.contains("two tensors"))
    );
}

#[test]
fn a_long_header_takes_a_few_times_its_length() {
    let entries: String = (0..20_000)
        .map(|k| format!(r#","{k}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#))
        .collect();
    let text = format!(r#"{{"__metadata__":{{"quadrivium":"{{}}"}}{entries}}}"#);
    let bytes = [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let mut loaded = None;
    let most = allocation_counter::measure(|| loaded = Some(persist::from_bytes(&bytes))).bytes_max;
    assert!(matches!(loaded, Some(Err(Error::File(FileError::Format { .. })))));
    assert!(most < 8 * text.len() as u64, "{most} bytes for a header of {}", text.len());
    let announced = [&(33u64 << 20).to_le_bytes()[..], b"{"].concat();
    assert!(
        matches!(load(&announced), Err(Error::File(FileError::Format { what })) if what.contains("expected at most 33554432"))
    );
}

#[test]
fn sizes_that_the_file_does_not_hold_take_no_memory() {
    let conditioned = conditioned().into_iter().map(|(model, _)| model);
    for model in models().into_iter().chain(conditioned) {
        let bytes = model.to_bytes().unwrap();
        let plain = rewrite(&bytes, |_, _| ());
        assert_eq!(drawn(load(&plain).unwrap().as_ref()), drawn(model.as_ref()), "without a checksum");
        let config: Value = {
            let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
            let text = &metadata.metadata().as_ref().unwrap()["quadrivium"];
            serde_json::from_str::<Value>(text).unwrap()["model"]["config"].clone()
        };
        for (path, value) in counts("/model/config".into(), &config) {
            for n in [7, 999, 1_000_000, 1_000_000_000, u64::MAX] {
                let claim = if value.is_array() { json!([n, n]) } else { json!(n) };
                let claimed = rewrite(&bytes, |_, entry| *entry.pointer_mut(&path).unwrap() = claim.clone());
                // Of all that a config may count, the levels of noise alone are kept in memory.
                let levels = if n == 1_000_000 { LEVELS } else { 0 };
                let loaded = load_within(levels, &claimed);
                // Others, as the steps of a sampler, are no sizes of what is stored.
                let sizes = ["dim", "hidden", "layers", "time_features", "octaves", "classes"];
                // A conditional of one column sees no coordinate, so it has no features of any.
                let none = model.dim() == 1 && path.ends_with("octaves");
                if !none && sizes.iter().any(|name| path.ends_with(name)) {
                    assert!(loaded.is_err(), "{path} = {claim}");
                }
            }
        }
        // Many layers of one unit: each would be a tensor.
        let deep = rewrite(&bytes, |_, entry| {
            for network in ["network", "encoder", "decoder", "generator", "critic"] {
                if let Some(hidden) = entry["model"]["config"].pointer_mut(&format!("/{network}/hidden")) {
                    *hidden = json!(vec![1; 10_000]);
                }
            }
        });
        assert_eq!(load(&deep).is_err(), config.to_string().contains("hidden"));
    }
}

#[test]
fn a_hostile_header_is_refused_by_name() {
    let vae = Vae::new(
        VaeConfig {
            encoder: NetworkSpec::mlp([4], Activation::Tanh, 4),
            decoder: NetworkSpec::mlp([4], Activation::Tanh, 4),
            ..Default::default()
        },
        &mut seeded(0),
    )
    .unwrap();
    let bytes = vae.to_bytes().unwrap();
    let says = |change: &dyn Fn(&mut Value, &mut Value)| match load(&rewrite(&bytes, change)) {
        Ok(_) => panic!("loaded"),
        Err(error) => error.to_string(),
    };
    let newer = says(&|_, entry| *entry = json!({ "format": 7, "whatever": 1 }));
    assert_eq!(newer, "the file has format 7, but this version reads up to 3: update quadrivium");
    assert!(says(&|_, entry| entry["format"] = json!(0)).contains("format 0"));
    assert!(says(&|_, entry| entry["model"]["kind"] = json!("vase")).contains("kind \"vase\""));
    assert!(says(&|_, entry| entry["model"]["config"]["betta"] = json!(1)).contains("unknown field `betta`"));
    assert!(says(&|_, entry| entry["model"]["config"]["min_sd"] = json!(0)).contains("VaeConfig::min_sd"));
    let scale = says(&|_, entry| entry["model"]["fitted"]["standardizer"]["scale"][1] = json!(0.0));
    assert!(scale.contains("Standardizer::scale"), "{scale}");
    let few = says(&|_, entry| entry["model"]["fitted"]["standardizer"]["shift"] = json!([0.0]));
    assert!(few.contains("Standardizer::shift"), "{few}");
    let name = "decoder.1.bias";
    let shape = says(&|header, _| header[name]["shape"] = json!([2, 2]));
    assert!(shape.contains("decoder.1.bias has shape [2, 2]: expected [4]"), "{shape}");
    assert!(says(&|header, _| header[name]["dtype"] = json!("F16")).contains("F16"));
    let offsets = |a: u64, b: u64| says(&|header, _| header[name]["data_offsets"] = json!([a, b]));
    for (a, b) in [(0, 16), (16, 0), (u64::MAX - 16, u64::MAX), (u64::MAX, u64::MAX)] {
        assert!(offsets(a, b).contains("stands at bytes"), "{}", offsets(a, b));
    }
    let product = says(&|header, _| header[name]["shape"] = json!([u64::MAX, u64::MAX]));
    assert!(product.contains("stands at bytes"), "{product}");
    let renamed = says(&|header, _| {
        let tensor = header.as_object_mut().unwrap().remove(name).unwrap();
        header["other"] = tensor;
    });
    assert!(renamed.contains("no tensor decoder.1.bias"), "{renamed}");
    assert!(says(&|header, _| header["more"] = json!({})).contains("missing field"));
    assert!(says(&|_, entry| *entry = json!(3)).contains("header"));
    // A field that a later version adds is missing here, and takes its default.
    let older = rewrite(&bytes, |_, entry| {
        entry["model"]["config"].as_object_mut().unwrap().remove("draws").unwrap();
    });
    assert_eq!(Vae::from_bytes(&older).unwrap().config(), vae.config());
    for dtype in [Dtype::F32, Dtype::BF16, Dtype::I64] {
        let tensor = TensorView::new(dtype, vec![4], &[0; 32][..dtype.bitsize() / 2]).unwrap();
        let foreign = safetensors::serialize([("weight", tensor)], None).unwrap();
        assert!(
            matches!(load(&foreign), Err(Error::File(FileError::Format { what })) if what.contains("another program"))
        );
    }

    let mut nan = rewrite(&bytes, |_, _| ());
    let len = nan.len();
    nan[len - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(
        matches!(load(&nan), Err(Error::File(FileError::Format { what })) if what.contains("not finite"))
    );
}

#[test]
fn no_width_of_kernels_scores_as_nan() {
    let bytes = models().pop().unwrap().to_bytes().unwrap();
    let with = |h: f64| load(&rewrite(&bytes, |_, entry| entry["model"]["fitted"]["bandwidth"] = json!(h)));
    for h in [0.0, -1.0, 1e-300, 1e-101, 1e101] {
        assert!(matches!(with(h), Err(Error::Config { field: "bandwidth", .. })), "{h}");
    }
    for h in [1e-100, 1e100] {
        let nats = with(h).unwrap().log_likelihood(moons().x(), &LikelihoodOptions::default()).unwrap();
        assert!(nats.nats().unwrap().iter().all(|v| !v.is_nan()), "{h}");
    }
}

#[test]
fn what_is_not_in_the_contract_s_list_comes_back_too() {
    let rows = Dataset::new(array![[-1.0, 0.3], [1.0, 0.1], [0.4, -2.0]]).unwrap();
    let mut column = GaussianMixtureConfig { dim: 1, ..Default::default() };
    column.components = ComponentCount::Fixed(2);
    let (means, variances) = (array![[-1.0], [1.0]], array![[[0.5]], [[0.1]]]);
    let one_column = AutoregressiveConfig {
        dim: 1,
        network: NetworkSpec::mlp([4], Activation::Silu, 3),
        ..Default::default()
    };
    let flow = FlowConfig {
        dim: 3,
        network: NetworkSpec::mlp([4], Activation::Silu, 2),
        layers: 3,
        ..Default::default()
    };
    let rng = &mut seeded(4);
    let models: Vec<Box<dyn Persist>> = vec![
        Box::new(KernelDensity::from_parameters(&rows, array![[0.5, 0.1], [0.1, 0.3]].view()).unwrap()),
        Box::new(
            GaussianMixture::from_parameters(column, &[0.3, 0.7], means.view(), variances.view()).unwrap(),
        ),
        Box::new(Autoregressive::new(one_column, rng).unwrap()),
        Box::new(Flow::new(FlowConfig { mixing: Mixing::Permutation, ..flow.clone() }, rng).unwrap()),
        Box::new(
            Flow::new(
                FlowConfig {
                    mixing: Mixing::Linear,
                    network: NetworkSpec::mlp([64; 2], Activation::Silu, 0),
                    ..flow.clone()
                },
                rng,
            )
            .unwrap(),
        ),
        Box::new(Flow::new(FlowConfig { layers: 1, ..flow }, rng).unwrap()),
        Box::new(
            Vae::new(
                VaeConfig {
                    encoder: NetworkSpec::mlp([], Activation::Tanh, 4),
                    decoder: NetworkSpec::mlp([], Activation::Tanh, 4),
                    ..Default::default()
                },
                rng,
            )
            .unwrap(),
        ),
        Box::new(
            EnergyModel::new(
                EnergyConfig { network: NetworkSpec::mlp([], Activation::Silu, 5), ..Default::default() },
                rng,
            )
            .unwrap(),
        ),
    ];
    for model in models {
        let loaded = load(&model.to_bytes().unwrap()).unwrap();
        assert_eq!(drawn(loaded.as_ref()), drawn(model.as_ref()), "{}", model.card().name);
        assert!(loaded.to_bytes().unwrap() == model.to_bytes().unwrap());
    }
}

#[test]
fn conditions_travel_with_the_model() {
    for (model, condition) in conditioned() {
        let bytes = model.to_bytes().unwrap();
        let loaded = load(&bytes).unwrap();
        let name = model.card().name;
        let given = |model: &dyn Generative| {
            let options = SampleOptions::default();
            model.given(&condition).unwrap().sample(20, &options, &mut seeded(5)).unwrap().x
        };
        assert_eq!(loaded.condition(), model.condition(), "{name}");
        assert_eq!(given(loaded.as_ref()), given(model.as_ref()), "{name}");
        assert_eq!(drawn(loaded.as_ref()), drawn(model.as_ref()), "{name}");
        assert!(loaded.to_bytes().unwrap() == bytes, "{name}");
    }
}

#[test]
fn of_continuous_flows_only_those_from_a_gaussian_are_saved() {
    let path = std::env::temp_dir().join(format!("quadrivium-source-{}", std::process::id()));
    let matching = |source| {
        let config = FlowMatchingConfig {
            network: NetworkSpec::mlp([4], Activation::Silu, 4),
            source,
            ..Default::default()
        };
        FlowMatching::new(config, &mut seeded(0)).unwrap()
    };
    for source in [Source::Toy(Toy::moons(0.1).unwrap()), Source::Rows(moons().into())] {
        match matching(source).save(&path) {
            Err(Error::File(FileError::Format { what })) => {
                assert!(what.contains("only a Gaussian source can be saved"), "{what}");
            }
            other => panic!("{other:?}"),
        }
        assert!(!path.exists(), "nothing is written");
    }
    let gaussian = matching(Source::Gaussian);
    let bytes = gaussian.to_bytes().unwrap();
    assert_eq!(FlowMatching::from_bytes(&bytes).unwrap().config(), gaussian.config());
    // A later version may save others: their files are not read as if they were Gaussian.
    let other = rewrite(&bytes, |_, entry| entry["model"]["config"]["source"] = json!("Rows"));
    assert!(
        matches!(load(&other), Err(Error::File(FileError::Format { what })) if what.contains("unknown field `source`"))
    );
}

#[test]
fn columns_of_a_condition_are_those_of_the_model() {
    let path = std::env::temp_dir().join(format!("quadrivium-roles-{}.safetensors", std::process::id()));
    let column = |name: &str, role| Column { name: name.into(), role, ..Column::default() };
    let label = |values: &[f64], rows: &[u64]| Role::Label { values: values.into(), rows: rows.into() };
    let number = |examples: &[f32]| Role::Number { examples: examples.into() };
    for (model, condition) in conditioned() {
        let is_class = matches!(condition, Condition::Class(_));
        let sound = if is_class { label(&[-1.0, 0.5, 7.0], &[100, 0, 200]) } else { number(&[0.0, 2.5]) };
        let with = |roles: &[Role]| {
            let given = roles.iter().enumerate().map(|(at, role)| column(&format!("c{at}"), role.clone()));
            let modeled = (0..model.dim()).map(|at| column(&format!("x{at}"), Role::Modeled));
            given.chain(modeled).collect::<Vec<Column>>()
        };
        for columns in [with(std::slice::from_ref(&sound)), with(&[])] {
            persist::save_with(model.as_ref(), &columns, &path).unwrap();
            assert_eq!(persist::load_with(&path).unwrap().1, columns);
        }
        for bad in [
            vec![sound.clone(), sound.clone()],
            vec![if is_class { number(&[0.0]) } else { label(&[0.0, 1.0, 2.0], &[1, 1, 1]) }],
            vec![label(&[0.0, 1.0], &[1, 1])],
            vec![label(&[0.0, 2.0, 1.0], &[1, 1, 1])],
            vec![label(&[0.0, 1.0, f64::NAN], &[1, 1, 1])],
            vec![label(&[0.0, 1.0, 2.0], &[1, 1])],
            vec![label(&[0.0, 1.0, 2.0], &[0, 0, 0])],
            vec![label(&[0.0, 1.0, 2.0], &[u64::MAX, 1, 0])],
            vec![number(&[])],
            vec![number(&[f32::INFINITY])],
        ] {
            let refused = persist::save_with(model.as_ref(), &with(&bad), &path);
            assert!(matches!(refused, Err(Error::File(FileError::Format { .. }))), "{bad:?}");
        }
    }
    // A model without a condition has no columns for one.
    let columns = ["x", "y"].map(|name| column(name, Role::Modeled));
    let more = [&columns[..], &[column("c", number(&[0.0]))]].concat();
    let refused = persist::save_with(models()[0].as_ref(), &more, &path);
    assert!(matches!(refused, Err(Error::File(FileError::Format { .. }))));
    std::fs::remove_file(&path).ok();
}

#[test]
fn columns_travel_with_the_model() {
    let path = std::env::temp_dir().join(format!("quadrivium-columns-{}.safetensors", std::process::id()));
    let column = |name: &str, width| Column { name: name.into(), width, ..Column::default() };
    for model in models() {
        let columns = [column("a, \"b\"", 0.0), column("ü\n", 1.0)];
        persist::save_with(model.as_ref(), &columns, &path).unwrap();
        let (loaded, read) = persist::load_with(&path).unwrap();
        assert_eq!(read, columns);
        assert_eq!(loaded.to_bytes().unwrap(), model.to_bytes().unwrap());
        // Who reads models only does not see them, and Python does.
        assert_eq!(persist::load(&path).unwrap().to_bytes().unwrap(), model.to_bytes().unwrap());
        let bytes = std::fs::read(&path).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        assert!(metadata.metadata().as_ref().unwrap()["quadrivium.columns"].contains("width"));

        // Where a grid lies, and what the numbers stand for, is there when it is not the usual.
        assert!(!metadata.metadata().as_ref().unwrap()["quadrivium.columns"].contains("units"));
        let units = Units { center: 1.7e9, scale: 0.5 };
        let special = [column("a", 0.0), Column { offset: 0.5, units, ..column("t", 1.0) }];
        persist::save_with(model.as_ref(), &special, &path).unwrap();
        assert_eq!(persist::load_with(&path).unwrap().1, special);

        persist::save(model.as_ref(), &path).unwrap();
        assert_eq!(persist::load_with(&path).unwrap().1, []);
        let described = persist::describe(&path).unwrap();
        assert_eq!(
            (described.format, described.library.as_str()),
            (persist::FORMAT, env!("CARGO_PKG_VERSION"))
        );
        let config: Value = serde_json::from_str(&described.config).unwrap();
        assert_eq!(config["dim"], json!(2), "{}", described.kind);
    }
    let model = &models()[0];
    for bad in [
        &[column("a", 0.0)][..],
        &[column("a", 0.0), column("a", 0.0)],
        &[column("a", 0.0), column("", 0.0)],
        &[column("a", 0.0), column("b", -1.0)],
        &[column("a", 0.0), column("b", f64::NAN)],
        &[column("a", 0.0), Column { offset: f64::INFINITY, ..column("b", 1.0) }],
        &[column("a", 0.0), Column { units: Units { center: f64::NAN, scale: 1.0 }, ..column("b", 0.0) }],
        &[column("a", 0.0), Column { units: Units { center: 0.0, scale: 0.0 }, ..column("b", 0.0) }],
        &[column("a", 0.0), Column { units: Units { center: 0.0, scale: -1.0 }, ..column("b", 0.0) }],
    ] {
        let refused = persist::save_with(model.as_ref(), bad, &path);
        assert!(matches!(refused, Err(Error::File(FileError::Format { .. }))), "{bad:?}");
    }
    for bad in ["", "{}", "[]", "[{\"name\":\"a\"}]", "[{\"name\":\"a\"},{\"name\":\"a\"}]", "[1,2]"] {
        let file = rewrite(&model.to_bytes().unwrap(), |header, _| {
            header["__metadata__"]["quadrivium.columns"] = bad.into();
        });
        std::fs::write(&path, file).unwrap();
        assert!(matches!(persist::load_with(&path), Err(Error::File(FileError::Format { .. }))), "{bad:?}");
    }
    std::fs::remove_file(&path).ok();
}
