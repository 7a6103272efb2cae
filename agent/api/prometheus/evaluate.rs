//! Evaluates queries in slices, over a copy of the samples that they can read: the store is locked for a piece of the
//! copy at a time.

use super::gate::Turn;
use super::{Context, Refusal};
use crate::promql::{Answer, EvalError, Evaluation, Expr, Settings, Snapshot, Steps, Value};
use crate::sample::Timestamp;
use crate::store;

/// How many samples a query may copy, and hold at once.
const SAMPLES: usize = 500_000;
/// How many series a selector may find, an operation make, and an answer have: a step is divided into its operations, and
/// one over so many series is what makes all else wait longest.
const SERIES: usize = 20_000;
/// How many samples a query may look at over all its steps: about two seconds of the thread that watches.
const WORK: usize = 20_000_000;
/// How many points an answer may have.
const ANSWER_POINTS: usize = 500_000;
/// How many samples are looked at between two looks at the clock: about a tenth of a millisecond, or one operation.
const PIECE: usize = 1_000;

pub fn settings(lookback: i64) -> Settings {
    Settings { lookback, samples: SAMPLES, series: SERIES, work: WORK, ..Settings::default() }
}

/// The value at an instant.
pub async fn instant(
    context: &Context,
    expr: &Expr,
    at: Timestamp,
    settings: Settings,
    turn: &mut Turn<'_>,
) -> Result<Answer, Refusal> {
    let data = take(context, expr, &Steps::once(at), &settings, turn).await?;
    finish(context, Evaluation::instant(expr, &data, at, settings), turn).await
}

/// The values at each step, in order of their labels.
pub async fn range(
    context: &Context,
    expr: &Expr,
    steps: &Steps,
    settings: Settings,
    turn: &mut Turn<'_>,
) -> Result<Answer, Refusal> {
    let data = take(context, expr, steps, &settings, turn).await?;
    let evaluation = Evaluation::range(expr, &data, *steps, settings).map_err(|error| refusal(context, error))?;
    finish(context, evaluation, turn).await
}

/// Copies what is there now: what is reported meanwhile is not seen.
async fn take(
    context: &Context,
    expr: &Expr,
    steps: &Steps,
    settings: &Settings,
    turn: &mut Turn<'_>,
) -> Result<Snapshot, Refusal> {
    let mut taking = Snapshot::begin(expr, steps, settings);
    let now = store::lock(&context.store).moment();
    while let Some(wanted) = taking.wanted() {
        let times = (wanted.after, wanted.until);
        let mut reading = store::lock(&context.store).reading(&wanted.matchers);
        let (mut more, mut added) = (true, Ok(()));
        while more {
            more = store::lock(&context.store).read(&mut reading, &now, times, &mut |labels, points| {
                if added.is_ok() {
                    added = taking.add(labels, points);
                }
            });
            added.clone().map_err(|error| refusal(context, error))?;
            turn.pause().await?;
        }
        taking.complete();
    }
    Ok(taking.finish())
}

async fn finish(context: &Context, mut evaluation: Evaluation<'_>, turn: &mut Turn<'_>) -> Result<Answer, Refusal> {
    while !evaluation.advance(PIECE).map_err(|error| refusal(context, error))? {
        turn.pause().await?;
    }
    let answer = evaluation.finish();
    turn.pause().await?;
    let points: usize = match &answer.value {
        Value::Matrix(series) => series.iter().map(|series| series.points.len()).sum(),
        _ => 0,
    };
    if points > ANSWER_POINTS {
        let message = format!("the answer has more than {ANSWER_POINTS} points: ask for fewer series or steps");
        return Err(context.queries.too_much(message));
    }
    Ok(answer)
}

fn refusal(context: &Context, error: EvalError) -> Refusal {
    if error.is_limit { context.queries.too_much(error.message) } else { Refusal::Execution(error.message) }
}
