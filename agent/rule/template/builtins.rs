//! The functions of Go's own text/template that the crate `gotmpl` words or types otherwise.

use std::cmp::Ordering;

use gotmpl::{TemplateError, Value};

use super::print::{self, type_name};

type Answer = Result<Value, TemplateError>;

fn wrong<T>(message: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError::Exec(message.into()))
}

pub fn eq(args: &[Value]) -> Answer {
    let Some((first, rest)) = args.split_first() else { return Ok(Value::Bool(false)) };
    if rest.is_empty() {
        return wrong("missing argument for comparison");
    }
    for other in rest {
        if equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

pub fn ne(args: &[Value]) -> Answer {
    let equal = eq(args)?;
    Ok(Value::Bool(!equal.is_truthy()))
}

fn equal(a: &Value, b: &Value) -> Result<bool, TemplateError> {
    match (a, b) {
        (Value::Nil, _) | (_, Value::Nil) => Ok(is_nil(a) && is_nil(b)),
        (Value::Int(a), Value::Int(b)) => Ok(a == b),
        (Value::Float(a), Value::Float(b)) => Ok(a == b),
        (Value::String(a), Value::String(b)) => Ok(a == b),
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        _ if !is_basic(a) && !is_basic(b) => {
            wrong(format!("non-comparable type {}: {}", print::value(b), type_name(b)))
        }
        _ => incompatible(a, b),
    }
}

fn is_nil(value: &Value) -> bool {
    matches!(value, Value::Nil)
}

fn is_basic(value: &Value) -> bool {
    matches!(value, Value::Int(_) | Value::Float(_) | Value::String(_) | Value::Bool(_))
}

fn incompatible<T>(a: &Value, b: &Value) -> Result<T, TemplateError> {
    wrong(format!("incompatible types for comparison: {} and {}", type_name(a), type_name(b)))
}

/// `lt`, `le`, `gt` and `ge`, by the orders that make them true. NaN makes none of them true, but Go computes `gt` and
/// `ge` as what `le` and `lt` are not.
pub fn compare(function: &str, args: &[Value]) -> Answer {
    let [a, b] = args else { return Ok(Value::Bool(false)) };
    if !is_basic(a) || !is_basic(b) {
        return wrong("invalid type for comparison");
    }
    let order = match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bool(_), Value::Bool(_)) => return wrong("invalid type for comparison"),
        _ => return incompatible(a, b),
    };
    let (less, equal) = (order == Some(Ordering::Less), order == Some(Ordering::Equal));
    Ok(Value::Bool(match function {
        "lt" => less,
        "le" => less || equal,
        "gt" => !(less || equal),
        _ => !less,
    }))
}

pub fn len(args: &[Value]) -> Answer {
    let Some(value) = args.first() else { return Ok(Value::Nil) };
    match value {
        Value::Nil => wrong("reflect: call of reflect.Value.Type on zero Value"),
        Value::String(text) => Ok(Value::Int(text.len() as i64)),
        Value::List(items) => Ok(Value::Int(items.len() as i64)),
        Value::Map(map) if type_name(value).starts_with("map[") => Ok(Value::Int(map.len() as i64)),
        other => wrong(format!("len of type {}", type_name(other))),
    }
}

pub fn call(args: &[Value]) -> Answer {
    match args.first() {
        None | Some(Value::Nil) => wrong("call of nil"),
        Some(other) => wrong(format!("non-function {} of type {}", print::value(other), type_name(other))),
    }
}

pub fn index(args: &[Value]) -> Answer {
    let Some((value, keys)) = args.split_first() else { return Ok(Value::Nil) };
    if is_nil(value) {
        return wrong("index of untyped nil");
    }
    keys.iter().try_fold(value.clone(), |value, key| at(&value, key))
}

fn at(value: &Value, key: &Value) -> Answer {
    match (value, key) {
        (Value::Map(_), Value::String(name)) if type_name(value).starts_with("map[") => {
            Ok(value.field(name).cloned().unwrap_or_else(|| print::zero(value)))
        }
        (Value::Map(_), Value::Nil) => wrong("value is nil; should be of type string"),
        (Value::Map(_), key) if type_name(value).starts_with("map[") => {
            wrong(format!("value has type {}; should be string", type_name(key)))
        }
        (Value::String(text), _) => match position(key, text.len())? {
            at if at < text.len() => Ok(Value::Int(i64::from(text.as_bytes()[at]))),
            _ => wrong("reflect: string index out of range"),
        },
        (Value::List(items), _) => match position(key, items.len())? {
            at if at < items.len() => Ok(items[at].clone()),
            _ => wrong("reflect: slice index out of range"),
        },
        (other, _) => wrong(format!("can't index item of type {}", type_name(other))),
    }
}

/// An index from 0 to `most`, both included.
fn position(key: &Value, most: usize) -> Result<usize, TemplateError> {
    match key {
        Value::Int(at) => match usize::try_from(*at) {
            Ok(at) if at <= most => Ok(at),
            _ => wrong(format!("index out of range: {at}")),
        },
        Value::Nil => wrong("cannot index slice/array with nil"),
        other => wrong(format!("cannot index slice/array with type {}", type_name(other))),
    }
}

pub fn slice(args: &[Value]) -> Answer {
    let Some((value, bounds)) = args.split_first() else { return Ok(Value::Nil) };
    let most = match value {
        Value::Nil => return wrong("slice of untyped nil"),
        Value::String(_) if bounds.len() > 2 => return wrong("cannot 3-index slice a string"),
        Value::String(text) => text.len(),
        Value::List(items) => items.len(),
        other => return wrong(format!("can't slice item of type {}", type_name(other))),
    };
    if bounds.len() > 3 {
        return wrong(format!("too many slice indexes: {}", bounds.len()));
    }
    let bounds = bounds.iter().map(|bound| position(bound, most)).collect::<Result<Vec<_>, _>>()?;
    let (from, to) = (bounds.first().copied().unwrap_or(0), bounds.get(1).copied().unwrap_or(most));
    if from > to {
        return wrong(format!("invalid slice index: {from} > {to}"));
    }
    Ok(match value {
        Value::List(items) => Value::List(items[from..to].into()),
        Value::String(text) => Value::String(String::from_utf8_lossy(&text.as_bytes()[from..to]).into()),
        _ => Value::Nil,
    })
}
