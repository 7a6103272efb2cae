//! What the functions compute, by what they take: one value, a date, a window of points, a histogram, labels.

pub mod date;
pub mod histogram;
pub mod relabel;
pub mod window;

use std::f64::consts::PI;

use super::function::Function;
use super::math::trigonometry::{acos, acosh, asin, asinh, atan, atanh, cos, sin, sinh, tan};
use super::math::{larger, ln, log2, log10, smaller};

/// A function of one value and of the scalars that stand behind it.
pub type OfValue = fn(f64, &[f64]) -> f64;

/// The functions that are applied to each value of a vector by itself.
pub fn of_value(function: Function) -> Option<OfValue> {
    Some(match function {
        Function::Abs => |value, _| value.abs(),
        Function::Ceil => |value, _| value.ceil(),
        Function::Floor => |value, _| value.floor(),
        Function::Sqrt => |value, _| value.sqrt(),
        Function::Exp => |value, _| value.exp(),
        Function::Ln => |value, _| ln(value),
        Function::Log2 => |value, _| log2(value),
        Function::Log10 => |value, _| log10(value),
        Function::Acos => |value, _| acos(value),
        Function::Acosh => |value, _| acosh(value),
        Function::Asin => |value, _| asin(value),
        Function::Asinh => |value, _| asinh(value),
        Function::Atan => |value, _| atan(value),
        Function::Atanh => |value, _| atanh(value),
        Function::Cos => |value, _| cos(value),
        Function::Cosh => |value, _| value.cosh(),
        Function::Sin => |value, _| sin(value),
        Function::Sinh => |value, _| sinh(value),
        Function::Tan => |value, _| tan(value),
        Function::Tanh => |value, _| value.tanh(),
        Function::Deg => |value, _| value * 180.0 / PI,
        Function::Rad => |value, _| value * PI / 180.0,
        Function::Sgn => |value, _| if value == 0.0 || value.is_nan() { value } else { value.signum() },
        Function::Round => round,
        Function::Clamp => |value, limits| match limits {
            [least, most] => larger(*least, smaller(*most, value)),
            _ => value,
        },
        Function::ClampMin => |value, limits| limits.first().map_or(value, |least| larger(*least, value)),
        Function::ClampMax => |value, limits| limits.first().map_or(value, |most| smaller(*most, value)),
        _ => return None,
    })
}

/// To the nearest multiple, ties up. The inverse loses fewer digits.
fn round(value: f64, nearest: &[f64]) -> f64 {
    let inverse = 1.0 / nearest.first().copied().unwrap_or(1.0);
    (value * inverse + 0.5).floor() / inverse
}
