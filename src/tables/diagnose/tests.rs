use std::fmt::Write as _;

use rand::Rng as _;

use super::*;
use crate::numeric::rng::{Rng, seeded};

/// A table of so many rows, each what `row` makes of random numbers.
fn table(names: &str, rows: usize, mut row: impl FnMut(usize, &mut Rng) -> String) -> Table {
    let mut rng = seeded(4);
    let mut text = format!("{names}\n");
    for i in 0..rows {
        writeln!(text, "{}", row(i, &mut rng)).unwrap();
    }
    Table::from_reader(text.as_bytes()).unwrap()
}

/// The sum of twelve uniforms: near enough to a normal.
fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}

fn widths(table: &Table) -> Vec<f64> {
    table.steps().iter().map(|step| step.map_or(0.0, |step| step.width)).collect()
}

#[test]
fn the_steps_of_rounded_columns_are_told() {
    let tenths = table("len,half,free,count", 600, |_, rng| {
        let [a, b, c, d] = [(); 4].map(|()| normal(rng));
        format!("{:.1},{},{c:.6},{}", 5.0 + 0.8 * a, (5.0 + 1.5 * b).round() / 2.0, (3.0 * d).round() + 50.0)
    });
    assert_eq!(widths(&tenths), [0.1, 0.5, 0.0, 1.0]);
    let told: Vec<String> = tenths.diagnose().iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[1], "column half goes in steps of 0.5: spread its values over them");
    // Rows are spread within half a step, and draws go back.
    let spread = tenths.dequantize(&mut seeded(1)).unwrap();
    for (column, step) in tenths.steps().iter().enumerate() {
        let off = (0..600).map(|row| (spread.value(row, column) - tenths.value(row, column)).abs());
        let most = off.fold(0.0, f64::max);
        let Some(step) = step else {
            assert_eq!(most, 0.0);
            continue;
        };
        assert!(most > 0.45 * step.width && most < 0.501 * step.width, "{column}: {most}");
        let back = (0..600).filter(|&row| {
            (step.nearest(spread.value(row, column)) - tenths.value(row, column)).abs()
                < 1e-5 * step.width.max(1.0)
        });
        // Noise that f32 rounds to the very edge goes the other way.
        assert!(back.count() > 597);
    }
    assert_eq!(widths(&table("a,b", 50, |i, _| format!("{},{}", i % 5, 20 * (i % 7) + 1))), [1.0, 20.0]);
}

#[test]
fn a_repeated_value_is_told() {
    let mostly = table("x,gain,zeros", 500, |i, rng| {
        let (x, gain) = (normal(rng), (7.0 + normal(rng)).exp());
        format!(
            "{},{},{}",
            if i < 480 { 0.125 } else { x },
            if i % 5 > 0 { "0".into() } else { format!("{gain:.2}") },
            if i % 3 > 0 { 0.0 } else { (5.0 * x).abs().round() }
        )
    });
    let told = mostly.diagnose();
    let repeated = |finding: &Finding| match finding {
        Finding::Repeated { column, value, rows, of: 500, others: 0 } => {
            Some((column.clone(), *value, *rows))
        }
        _ => None,
    };
    let repeated: Vec<_> = told.iter().filter_map(repeated).collect();
    let thrice = table("x", 600, |i, _| f64::from((i % 30) as u32).sin().to_string());
    assert!(matches!(&thrice.diagnose()[..], [Finding::Repeated { rows: 20, of: 600, others: 29, .. }]));
    // Zeros among small counts are spread with them.
    assert_eq!(repeated, [("x".into(), 0.125, 480), ("gain".into(), 0.0, 400)], "{told:?}");
    assert_eq!(widths(&mostly), [0.0, 0.0, 1.0]);
}

#[test]
fn columns_that_follow_from_others_are_told() {
    let dependent = table("x,y,free,z,sum", 300, |_, rng| {
        let (x, free) = (normal(rng), normal(rng));
        format!("{x:.6e},{:.6e},{free},{:.6e},{}", 2.0 * x, x + 1.0, 3.0 * x - free)
    });
    let on = |finding: &Finding| match finding {
        Finding::Dependent { column, on, residual } if *residual < 1e-5 => {
            Some((column.clone(), on.join(" ")))
        }
        _ => None,
    };
    let told: Vec<_> = dependent.diagnose().iter().filter_map(on).collect();
    assert_eq!(told, [("y".into(), "x".into()), ("z".into(), "x".into()), ("sum".into(), "x free".into())]);
    // Nearly alike is not the same.
    let near = table("x,y", 300, |_, rng| {
        let x = normal(rng);
        format!("{x},{}", x + 0.01 * normal(rng))
    });
    assert_eq!(near.diagnose(), []);
    let wide = table("a,b,c", 4, |_, rng| format!("{},{},{}", normal(rng), normal(rng), normal(rng)));
    assert_eq!(wide.diagnose(), [], "as many columns as rows");
}

#[test]
fn rows_far_out_and_counters_are_told() {
    let far = table("id,x,y", 1000, |i, rng| {
        let (x, y) = (normal(rng), normal(rng));
        format!("{},{},{}", i + 100, if i == 17 { 1000.0 } else { x }, if i == 17 { 1e6 } else { y })
    });
    let told = far.diagnose();
    assert!(matches!(&told[0], Finding::CountsRows { column } if column == "id"), "{told:?}");
    match &told[1..] {
        // One far row does not make two columns one.
        [
            Finding::Far { column, rows: 1, row: 18, value: 1000.0, distance },
            Finding::Far { value: 1e6, .. },
        ] => {
            assert!(column == "x" && (900.0..1100.0).contains(distance));
        }
        other => panic!("{other:?}"),
    }
    let incomes = table("income", 2000, |_, rng| format!("{:.2}", (10.3 + 0.9 * normal(rng)).exp()));
    assert_eq!(incomes.diagnose(), []);
}

#[test]
fn an_ordinary_table_has_no_findings() {
    let ordinary =
        table("cm,kg", 200, |_, rng| format!("{:.4},{:.4}", 170.0 + 9.0 * normal(rng), 70.0 + normal(rng)));
    assert_eq!(ordinary.diagnose(), []);
    let one = Table::from_reader("a,b\n1,2\n".as_bytes()).unwrap();
    assert_eq!(one.diagnose(), []);
    let alike = Table::from_reader("a\n0.5\n0.5\n".as_bytes()).unwrap();
    assert_eq!(alike.diagnose(), [Finding::Constant { column: "a".into(), value: 0.5 }]);
}
