//! The functions: their names, and what they take and give.

use super::ast::ValueType::{self, Matrix, Scalar, String, Vector};

/// How many arguments may be given, beside exactly those that the signature lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    Exact,
    /// The last may be left out.
    LastOptional,
    /// The last may be left out, or stand several times.
    LastRepeated,
}

/// One list gives the type, the names and the signatures.
macro_rules! functions {
    ($($function:ident $name:literal ($($argument:ident),*) $arity:ident -> $result:ident,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Function { $($function),* }

        impl Function {
            pub const ALL: &'static [Function] = &[$(Function::$function),*];

            pub fn name(self) -> &'static str {
                match self { $(Function::$function => $name),* }
            }

            /// The types of its arguments.
            pub fn arguments(self) -> &'static [ValueType] {
                match self { $(Function::$function => &[$($argument),*]),* }
            }

            pub fn arity(self) -> Arity {
                match self { $(Function::$function => Arity::$arity),* }
            }

            pub fn result(self) -> ValueType {
                match self { $(Function::$function => $result),* }
            }
        }
    };
}

functions! {
    Abs "abs" (Vector) Exact -> Vector,
    Absent "absent" (Vector) Exact -> Vector,
    AbsentOverTime "absent_over_time" (Matrix) Exact -> Vector,
    Acos "acos" (Vector) Exact -> Vector,
    Acosh "acosh" (Vector) Exact -> Vector,
    Asin "asin" (Vector) Exact -> Vector,
    Asinh "asinh" (Vector) Exact -> Vector,
    Atan "atan" (Vector) Exact -> Vector,
    Atanh "atanh" (Vector) Exact -> Vector,
    AvgOverTime "avg_over_time" (Matrix) Exact -> Vector,
    Ceil "ceil" (Vector) Exact -> Vector,
    Changes "changes" (Matrix) Exact -> Vector,
    Clamp "clamp" (Vector, Scalar, Scalar) Exact -> Vector,
    ClampMax "clamp_max" (Vector, Scalar) Exact -> Vector,
    ClampMin "clamp_min" (Vector, Scalar) Exact -> Vector,
    Cos "cos" (Vector) Exact -> Vector,
    Cosh "cosh" (Vector) Exact -> Vector,
    CountOverTime "count_over_time" (Matrix) Exact -> Vector,
    DayOfMonth "day_of_month" (Vector) LastOptional -> Vector,
    DayOfWeek "day_of_week" (Vector) LastOptional -> Vector,
    DayOfYear "day_of_year" (Vector) LastOptional -> Vector,
    DaysInMonth "days_in_month" (Vector) LastOptional -> Vector,
    Deg "deg" (Vector) Exact -> Vector,
    Delta "delta" (Matrix) Exact -> Vector,
    Deriv "deriv" (Matrix) Exact -> Vector,
    Exp "exp" (Vector) Exact -> Vector,
    Floor "floor" (Vector) Exact -> Vector,
    HistogramFraction "histogram_fraction" (Scalar, Scalar, Vector) Exact -> Vector,
    HistogramQuantile "histogram_quantile" (Scalar, Vector) Exact -> Vector,
    Hour "hour" (Vector) LastOptional -> Vector,
    Idelta "idelta" (Matrix) Exact -> Vector,
    Increase "increase" (Matrix) Exact -> Vector,
    Irate "irate" (Matrix) Exact -> Vector,
    LabelJoin "label_join" (Vector, String, String, String) LastRepeated -> Vector,
    LabelReplace "label_replace" (Vector, String, String, String, String) Exact -> Vector,
    LastOverTime "last_over_time" (Matrix) Exact -> Vector,
    Ln "ln" (Vector) Exact -> Vector,
    Log10 "log10" (Vector) Exact -> Vector,
    Log2 "log2" (Vector) Exact -> Vector,
    MaxOverTime "max_over_time" (Matrix) Exact -> Vector,
    MinOverTime "min_over_time" (Matrix) Exact -> Vector,
    Minute "minute" (Vector) LastOptional -> Vector,
    Month "month" (Vector) LastOptional -> Vector,
    Pi "pi" () Exact -> Scalar,
    PredictLinear "predict_linear" (Matrix, Scalar) Exact -> Vector,
    PresentOverTime "present_over_time" (Matrix) Exact -> Vector,
    QuantileOverTime "quantile_over_time" (Scalar, Matrix) Exact -> Vector,
    Rad "rad" (Vector) Exact -> Vector,
    Rate "rate" (Matrix) Exact -> Vector,
    Resets "resets" (Matrix) Exact -> Vector,
    Round "round" (Vector, Scalar) LastOptional -> Vector,
    Scalar "scalar" (Vector) Exact -> Scalar,
    Sgn "sgn" (Vector) Exact -> Vector,
    Sin "sin" (Vector) Exact -> Vector,
    Sinh "sinh" (Vector) Exact -> Vector,
    Sort "sort" (Vector) Exact -> Vector,
    SortDesc "sort_desc" (Vector) Exact -> Vector,
    Sqrt "sqrt" (Vector) Exact -> Vector,
    StddevOverTime "stddev_over_time" (Matrix) Exact -> Vector,
    StdvarOverTime "stdvar_over_time" (Matrix) Exact -> Vector,
    SumOverTime "sum_over_time" (Matrix) Exact -> Vector,
    Tan "tan" (Vector) Exact -> Vector,
    Tanh "tanh" (Vector) Exact -> Vector,
    Time "time" () Exact -> Scalar,
    Timestamp "timestamp" (Vector) Exact -> Vector,
    Vector "vector" (Scalar) Exact -> Vector,
    Year "year" (Vector) LastOptional -> Vector,
}

/// Functions of Prometheus that are refused by name: the experimental ones and those of native histograms.
pub const OTHER_FUNCTIONS: &str = "double_exponential_smoothing first_over_time histogram_avg histogram_count \
    histogram_quantiles histogram_stddev histogram_stdvar histogram_sum info mad_over_time sort_by_label \
    sort_by_label_desc ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time ts_of_min_over_time";

impl Function {
    pub fn named(name: &str) -> Option<Function> {
        Function::ALL.iter().copied().find(|function| function.name() == name)
    }

    /// What is wrong with so many arguments, as Prometheus says it.
    pub fn refuses(self, given: usize) -> Option<std::string::String> {
        let listed = self.arguments().len();
        let name = self.name();
        let optional = usize::from(self.arity() != Arity::Exact);
        if self.arity() == Arity::Exact && given != listed {
            return Some(format!("expected {listed} argument(s) in call to {name:?}, got {given}"));
        }
        if given + optional < listed {
            let least = listed - optional;
            return Some(format!("expected at least {least} argument(s) in call to {name:?}, got {given}"));
        }
        let too_many = given > listed && self.arity() != Arity::LastRepeated;
        too_many.then(|| format!("expected at most {listed} argument(s) in call to {name:?}, got {given}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_may_be_left_out_or_repeated_where_the_signature_says_so() {
        let refused = |function: Function, given| function.refuses(given).is_some();
        assert!(refused(Function::Time, 1) && !refused(Function::Time, 0));
        assert!(!refused(Function::Round, 1) && !refused(Function::Round, 2) && refused(Function::Round, 3));
        assert!(
            refused(Function::LabelJoin, 2) && !refused(Function::LabelJoin, 3) && !refused(Function::LabelJoin, 9)
        );
    }

    #[test]
    fn no_function_is_both_known_and_refused() {
        assert!(OTHER_FUNCTIONS.split_whitespace().all(|name| Function::named(name).is_none()));
    }
}
