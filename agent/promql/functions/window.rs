//! Functions of the points that one series has in a window of time.

use crate::promql::eval::Point;
use crate::promql::function::Function;
use crate::promql::math::{Mean, Sum, quantile, regression, variance};
use crate::sample::Timestamp;

/// What a function of a range sees of one series.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    /// At least one, oldest first.
    pub points: &'a [Point],
    /// The window is `start < t <= end`.
    pub start: Timestamp,
    pub end: Timestamp,
    /// The time of the evaluation: `end` without the offset.
    pub at: Timestamp,
    /// The scalar that the function takes besides.
    pub parameter: f64,
}

/// A function of a window; `None` where there are too few points.
pub type OfWindow = fn(&Window<'_>) -> Option<f64>;

pub fn of_window(function: Function) -> Option<OfWindow> {
    Some(match function {
        Function::Rate => |window| extrapolated(window, true).map(|value| value.per_second(window)),
        Function::Increase => |window| extrapolated(window, true).map(Extrapolated::total),
        Function::Delta => |window| extrapolated(window, false).map(Extrapolated::total),
        Function::Irate => |window| {
            let [before, last] = last_two(window)?;
            let gained = if last.value < before.value { last.value } else { last.value - before.value };
            Some(gained / ((last.at - before.at) as f64 / 1e3))
        },
        Function::Idelta => |window| last_two(window).map(|[before, last]| last.value - before.value),
        Function::Changes => |window| Some(pairs(window, |a, b| a != b && !(a.is_nan() && b.is_nan()))),
        Function::Resets => |window| Some(pairs(window, |a, b| b < a)),
        Function::Deriv => |window| line(window, window.points[0].at).map(|(slope, _)| slope),
        Function::PredictLinear => |window| line(window, window.at).map(|(slope, now)| slope * window.parameter + now),
        Function::AvgOverTime => |window| Some(average(window)),
        Function::MinOverTime => |window| values(window).reduce(|a, b| if b < a || a.is_nan() { b } else { a }),
        Function::MaxOverTime => |window| values(window).reduce(|a, b| if b > a || a.is_nan() { b } else { a }),
        Function::SumOverTime => |window| Some(values(window).fold(Sum::default(), Sum::plus).total()),
        Function::CountOverTime => |window| Some(window.points.len() as f64),
        Function::LastOverTime => |window| values(window).next_back(),
        Function::PresentOverTime | Function::AbsentOverTime => |_| Some(1.0),
        Function::StdvarOverTime => |window| Some(variance(values(window))),
        Function::StddevOverTime => |window| Some(variance(values(window)).sqrt()),
        Function::QuantileOverTime => |window| Some(quantile(window.parameter, values(window).collect())),
        _ => return None,
    })
}

fn values(window: &Window<'_>) -> impl DoubleEndedIterator<Item = f64> {
    window.points.iter().map(|point| point.value)
}

/// As Go's `Duration.Seconds`: whole seconds and the rest apart.
fn seconds(millis: i64) -> f64 {
    (millis / 1_000) as f64 + (millis % 1_000 * 1_000_000) as f64 / 1e9
}

fn average(window: &Window<'_>) -> f64 {
    let mut values = values(window);
    let Some(mut mean) = values.next().map(Mean::new) else { return f64::NAN };
    values.for_each(|value| mean.add(value));
    mean.result()
}

fn last_two(window: &Window<'_>) -> Option<[Point; 2]> {
    window.points.last_chunk::<2>().copied().filter(|[before, last]| before.at != last.at)
}

/// How many neighbours are a pair.
fn pairs(window: &Window<'_>, is_pair: fn(f64, f64) -> bool) -> f64 {
    window.points.windows(2).filter(|pair| is_pair(pair[0].value, pair[1].value)).count() as f64
}

fn line(window: &Window<'_>, at: Timestamp) -> Option<(f64, f64)> {
    (window.points.len() > 1).then(|| regression(window.points, at))
}

/// What a series gained between its first and its last point, and the factor that stretches it over the window.
struct Extrapolated {
    gained: f64,
    factor: f64,
}

impl Extrapolated {
    fn total(self) -> f64 {
        self.gained * self.factor
    }

    fn per_second(self, window: &Window<'_>) -> f64 {
        self.gained * (self.factor / seconds(window.end - window.start))
    }
}

/// Prometheus's extrapolation: up to an edge of the window that is at most 1.1 average intervals away, else by half an
/// interval; a counter is never taken to have been below zero.
fn extrapolated(window: &Window<'_>, counter: bool) -> Option<Extrapolated> {
    let [first, .., last] = window.points else { return None };
    let mut gained = last.value - first.value;
    if counter {
        let resets = window.points.windows(2).filter(|pair| pair[1].value < pair[0].value);
        gained = resets.fold(gained, |gained, pair| gained + pair[0].value);
    }
    let sampled = (last.at - first.at) as f64 / 1e3;
    let interval = sampled / (window.points.len() - 1) as f64;
    let threshold = interval * 1.1;
    let up_to_edge = |gap: f64| if gap >= threshold { interval / 2.0 } else { gap };
    let mut to_start = up_to_edge((first.at - window.start) as f64 / 1e3);
    if counter && gained > 0.0 && first.value >= 0.0 {
        let to_zero = sampled * (first.value / gained);
        to_start = if to_zero < to_start { to_zero } else { to_start };
    }
    let to_end = up_to_edge((window.end - last.at) as f64 / 1e3);
    Some(Extrapolated { gained, factor: (sampled + to_start + to_end) / sampled })
}
