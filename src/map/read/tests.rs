//! What the reader promises of any text: it ends, in time linear in the text's length, with spans of the text.

use super::*;

#[test]
fn work_is_linear_in_the_text() {
    let paragraphs = [
        "predict the next token. ",
        "a generator and a discriminator, no VAE, no chain, without noise that was added, ",
        "which which, or and no no no. ",
        "1–2 DDIM steps 3 to 4 steps of 5 ",
        "\u{ad}é😀—İ",
    ];
    for paragraph in paragraphs {
        let compared = |times: usize| place::reading(Rules::standard(), &paragraph.repeat(times)).1;
        let (small, large) = (compared(100), compared(3_000));
        assert!(large <= 33 * small, "{paragraph}: {small}, {large}");
        // Rules are few for each word.
        assert!(large <= 2_000 * 3_000 * paragraph.split_whitespace().count(), "{paragraph}: {large}");
    }
    let megabyte = paragraphs.concat().repeat(1_000_000 / paragraphs.concat().len());
    assert!(!read(&megabyte).components.is_empty());
}
