//! Files for other programs.

use std::fs;

use super::{Folder, fails, ok, run, stderr};

#[test]
fn export_writes_graphs_of_models_that_have_one() {
    let folder = Folder::new("export");
    let graph = folder.path("model.onnx");
    for (kind, more) in
        [("vae", &[][..]), ("diffusion", &["--steps", "3"]), ("flow_matching", &["--what", "network"])]
    {
        let model = folder.fit(kind, &["--units", "plain"]);
        let told = run(&[&["export", &model, "-o", &graph][..], more].concat());
        assert!(told.status.success() && stderr(&told).contains("saved to"), "{}", stderr(&told));
        let bytes = fs::read(&graph).unwrap();
        // The names of the columns are in the metadata.
        assert!(bytes.windows(11).any(|window| window == b"\"eruptions\""), "{kind}");
    }
    let model = folder.fit("gaussian_mixture", &["--units", "plain"]);
    let message = fails(&["export", &model, "-o", &graph], 1);
    assert!(message.contains("gaussian_mixture has no graph"), "{message}");
    let model = folder.fit("gan", &[]);
    let message = fails(&["export", &model, "-o", &graph], 1);
    assert!(message.contains("it has maps of its columns"), "{message}");
    let vae = folder.path("vae.safetensors");
    assert!(fails(&["export", &vae, "-o", &graph, "--steps", "3"], 2).contains("one pass"));
    assert!(fails(&["export", &vae, "-o", &vae], 2).contains("given both"));
}

#[test]
fn fit_writes_events_for_tensorboard() {
    let folder = Folder::new("events");
    let events = folder.path("run/events");
    folder.fit("vae", &["--tensorboard", &events]);
    let file = fs::read_dir(&events).unwrap().next().unwrap().unwrap();
    assert!(file.file_name().to_string_lossy().starts_with("events.out.tfevents."));
    let bytes = fs::read(file.path()).unwrap();
    assert!(bytes.windows(13).any(|window| window == b"loss/training"));
}

#[cfg(feature = "arrow")]
#[test]
fn rows_in_parquet_are_read_and_drawn() {
    let folder = Folder::new("parquet");
    let model = folder.fit("gaussian_mixture", &["--dequantize"]);
    let (rows, text) = (folder.path("rows.parquet"), folder.path("rows.csv"));
    ok(&["sample", &model, "-n", "300", "-o", &rows]);
    ok(&["sample", &model, "-n", "300", "-o", &text]);
    // The same rows have the same scores in both formats, from a file and from a pipe.
    let scores = |rows: &str| ok(&["score", &model, rows]);
    assert_eq!(scores(&rows), scores(&text));
    let piped =
        super::command(&["score", &model, "-"]).stdin(fs::File::open(&rows).unwrap()).output().unwrap();
    assert_eq!(String::from_utf8(piped.stdout).unwrap(), scores(&rows));
}
