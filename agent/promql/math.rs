//! Arithmetic in Prometheus's order of operations: the last digit depends on it.

pub mod trigonometry;

use std::cmp::Ordering;

use super::eval::Point;

/// A compensated sum (Neumaier's variant of Kahan's): what rounding loses is kept beside the sum.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum {
    pub value: f64,
    pub lost: f64,
}

impl Sum {
    pub fn plus(self, value: f64) -> Sum {
        let total = self.value + value;
        if total.is_infinite() {
            return Sum { value: total, lost: 0.0 };
        }
        let lost =
            if self.value.abs() >= value.abs() { (self.value - total) + value } else { (value - total) + self.value };
        Sum { value: total, lost: self.lost + lost }
    }

    pub fn total(self) -> f64 {
        self.value + self.lost
    }

    /// Both parts times a factor.
    fn times(self, factor: f64) -> Sum {
        Sum { value: self.value * factor, lost: self.lost * factor }
    }

    fn over(self, divisor: f64) -> Sum {
        Sum { value: self.value / divisor, lost: self.lost / divisor }
    }
}

/// An average: a sum as long as it does not overflow, then a running mean.
#[derive(Debug, Clone, Copy)]
pub struct Mean {
    sum: Sum,
    count: f64,
    running: bool,
}

impl Mean {
    pub fn new(first: f64) -> Self {
        Mean { sum: Sum { value: first, lost: 0.0 }, count: 1.0, running: false }
    }

    pub fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.running {
            let sum = self.sum.plus(value);
            if !sum.value.is_infinite() {
                self.sum = sum;
                return;
            }
            self.running = true;
            self.sum = self.sum.over(self.count - 1.0);
        }
        let weight = (self.count - 1.0) / self.count;
        self.sum = self.sum.times(weight).plus(value / self.count);
    }

    pub fn result(self) -> f64 {
        // Two divisions, then one addition: the last digit depends on it.
        if self.running { self.sum.total() } else { self.sum.over(self.count).total() }
    }
}

/// The larger one. Unlike Rust's, it is NaN where one of them is, except beside +Inf.
pub fn larger(a: f64, b: f64) -> f64 {
    match (a, b) {
        (a, b) if a == f64::INFINITY || b == f64::INFINITY => f64::INFINITY,
        (a, b) if a.is_nan() || b.is_nan() => f64::NAN,
        (a, b) if a == 0.0 && b == 0.0 => {
            if a.is_sign_negative() {
                b
            } else {
                a
            }
        }
        (a, b) => {
            if a > b {
                a
            } else {
                b
            }
        }
    }
}

/// As [`larger`], the other way round.
pub fn smaller(a: f64, b: f64) -> f64 {
    -larger(-a, -b)
}

/// By fdlibm's series, as in Go: [`log2`] and [`log10`] show its last digit.
pub fn ln(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return value.ln();
    }
    const LN_2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
    const LN_2_LOW: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);
    const SERIES: [f64; 7] = [
        f64::from_bits(0x3fe5_5555_5555_5593),
        f64::from_bits(0x3fd9_9999_9997_fa04),
        f64::from_bits(0x3fd2_4924_9422_9359),
        f64::from_bits(0x3fcc_71c5_1d8e_78af),
        f64::from_bits(0x3fc7_4664_96cb_03de),
        f64::from_bits(0x3fc3_9a09_d078_c69f),
        f64::from_bits(0x3fc2_f112_df3e_5244),
    ];
    let (mut fraction, mut exponent) = parts(value);
    if fraction < std::f64::consts::FRAC_1_SQRT_2 {
        fraction *= 2.0;
        exponent -= 1.0;
    }
    let over = fraction - 1.0;
    let s = over / (2.0 + over);
    let s2 = s * s;
    let s4 = s2 * s2;
    let odd = s2 * (SERIES[0] + s4 * (SERIES[2] + s4 * (SERIES[4] + s4 * SERIES[6])));
    let even = s4 * (SERIES[1] + s4 * (SERIES[3] + s4 * SERIES[5]));
    let half = 0.5 * over * over;
    exponent * LN_2_HIGH - ((half - (s * (half + (odd + even)) + exponent * LN_2_LOW)) - over)
}

/// By binary fraction and exponent, so that powers of two are exact, as in Go.
pub fn log2(value: f64) -> f64 {
    let (fraction, exponent) = parts(value);
    if fraction == 0.5 { exponent - 1.0 } else { ln(fraction) * std::f64::consts::LOG2_E + exponent }
}

/// From [`ln`], as in Go.
pub fn log10(value: f64) -> f64 {
    ln(value) * std::f64::consts::LOG10_E
}

/// By squaring, the exponent of two kept apart, as in Go.
pub fn power(base: f64, exponent: f64) -> f64 {
    let (whole, part) = (exponent.abs().trunc(), exponent.abs().fract());
    let is_special = !base.is_finite() || !exponent.is_finite() || base == 0.0 || whole >= 2f64.powi(63);
    if is_special || exponent.abs() == 0.5 || (part != 0.0 && base < 0.0) {
        return special_power(base, exponent);
    }
    let (whole, part) = if part > 0.5 { (whole + 1.0, part - 1.0) } else { (whole, part) };
    let mut result = if part == 0.0 { 1.0 } else { (part * ln(base)).exp() };
    let mut result_exponent = 0.0;
    let (mut square, mut square_exponent) = parts(base);
    let mut left = whole as u64;
    while left != 0 {
        // So far from 1 the result is 0 or infinite.
        if square_exponent.abs() > 4_096.0 {
            result_exponent += square_exponent;
            break;
        }
        if left & 1 == 1 {
            result *= square;
            result_exponent += square_exponent;
        }
        square *= square;
        square_exponent *= 2.0;
        if square < 0.5 {
            square += square;
            square_exponent -= 1.0;
        }
        left >>= 1;
    }
    match exponent < 0.0 {
        true => scaled(1.0 / result, -result_exponent),
        false => scaled(result, result_exponent),
    }
}

/// Where squaring does not apply.
fn special_power(base: f64, exponent: f64) -> f64 {
    match exponent {
        0.5 if base.is_finite() && base != 0.0 => base.sqrt(),
        -0.5 if base.is_finite() && base != 0.0 => 1.0 / base.sqrt(),
        _ => base.powf(exponent),
    }
}

/// `value · 2^exponent`, rounded once.
fn scaled(value: f64, exponent: f64) -> f64 {
    let (fraction, own) = parts(value);
    let total = own + exponent;
    match total {
        _ if fraction == 0.0 || !fraction.is_finite() => fraction,
        total if total > 1_024.0 => f64::INFINITY.copysign(fraction),
        total if total < -1_080.0 => 0f64.copysign(fraction),
        total if total < -1_021.0 => (fraction * 2f64.powi(total as i32 + 60)) * 2f64.powi(-60),
        total => (fraction * 2.0) * 2f64.powi(total as i32 - 1),
    }
}

/// A number as `fraction · 2^exponent` with a fraction from 0.5 to below 1.
fn parts(value: f64) -> (f64, f64) {
    if value == 0.0 || !value.is_finite() {
        return (value, 0.0);
    }
    if value.is_subnormal() {
        let (fraction, exponent) = parts(value * 2f64.powi(52));
        return (fraction, exponent - 52.0);
    }
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1022;
    (f64::from_bits((bits & !(0x7ff << 52)) | (1022 << 52)), f64::from(exponent))
}

/// From small to large, NaN before all.
pub fn nan_first(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// From small to large, NaN behind all.
pub fn nan_last(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// The quantile `q` of values in any order, between two values by a straight line. NaN of none.
pub fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| nan_first(*a, *b));
    let last = values.len() - 1;
    let rank = q * last as f64;
    let lower = rank.floor() as usize;
    let upper = last.min(lower + 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

/// The variance of some values: Welford's method, compensated.
pub fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let (mut count, mut mean, mut squares) = (0.0, Sum::default(), Sum::default());
    for value in values {
        count += 1.0;
        let delta = value - mean.total();
        mean = mean.plus(delta / count);
        squares = squares.plus(delta * (value - mean.total()));
    }
    squares.total() / count
}

/// The straight line through the points by least squares: its slope a second, and its value at a time.
pub fn regression(points: &[Point], at: i64) -> (f64, f64) {
    let [mut x_sum, mut y_sum, mut xy_sum, mut xx_sum] = [Sum::default(); 4];
    for point in points {
        let x = point.at.saturating_sub(at) as f64 / 1e3;
        x_sum = x_sum.plus(x);
        y_sum = y_sum.plus(point.value);
        xy_sum = xy_sum.plus(x * point.value);
        xx_sum = xx_sum.plus(x * x);
    }
    let first = points.first().map_or(f64::NAN, |point| point.value);
    if points.iter().skip(1).all(|point| point.value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let count = points.len() as f64;
    let [x, y, xy, xx] = [x_sum, y_sum, xy_sum, xx_sum].map(Sum::total);
    let slope = (xy - x * y / count) / (xx - x * x / count);
    (slope, y / count - slope * x / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compensation_keeps_what_rounding_loses() {
        let sum = [1.0, 1e100, 1.0, -1e100].into_iter().fold(Sum::default(), Sum::plus);
        assert_eq!(sum.total(), 2.0);
    }

    #[test]
    fn an_average_does_not_overflow() {
        let mut mean = Mean::new(f64::MAX);
        mean.add(f64::MAX);
        assert_eq!(mean.result(), f64::MAX);
    }

    #[test]
    fn nan_is_the_larger_and_the_smaller_one() {
        assert!(larger(f64::NAN, 1.0).is_nan() && smaller(1.0, f64::NAN).is_nan());
        assert_eq!((larger(1.0, 2.0), smaller(1.0, 2.0)), (2.0, 1.0));
    }

    #[test]
    fn powers_are_go_s() {
        for (base, exponent, result) in [
            (2.0, 10.0, 1_024.0),
            (-2.0, 3.0, -8.0),
            (-2.0, -3.0, -0.125),
            (4.0, 0.5, 2.0),
            (2.0, -1_074.0, 5e-324),
            (2.0, -1_075.0, 0.0),
            (10.0, 400.0, f64::INFINITY),
            (0.1, 400.0, 0.0),
            (f64::NEG_INFINITY, 3.0, f64::NEG_INFINITY),
            (0.0, -1.0, f64::INFINITY),
            (0.0, 0.5, 0.0),
            (1.0, f64::NAN, 1.0),
            (f64::NAN, 0.0, 1.0),
            (-1.0, f64::INFINITY, 1.0),
            (7.0, 1.0, 7.0),
        ] {
            assert_eq!(power(base, exponent), result, "{base} ^ {exponent}");
        }
        assert!(power(-8.0, 1.0 / 3.0).is_nan());
        assert!((power(2.0, 0.3) - 2f64.powf(0.3)).abs() < 1e-15);
    }

    #[test]
    fn logarithms_are_go_s() {
        assert_eq!((log2(8.0), log2(0.125), log2(5e-324)), (3.0, -3.0, -1074.0));
        assert_eq!((log10(3.0), log10(196.0)), (0.477_121_254_719_662_4, 2.292_256_071_356_476_4));
        assert_eq!((ln(std::f64::consts::E), ln(1.0), ln(0.0)), (1.0, 0.0, f64::NEG_INFINITY));
        assert_eq!((log2(0.0), log2(f64::INFINITY)), (f64::NEG_INFINITY, f64::INFINITY));
        assert!(log2(-1.0).is_nan());
    }
}
