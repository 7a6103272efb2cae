//! The highest value of a sliding window, in slots, so that it is small and survives a restart.

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::Duration;

use crate::clock::millis;
use crate::sample::Timestamp;

/// How many slots a window has. The one that is being filled comes besides: a peak is remembered for the window and up
/// to one slot more.
const SLOTS: i64 = 60;
/// The longest text that is read back: more than can ever be written.
const TEXT: usize = 4096;

/// The highest value of each slot of a window.
#[derive(Debug)]
pub struct Peaks {
    /// Milliseconds.
    slot: i64,
    /// Slot number (its start over its length) and highest value; oldest first.
    slots: VecDeque<(i64, f64)>,
}

impl Peaks {
    pub fn new(window: Duration) -> Self {
        Peaks { slot: (millis(window) / SLOTS).max(1), slots: VecDeque::new() }
    }

    /// Takes a value in. Says whether that is worth keeping over a restart: in a new slot, or where the peak grows.
    pub fn add(&mut self, now: Timestamp, value: f64) -> bool {
        let grows = self.highest(now).is_none_or(|peak| value > peak);
        let number = now.div_euclid(self.slot);
        match self.slots.back_mut() {
            Some((newest, highest)) if *newest >= number => {
                *highest = highest.max(value);
                grows
            }
            _ => {
                self.slots.push_back((number, value));
                true
            }
        }
    }

    /// The highest value of the window that ends now; none where it holds no value.
    pub fn highest(&mut self, now: Timestamp) -> Option<f64> {
        let oldest = now.div_euclid(self.slot) - SLOTS;
        while self.slots.front().is_some_and(|(number, _)| *number < oldest) {
            self.slots.pop_front();
        }
        self.slots.iter().map(|(_, value)| *value).reduce(f64::max)
    }

    /// `START:VALUE …`, the start in Unix milliseconds.
    pub fn write(&self) -> String {
        let mut text = String::new();
        for (number, value) in &self.slots {
            let space = if text.is_empty() { "" } else { " " };
            let _ = write!(text, "{space}{}:{value}", number * self.slot);
        }
        text
    }

    /// Takes back what was written, perhaps with another window. What is foreign to it, from after `now` or out of
    /// order is left out.
    pub fn read(&mut self, text: &str, now: Timestamp) {
        if text.len() > TEXT {
            return;
        }
        for (start, value) in text.split(' ').filter_map(pair).filter(|(start, _)| *start <= now) {
            let newest = self.slots.back().map_or(0, |(number, _)| *number);
            if start.div_euclid(self.slot) >= newest {
                self.add(start, value);
            }
        }
        self.highest(now);
    }
}

fn pair(text: &str) -> Option<(Timestamp, f64)> {
    let (start, value) = text.split_once(':')?;
    let value: f64 = value.parse().ok()?;
    Some((start.parse().ok().filter(|start| *start >= 0)?, Some(value).filter(|value| value.is_finite())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const START: i64 = 1_700_000_040_000;

    fn peaks() -> Peaks {
        Peaks::new(Duration::from_secs(3600))
    }

    #[test]
    fn a_peak_is_remembered_for_its_window_and_no_longer_than_a_slot_more() {
        let mut peaks = peaks();
        peaks.add(START, 700.0);
        peaks.add(START + 1, 3.0);
        assert_eq!(peaks.highest(START + 60 * MINUTE), Some(700.0));
        peaks.add(START + 30 * MINUTE, 5.0);
        assert_eq!(peaks.highest(START + 61 * MINUTE), Some(5.0));
        assert_eq!(peaks.highest(START + 92 * MINUTE), None);
    }

    #[test]
    fn it_is_worth_keeping_once_a_slot_or_when_the_peak_grows() {
        let mut peaks = peaks();
        assert!(peaks.add(START, 10.0));
        assert!(!peaks.add(START + 1, 10.0));
        assert!(peaks.add(START + 2, 11.0));
        assert!(!peaks.add(START + 3, 1.0));
        assert!(peaks.add(START + MINUTE, 1.0));
        assert!(!peaks.add(START + MINUTE + 1, 2.0), "the slot's highest grows, the window's does not");
        assert!(peaks.add(START + 70 * MINUTE, 1.0));
    }

    #[test]
    fn a_restart_takes_nothing_away_and_a_long_one_takes_what_is_old() {
        let mut before = peaks();
        before.add(START, 400.5);
        before.add(START + 10 * MINUTE, 300.0);
        let text = before.write();
        let after = |later: i64| {
            let mut peaks = peaks();
            peaks.read(&text, START + later * MINUTE);
            peaks.highest(START + later * MINUTE)
        };
        assert_eq!((after(10), after(61), after(71)), (Some(400.5), Some(300.0), None));
    }

    #[test]
    fn another_window_reads_the_same_text() {
        let mut hour = peaks();
        for minute in 0..60 {
            hour.add(START + minute * MINUTE, minute as f64);
        }
        let (text, now) = (hour.write(), START + 59 * MINUTE);
        for (window, wanted) in [(Duration::from_secs(600), 59.0), (Duration::from_secs(7 * 86_400), 59.0)] {
            let mut peaks = Peaks::new(window);
            peaks.read(&text, now);
            assert_eq!(peaks.highest(now), Some(wanted));
        }
    }

    #[test]
    fn the_text_stays_small() {
        let mut peaks = Peaks::new(Duration::from_secs(7 * 86_400));
        for step in 0..100_000 {
            peaks.add(START + step * MINUTE, 1e15 + step as f64 / 3.0);
            peaks.highest(START + step * MINUTE);
        }
        let text = peaks.write();
        assert!(text.split(' ').count() <= 61 && text.len() <= TEXT, "{}", text.len());
    }

    /// Against all values that were ever added: never less than the window's highest, and never one from before it and
    /// the slot besides.
    #[test]
    fn it_is_the_highest_of_the_window() {
        let mut random = fastrand::Rng::with_seed(21);
        let (window, slot) = (Duration::from_secs(600), 10_000);
        let (mut peaks, mut all, mut now) = (Peaks::new(window), Vec::new(), START);
        for _ in 0..5_000 {
            let longest = [1, 5_000, 40_000, 900_000][random.usize(0..4)];
            now += random.i64(0..=longest);
            let value = f64::from(random.u32(0..1000));
            peaks.add(now, value);
            all.push((now, value));
            if random.u8(..) < 20 {
                let text = peaks.write();
                peaks = Peaks::new(window);
                peaks.read(&text, now);
            }
            let highest = |since: i64| {
                all.iter().rev().take_while(|(at, _)| *at > since).map(|(_, value)| *value).reduce(f64::max).unwrap()
            };
            let found = peaks.highest(now).unwrap();
            let (least, most) = (highest(now - millis(window)), highest(now - millis(window) - slot - 1));
            assert!((least..=most).contains(&found), "{found} is not from {least} to {most}");
        }
    }

    #[test]
    fn a_foreign_text_is_left_out() {
        let foreign = "x 1: :1 -5:3 1:nan 1:inf 99999999999999999999:1 1700000040000:7 1800000000000:9";
        for text in [foreign, "", " ", "\u{0}:\u{0}"] {
            let mut peaks = peaks();
            peaks.read(text, START);
            assert_eq!(peaks.highest(START), (text == foreign).then_some(7.0));
        }
        let mut peaks = peaks();
        peaks.read(&"1700000040000:7 ".repeat(1000), START);
        assert_eq!(peaks.highest(START), None);
    }

    #[test]
    fn any_text_is_read_or_left_out() {
        let seeds = ["1700000040000:7 1700000100000:8.5", "0:0 1:1"];
        let tokens = [":", " ", "-", "9", "e308", "nan", "9223372036854775807", "1700000040000"];
        crate::fuzz::texts(2_000, &seeds, &tokens, |text| {
            let mut peaks = peaks();
            peaks.read(text, START);
            let (highest, written) = (peaks.highest(START), peaks.write());
            let mut again = super::tests::peaks();
            again.read(&written, START);
            assert_eq!(again.highest(START), highest, "{text:?}: {written:?}");
        });
    }
}
