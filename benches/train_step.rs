//! What a training step costs: W1, W1b, W6, W7 and W8 of `workloads`, by name.
//!
//! `cargo bench --bench train_step` · `-- W1` for a part · `-- --quick` for a glance.

mod workloads;

use criterion::{Criterion, criterion_group, criterion_main};

fn by_name(c: &mut Criterion) {
    workloads::bench(c, &["W1", "W1b", "W6", "W7", "W8"]);
}

criterion_group!(train_step, by_name);
criterion_main!(train_step);
