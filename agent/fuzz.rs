//! Seeded fuzzing, as plain functions: a short loop of each body runs with the tests, a long one where there is time.

use std::iter;

/// Shows the text over which a body broke.
struct Shown<'a>(&'a str);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("over this text: {:?}", self.0);
        }
    }
}

/// Gives `body` so many texts: each one of `seeds` with a few pieces cut out, doubled, moved, or replaced by tokens.
pub fn texts(cases: usize, seeds: &[&str], tokens: &[&str], mut body: impl FnMut(&str)) {
    let mut random = fastrand::Rng::with_seed(cases as u64);
    for case in 0..cases {
        let mut text: Vec<char> = seeds[case % seeds.len()].chars().collect();
        for _ in 0..random.usize(1..6) {
            mutate(&mut text, tokens, &mut random);
        }
        let text: String = text.into_iter().collect();
        let shown = Shown(&text);
        body(shown.0);
    }
}

fn mutate(text: &mut Vec<char>, tokens: &[&str], random: &mut fastrand::Rng) {
    let from = random.usize(0..=text.len());
    let to = text.len().min(from + random.usize(0..8));
    let at = random.usize(0..=text.len());
    match random.u8(0..5) {
        0 => drop(text.drain(from..to)),
        1 => {
            let piece = text[from..to].to_vec();
            text.splice(at..at, piece);
        }
        2 => {
            let any = char::from_u32(random.u32(0..0x3000)).unwrap_or('\u{fffd}');
            text.splice(from..to, iter::once(any));
        }
        _ => {
            let token = random.choice(tokens).copied().unwrap_or_default();
            text.splice(at..at, token.chars());
        }
    }
}
