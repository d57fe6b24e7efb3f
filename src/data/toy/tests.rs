use super::*;

#[test]
fn entropies_are_the_known_ones() {
    for (toy, entropy, digits) in [
        (Toy::ring8(), -4.293, 1e-3),
        (Toy::grid25(), 0.0653, 1e-4),
        (Toy::grid(10, 1.0, 0.03).unwrap(), 0.4299, 1e-4),
        (Toy::ffjord8(), 2.832, 1e-3),
        (Toy::checkerboard(), 32f64.ln(), 1e-14),
        (Toy::moons(0.1).unwrap(), 1.0076, 1e-4),
    ] {
        let found = toy.entropy().unwrap();
        assert!((found - entropy).abs() < digits, "{}: {found}, known {entropy}", toy.name());
    }
}
