//! The parts of a time in UTC. Times are seconds since 1970, as values are.

use crate::promql::function::Function;

const DAY: i64 = 86_400;

/// The part of a time that a function tells.
pub fn part(function: Function) -> Option<fn(i64) -> i64> {
    Some(match function {
        Function::Minute => |seconds| seconds.rem_euclid(3_600) / 60,
        Function::Hour => |seconds| seconds.rem_euclid(DAY) / 3_600,
        // The first of January 1970 was a Thursday; Sunday is 0.
        Function::DayOfWeek => |seconds| (seconds.div_euclid(DAY) + 4).rem_euclid(7),
        Function::DayOfMonth => |seconds| date(seconds).day,
        Function::DayOfYear => |seconds| {
            let day = seconds.div_euclid(DAY);
            day - first_day(date(seconds).year, 1) + 1
        },
        Function::Month => |seconds| date(seconds).month,
        Function::Year => |seconds| date(seconds).year,
        Function::DaysInMonth => |seconds| {
            let Date { year, month, .. } = date(seconds);
            first_day(year, month + 1) - first_day(year, month)
        },
        _ => return None,
    })
}

struct Date {
    year: i64,
    month: i64,
    day: i64,
}

/// The Gregorian date of a time.
fn date(seconds: i64) -> Date {
    let day = seconds.div_euclid(DAY);
    // The year that holds the day is the estimate or one of its neighbours: 400 years have 146,097 days.
    let estimate = 1970 + (i128::from(day) * 400 / 146_097) as i64;
    let mut year = estimate + 1;
    while first_day(year, 1) > day {
        year -= 1;
    }
    let mut month = 12;
    while first_day(year, month) > day {
        month -= 1;
    }
    Date { year, month, day: day - first_day(year, month) + 1 }
}

/// Days from 1970 to the first of a month; month 13 is the next January.
fn first_day(year: i64, month: i64) -> i64 {
    const BEFORE: [i64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];
    let past = year - 1;
    let leap_days = past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400) - 477;
    let is_leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    let in_year = BEFORE[(month - 1).rem_euclid(13) as usize] + i64::from(is_leap && month > 2);
    (year - 1970) * 365 + leap_days + in_year
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(seconds: i64) -> Vec<i64> {
        let functions = [
            Function::Year,
            Function::Month,
            Function::DayOfMonth,
            Function::DayOfWeek,
            Function::DayOfYear,
            Function::DaysInMonth,
            Function::Hour,
            Function::Minute,
        ];
        functions.into_iter().map(|function| part(function).unwrap()(seconds)).collect()
    }

    #[test]
    fn dates_are_gregorian() {
        assert_eq!(parts(0), [1970, 1, 1, 4, 1, 31, 0, 0]);
        assert_eq!(parts(-1), [1969, 12, 31, 3, 365, 31, 23, 59]);
        assert_eq!(parts(1_709_210_096), [2024, 2, 29, 4, 60, 29, 12, 34]);
        assert_eq!(parts(4_107_542_399), [2100, 2, 28, 0, 59, 28, 23, 59]);
        assert_eq!(parts(951_825_600), [2000, 2, 29, 2, 60, 29, 12, 0]);
    }

    #[test]
    fn every_day_follows_the_day_before() {
        let mut before = parts(-800_000 * DAY);
        for day in -799_999..800_000 {
            let now = parts(day * DAY);
            let next_of_month = now[2] == before[2] + 1 || (now[2] == 1 && before[2] == before[5]);
            assert!(next_of_month && now[3] == (before[3] + 1) % 7, "{before:?} {now:?}");
            before = now;
        }
    }

    #[test]
    fn no_time_is_too_far_away() {
        for seconds in [i64::MIN, i64::MAX] {
            assert!((1..=12).contains(&parts(seconds)[1]));
        }
    }
}
