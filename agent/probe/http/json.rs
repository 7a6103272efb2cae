//! What an answer's body must say as JSON, by JSONPath (RFC 9535).

use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json_path::JsonPath;

/// How much of a value is shown where it is not the wanted one, in characters.
const SHOWN: usize = 100;

/// Every value that the path selects must be the wanted one, and there must be one. Without `equals` it is enough that
/// there is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectJson {
    pub path: String,
    /// A value, or a list of those that are good.
    #[serde(default)]
    pub equals: Option<Value>,
}

/// [`ExpectJson`], compiled.
pub struct JsonCheck {
    path: JsonPath,
    /// As it was configured.
    written: ExpectJson,
}

impl ExpectJson {
    pub fn compile(&self) -> Result<JsonCheck, String> {
        let path = JsonPath::parse(&self.path)
            .map_err(|error| format!("the path {:?} is not JSONPath (RFC 9535): {error}", self.path))?;
        Ok(JsonCheck { path, written: self.clone() })
    }
}

/// The first expectation that `body` does not meet, in words.
pub fn unmet(checks: &[JsonCheck], body: &[u8], truncated: bool) -> Option<String> {
    if checks.is_empty() {
        return None;
    }
    if truncated {
        return Some(format!("the body is longer than the {} bytes that are read of it: raise `max_body`", body.len()));
    }
    match serde_json::from_slice(body) {
        Ok(value) => checks.iter().find_map(|check| check.unmet(&value)),
        Err(error) => Some(format!("the body is not JSON: {error}")),
    }
}

impl JsonCheck {
    fn unmet(&self, body: &Value) -> Option<String> {
        let path = &self.written.path;
        let selected = self.path.query(body).all();
        if selected.is_empty() {
            return Some(format!("{path} selects nothing in the body"));
        }
        let wanted = self.written.equals.as_ref()?;
        let other = selected.into_iter().find(|value| !is_one_of(value, wanted))?;
        Some(format!("{path} is {}, wanted {}", shown(other), shown(wanted)))
    }
}

fn is_one_of(value: &Value, wanted: &Value) -> bool {
    match wanted {
        Value::Array(any) => equal(value, wanted) || any.iter().any(|one| equal(value, one)),
        one => equal(value, one),
    }
}

/// 2 and 2.0 are the same number.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// One expectation, or a list of them.
pub fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ExpectJson>, D::Error> {
    deserializer.deserialize_any(Expectations)
}

struct Expectations;

impl<'de> Visitor<'de> for Expectations {
    type Value = Vec<ExpectJson>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`path` and `equals`, or a list of them")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Ok(vec![Deserialize::deserialize(MapAccessDeserializer::new(map))?])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        Deserialize::deserialize(SeqAccessDeserializer::new(list))
    }
}
