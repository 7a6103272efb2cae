//! Reads a script into its commands.

use regex::Regex;
use watchkeeper::promql::Steps;
use watchkeeper::sample::Labels;

use crate::notation::{self, Item};

#[derive(Debug)]
pub enum Command {
    Clear,
    Load(Load),
    Eval(Box<Eval>),
}

/// Series from time 0 on.
#[derive(Debug)]
pub struct Load {
    /// Milliseconds.
    pub step: i64,
    pub series: Vec<(Labels, Vec<Item>)>,
    /// Whether native histograms are made of the classic ones (`load_with_nhcb`).
    pub nhcb: bool,
    /// The series that are given start timestamps (`@st`).
    pub started: Vec<Labels>,
}

/// An expression and what is expected of it.
#[derive(Debug)]
pub struct Eval {
    /// From 1.
    pub line: usize,
    pub expr: String,
    pub when: When,
    pub expected: Expected,
    pub ordered: bool,
    pub fails: Option<Text>,
    pub annotations: Vec<(Annotation, Text)>,
}

#[derive(Debug, Clone, Copy)]
pub enum When {
    /// Milliseconds.
    Instant(i64),
    Range(Steps),
    /// An instant evaluation at the last step, which gives a range vector with values at the steps.
    Window(Steps),
}

#[derive(Debug)]
pub enum Expected {
    /// In the script's order; for an instant each has one value.
    Series(Vec<(Labels, Vec<Item>)>),
    Scalar(f64),
    String(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Annotation {
    Warn,
    NoWarn,
    Info,
    NoInfo,
}

/// What a message must be.
#[derive(Debug)]
pub enum Text {
    Any,
    Exactly(String),
    Like(Regex),
}

impl Text {
    pub fn matches(&self, message: &str) -> bool {
        match self {
            Text::Any => true,
            Text::Exactly(text) => text == message,
            Text::Like(pattern) => pattern.is_match(message),
        }
    }
}

struct Lines<'a> {
    all: Vec<&'a str>,
    at: usize,
}

/// The commands of a script; an error names its line.
pub fn read(text: &str) -> Result<Vec<Command>, String> {
    let mut lines = Lines { all: text.lines().map(without_comment).collect(), at: 0 };
    let mut commands = Vec::new();
    while let Some(line) = lines.all.get(lines.at).copied() {
        lines.at += 1;
        if !line.is_empty() {
            commands.push(lines.command(line).map_err(|message| format!("{}: {message}", lines.at))?);
        }
    }
    Ok(commands)
}

fn without_comment(line: &str) -> &str {
    let line = line.trim();
    if line.starts_with('#') { "" } else { line }
}

impl<'a> Lines<'a> {
    fn command(&mut self, line: &'a str) -> Result<Command, String> {
        let (word, rest) = split(line);
        match word.to_ascii_lowercase().as_str() {
            "clear" => Ok(Command::Clear),
            "load" => self.load(rest, false).map(Command::Load),
            "load_with_nhcb" => self.load(rest, true).map(Command::Load),
            word => match word.strip_prefix("eval") {
                Some(suffix) => Ok(Command::Eval(Box::new(self.eval(suffix, rest)?))),
                None => Err(format!("`{word}` is no command")),
            },
        }
    }

    /// The next line of the same block.
    fn next(&mut self) -> Option<&'a str> {
        let line = self.all.get(self.at).copied().filter(|line| !line.is_empty())?;
        self.at += 1;
        Some(line)
    }

    fn load(&mut self, step: &str, nhcb: bool) -> Result<Load, String> {
        let mut load = Load { step: notation::millis(step)?, series: Vec::new(), nhcb, started: Vec::new() };
        let mut all_started = false;
        while let Some(line) = self.next() {
            let start_times = line.split_once("@st").filter(|(_, rest)| rest.starts_with(char::is_whitespace));
            match start_times {
                Some(("", _)) => all_started = true,
                Some((series, _)) => load.started.push(notation::series(series)?.0),
                None => load.series.push(notation::line(line)?),
            }
        }
        if all_started {
            load.started = load.series.iter().map(|(labels, _)| labels.clone()).collect();
        }
        Ok(load)
    }

    fn eval(&mut self, suffix: &str, rest: &str) -> Result<Eval, String> {
        let (when, expr) = when(rest)?;
        let mut eval = Eval {
            line: self.at,
            expr: expr.to_owned(),
            when,
            expected: Expected::Series(Vec::new()),
            ordered: suffix == "_ordered",
            fails: (suffix == "_fail").then_some(Text::Any),
            annotations: Vec::new(),
        };
        match suffix {
            "" | "_ordered" | "_fail" => {}
            "_warn" => eval.annotations.push((Annotation::Warn, Text::Any)),
            "_info" => eval.annotations.push((Annotation::Info, Text::Any)),
            _ => return Err(format!("`eval{suffix}` is no command")),
        }
        while let Some(line) = self.next() {
            eval.expect(line)?;
        }
        Ok(eval)
    }
}

fn split(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

/// `instant at <t> <expr>` or `range from <t> to <t> step <d> <expr>`.
fn when(text: &str) -> Result<(When, &str), String> {
    let (kind, rest) = split(text);
    match kind {
        "instant" => {
            let (at, rest) = named_time("at", rest)?;
            Ok((When::Instant(at), rest))
        }
        "range" => steps(rest).map(|(steps, rest)| (When::Range(steps), rest)),
        _ => Err(format!("`{kind}`: an evaluation is instant or range")),
    }
}

/// `from <t> to <t> step <d>`, and what follows.
fn steps(text: &str) -> Result<(Steps, &str), String> {
    let (from, rest) = named_time("from", text)?;
    let (to, rest) = named_time("to", rest)?;
    let (step, rest) = named_time("step", rest)?;
    if to < from { Err("the range ends before it starts".to_owned()) } else { Ok((Steps { from, to, step }, rest)) }
}

fn named_time<'a>(name: &str, text: &'a str) -> Result<(i64, &'a str), String> {
    let (word, rest) = split(text);
    let (time, rest) = split(rest);
    if word == name { Ok((notation::millis(time)?, rest)) } else { Err(format!("`{word}` instead of `{name}`")) }
}

impl Eval {
    /// Takes in one of the lines below an evaluation.
    fn expect(&mut self, line: &str) -> Result<(), String> {
        let (word, rest) = split(line);
        match word {
            "expect" => return self.expect_words(rest),
            "expected_fail_message" => self.fails = Some(Text::Exactly(rest.trim().to_owned())),
            "expected_fail_regexp" => self.fails = Some(pattern(rest)?),
            _ => return self.expect_value(line),
        }
        Ok(())
    }

    fn expect_words(&mut self, text: &str) -> Result<(), String> {
        let (word, rest) = split(text);
        match word {
            "string" => self.expected = Expected::String(notation::unquoted(rest)?),
            "range" => self.when = When::Window(steps(split(rest).1)?.0),
            "ordered" => self.ordered = true,
            "fail" => self.fails = Some(message(rest)?),
            "warn" => self.annotations.push((Annotation::Warn, message(rest)?)),
            "no_warn" => self.annotations.push((Annotation::NoWarn, message(rest)?)),
            "info" => self.annotations.push((Annotation::Info, message(rest)?)),
            "no_info" => self.annotations.push((Annotation::NoInfo, message(rest)?)),
            _ => return Err(format!("`expect {word}`: nothing of that name can be expected")),
        }
        Ok(())
    }

    fn expect_value(&mut self, line: &str) -> Result<(), String> {
        if let Some(value) = notation::float(line) {
            self.expected = Expected::Scalar(value);
            return Ok(());
        }
        let (labels, items) = notation::line(line)?;
        if matches!(self.when, When::Instant(_)) && items.len() > 1 {
            return Err(format!("`{line}`: an instant has one value"));
        }
        match &mut self.expected {
            Expected::Series(series) => series.push((labels, items)),
            _ => return Err(format!("`{line}`: a scalar or a string is expected already")),
        }
        Ok(())
    }
}

/// Nothing, `msg: …` or `regex: …`.
fn message(text: &str) -> Result<Text, String> {
    match text.trim().split_once(':') {
        None if text.trim().is_empty() => Ok(Text::Any),
        Some(("msg", text)) => Ok(Text::Exactly(text.trim().to_owned())),
        Some(("regex", text)) => pattern(text),
        _ => Err(format!("`{text}`: write msg: or regex:")),
    }
}

fn pattern(text: &str) -> Result<Text, String> {
    Regex::new(text.trim()).map(Text::Like).map_err(|error| error.to_string())
}
