//! Functions of angles, and the inverses of the hyperbolic ones, by the methods of Go's library: others differ in the last
//! places, and some overflow on the way.

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, LN_2, PI};

use super::ln;

const SINE: [f64; 6] = [
    f64::from_bits(0x3de5_d8fd_1fd1_9ccd),
    f64::from_bits(0xbe5a_e5e5_a929_1f5d),
    f64::from_bits(0x3ec7_1de3_567d_48a1),
    f64::from_bits(0xbf2a_01a0_19bf_df03),
    f64::from_bits(0x3f81_1111_1110_f7d0),
    f64::from_bits(0xbfc5_5555_5555_5548),
];
const COSINE: [f64; 6] = [
    f64::from_bits(0xbda8_fa49_a086_1a9b),
    f64::from_bits(0x3e21_ee9d_7b4e_3f05),
    f64::from_bits(0xbe92_7e4f_7eac_4bc6),
    f64::from_bits(0x3efa_01a0_19c8_44f5),
    f64::from_bits(0xbf56_c16c_16c1_4f91),
    f64::from_bits(0x3fa5_5555_5555_554b),
];
/// Beyond it the inverses of hyperbolic functions are logarithms to the last place.
const LARGE: f64 = (1 << 28) as f64;

/// By Cephes's series over an eighth of the circle.
pub fn sin(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value.sin();
    }
    let (even, rest) = eighths(value.abs());
    let magnitude = if even % 4.0 == 2.0 { cosine_near_zero(rest) } else { sine_near_zero(rest) };
    if (even > 3.0) == (value < 0.0) { magnitude } else { -magnitude }
}

/// As [`sin`].
pub fn cos(value: f64) -> f64 {
    if !value.is_finite() {
        return f64::NAN;
    }
    let (even, rest) = eighths(value.abs());
    let magnitude = if even % 4.0 == 2.0 { sine_near_zero(rest) } else { cosine_near_zero(rest) };
    if even == 2.0 || even == 4.0 { -magnitude } else { magnitude }
}

fn sine_near_zero(angle: f64) -> f64 {
    let square = angle * angle;
    angle + angle * square * polynomial(&SINE, square)
}

fn cosine_near_zero(angle: f64) -> f64 {
    let square = angle * angle;
    1.0 - 0.5 * square + square * square * polynomial(&COSINE, square)
}

/// The highest power's factor comes first.
fn polynomial(factors: &[f64], value: f64) -> f64 {
    factors.iter().fold(0.0, |sum, factor| sum * value + factor)
}

/// By Cephes's rational function over an eighth of the circle.
pub fn tan(value: f64) -> f64 {
    const OVER: [f64; 3] = [
        f64::from_bits(0xc0c9_92d8_d24f_3f38),
        f64::from_bits(0x4131_99ec_a5fc_9ddd),
        f64::from_bits(0xc171_1fea_d329_9176),
    ];
    const UNDER: [f64; 5] = [
        1.0,
        f64::from_bits(0x40ca_b8a5_eeb3_6572),
        f64::from_bits(0xc134_27bc_582a_bc96),
        f64::from_bits(0x4177_d98f_c2ea_d8ef),
        f64::from_bits(0xc189_afe0_3cbe_5a31),
    ];
    if value == 0.0 || !value.is_finite() {
        return value.tan();
    }
    let (even, rest) = eighths(value.abs());
    let square = rest * rest;
    let ratio = square * polynomial(&OVER, square) / polynomial(&UNDER, square);
    let near = if square > 1e-14 { rest + rest * ratio } else { rest };
    let tangent = if even % 4.0 == 2.0 { -1.0 / near } else { near };
    if value < 0.0 { -tangent } else { tangent }
}

/// By [`atan`].
pub fn asin(value: f64) -> f64 {
    let size = value.abs();
    if value == 0.0 || size > 1.0 || value.is_nan() {
        return value.asin();
    }
    let other = (1.0 - size * size).sqrt();
    let angle = if size > 0.7 { FRAC_PI_2 - positive_atan(other / size) } else { positive_atan(size / other) };
    if value < 0.0 { -angle } else { angle }
}

/// By [`asin`].
pub fn acos(value: f64) -> f64 {
    FRAC_PI_2 - asin(value)
}

/// By Cephes's rational function from 0 to 0.66.
pub fn atan(value: f64) -> f64 {
    match value {
        _ if value == 0.0 || value.is_nan() => value,
        _ if value > 0.0 => positive_atan(value),
        _ => -positive_atan(-value),
    }
}

fn positive_atan(value: f64) -> f64 {
    // What a quarter of the circle is more than its nearest float, and the tangent of three eighths of a half.
    const MORE: f64 = 6.123_233_995_736_766e-17;
    const STEEP: f64 = 2.414_213_562_373_095;
    match value {
        _ if value <= 0.66 => atan_near_zero(value),
        _ if value > STEEP => FRAC_PI_2 - atan_near_zero(1.0 / value) + MORE,
        _ => FRAC_PI_4 + atan_near_zero((value - 1.0) / (value + 1.0)) + 0.5 * MORE,
    }
}

fn atan_near_zero(value: f64) -> f64 {
    const OVER: [f64; 5] = [
        -0.875_060_860_003_190_4,
        -16.157_537_187_333_652,
        -75.008_557_923_147_05,
        -122.886_668_449_013_61,
        -64.850_219_049_420_25,
    ];
    const UNDER: [f64; 6] = [
        1.0,
        24.858_464_901_423_062,
        165.027_009_831_698_85,
        432.881_060_491_290_27,
        485.390_399_635_913_7,
        194.550_657_148_261_4,
    ];
    let square = value * value;
    value * (square * polynomial(&OVER, square) / polynomial(&UNDER, square)) + value
}

pub fn atan2(y: f64, x: f64) -> f64 {
    let is_special = y.is_nan() || x.is_nan() || y == 0.0 || x == 0.0 || y.is_infinite() || x.is_infinite();
    if is_special {
        return y.atan2(x);
    }
    match atan(y / x) {
        angle if x >= 0.0 => angle,
        angle if angle <= 0.0 => angle + PI,
        angle => angle - PI,
    }
}

/// By a rational function up to 0.5; beyond, another library's is near enough.
pub fn sinh(value: f64) -> f64 {
    const OVER: [f64; 4] =
        [-26.305_632_133_974_97, -2_894.211_355_989_564, -89_912.720_220_395_09, -630_767.364_049_771_7];
    const UNDER: [f64; 4] = [1.0, -173.678_953_558_233_7, 15_215.173_787_900_19, -630_767.364_049_771_7];
    if value == 0.0 || value.is_nan() || value.abs() > 0.5 {
        return value.sinh();
    }
    let square = value * value;
    polynomial(&OVER, square) * value / polynomial(&UNDER, square)
}

pub fn asinh(value: f64) -> f64 {
    let size = value.abs();
    let square = size * size;
    let inverse = match size {
        _ if !value.is_finite() || size < 1.0 / LARGE => return value,
        _ if size > LARGE => ln(size) + LN_2,
        _ if size > 2.0 => ln(2.0 * size + 1.0 / ((square + 1.0).sqrt() + size)),
        _ => (size + square / (1.0 + (1.0 + square).sqrt())).ln_1p(),
    };
    inverse.copysign(value)
}

pub fn acosh(value: f64) -> f64 {
    let above = value - 1.0;
    match value {
        _ if value >= LARGE => ln(value) + LN_2,
        _ if value > 2.0 => ln(2.0 * value - 1.0 / (value + (value * value - 1.0).sqrt())),
        _ if value >= 1.0 => (above + (2.0 * above + above * above).sqrt()).ln_1p(),
        _ => f64::NAN,
    }
}

pub fn atanh(value: f64) -> f64 {
    let (size, twice) = (value.abs(), value.abs() + value.abs());
    let inverse = match size {
        _ if size < 1.0 / LARGE => return value,
        _ if size == 1.0 => f64::INFINITY,
        _ if size < 0.5 => 0.5 * (twice + twice * size / (1.0 - size)).ln_1p(),
        _ if size < 1.0 => 0.5 * (twice / (1.0 - size)).ln_1p(),
        _ => return f64::NAN,
    };
    inverse.copysign(value)
}

/// An angle as an even number of eighths of the circle (of a whole turn the rest) and what is left.
fn eighths(angle: f64) -> (f64, f64) {
    // From here on the simple reduction is not exact enough.
    const FAR: f64 = (1 << 29) as f64;
    const EIGHTH: [f64; 3] = [
        f64::from_bits(0x3fe9_21fb_4000_0000),
        f64::from_bits(0x3e64_442d_0000_0000),
        f64::from_bits(0x3ce8_4698_98cc_5170),
    ];
    if angle >= FAR {
        return reduced(angle);
    }
    let whole = (angle * (4.0 / PI)).floor();
    let even = whole + whole % 2.0;
    (even % 8.0, ((angle - even * EIGHTH[0]) - even * EIGHTH[1]) - even * EIGHTH[2])
}

/// A large angle as an even number of eighths of the circle (of a whole turn the rest) and what is left: Payne and
/// Hanek's reduction, as in Go.
fn reduced(angle: f64) -> (f64, f64) {
    let bits = angle.to_bits();
    let mantissa = u128::from(bits & ((1 << 52) - 1) | 1 << 52);
    let place = (bits >> 52) as usize + 61 - 1023 - 52;
    let (word, shift) = (place / 64, place % 64);
    let digit = |index: usize| {
        let pair = u128::from(FOUR_OVER_PI[word + index]) << 64 | u128::from(FOUR_OVER_PI[word + index + 1]);
        pair >> (64 - shift) & u128::from(u64::MAX)
    };
    let product =
        ((digit(0) * mantissa) << 64).wrapping_add(digit(1) * mantissa).wrapping_add((digit(2) * mantissa) >> 64);
    let eighths = (product >> 125) as u64;
    let fraction = product << 3;
    // Cut off, not rounded.
    let zeros = fraction.leading_zeros();
    let cut = fraction.checked_shl(zeros + 1).unwrap_or(0) >> 76;
    let rest = f64::from_bits((u64::from(1022 - zeros) << 52) | cut as u64);
    let (even, rest) = if eighths % 2 == 1 { ((eighths + 1) % 8, rest - 1.0) } else { (eighths, rest) };
    (even as f64, rest * FRAC_PI_4)
}

/// The bits of 4/π.
const FOUR_OVER_PI: [u64; 20] = [
    0x0000_0000_0000_0001,
    0x45f3_06dc_9c88_2a53,
    0xf84e_afa3_ea69_bb81,
    0xb6c5_2b32_7887_2083,
    0xfca2_c757_bd77_8ac3,
    0x6e48_dc74_849b_a5c0,
    0x0c92_5dd4_13a3_2439,
    0xfc3b_d639_6253_4e7d,
    0xd104_6bea_5d76_8909,
    0xd338_e04d_68be_fc82,
    0x7323_ac73_06a6_73e9,
    0x3908_bf17_7bf2_5076,
    0x3ff1_2fff_bc0b_301f,
    0xde5e_2316_b414_da3e,
    0xda6c_fd9e_4f96_136e,
    0x9e8c_7ecd_3cbf_d45a,
    0xea4f_758f_d7cb_e2f6,
    0x7a0e_73ef_14a5_25d4,
    0xd7f6_bf62_3f1a_ba10,
    0xac06_608d_f8f6_d757,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_angle_has_go_s_functions() {
        assert_eq!(
            (tan(-1.0), sin(2.0), cos(0.5)),
            (-1.557_407_724_654_902, 0.909_297_426_825_681_6, 0.877_582_561_890_372_8)
        );
        assert!((tan(1e9) - 1e9f64.tan()).abs() < 1e-6 && tan(f64::INFINITY).is_nan() && tan(-0.0).is_sign_negative());
        for step in -4_000..4_000 {
            let angle = f64::from(step) * 0.037;
            assert!((sin(angle) - angle.sin()).abs() < 1e-14 && (cos(angle) - angle.cos()).abs() < 1e-14, "{angle}");
            assert!((atan(angle) - angle.atan()).abs() < 1e-15, "{angle}");
            assert!((atan2(angle, -3.0) - angle.atan2(-3.0)).abs() < 1e-15, "{angle}");
            let part = f64::from(step) / 4_000.0;
            assert!((asin(part) - part.asin()).abs() < 1e-14 && (acos(part) - part.acos()).abs() < 1e-14, "{part}");
            assert!((atanh(part) - part.atanh()).abs() < 1e-12 || part == -1.0, "{part}");
        }
        assert!((sin(1e22) - 1e22f64.sin()).abs() < 1e-15 && (cos(1e22) - 1e22f64.cos()).abs() < 1e-15);
    }

    #[test]
    fn the_largest_numbers_have_inverses_too() {
        assert_eq!(
            (asinh(1e308), asinh(-1e308), acosh(1e308)),
            (709.889_355_822_726, -709.889_355_822_726, 709.889_355_822_726)
        );
        assert!((asinh(3.0) - 3f64.asinh()).abs() < 1e-15 && (acosh(3.0) - 3f64.acosh()).abs() < 1e-15);
        assert!(acosh(0.5).is_nan() && asin(1.5).is_nan() && atanh(2.0).is_nan() && sin(f64::NAN).is_nan());
        assert_eq!((atanh(1.0), acosh(1.0), asinh(0.0)), (f64::INFINITY, 0.0, 0.0));
        assert!(asinh(-0.0).is_sign_negative() && sinh(-0.0).is_sign_negative());
        assert!((sinh(0.4) - 0.4f64.sinh()).abs() < 1e-15 && (sinh(0.6) - 0.6f64.sinh()).abs() < 1e-15);
    }
}
