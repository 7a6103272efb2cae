//! What an answer must be.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, SeqAccess, Visitor};

/// The most that a compiled pattern may take, in bytes.
const PATTERN_LIMIT: usize = 1024 * 1024;

/// Statuses that are wanted: single codes and classes such as `2xx`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses(Vec<(u16, u16)>);

impl Default for Statuses {
    fn default() -> Self {
        Statuses(vec![(200, 299)])
    }
}

impl Statuses {
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|(low, high)| (*low..=*high).contains(&status))
    }
}

/// `2xx, 304`.
impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (low, high)) in self.0.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            match low == high {
                true => write!(f, "{comma}{low}")?,
                false => write!(f, "{comma}{}xx", low / 100)?,
            }
        }
        Ok(())
    }
}

fn status(text: &str) -> Result<(u16, u16), String> {
    let refuse = || format!("{text:?} is not a status: write a code from 100 to 599, or a class such as 2xx");
    if let Some(class) = text.strip_suffix("xx") {
        let class: u16 = class.parse().map_err(|_| refuse())?;
        return (1..=5).contains(&class).then_some((class * 100, class * 100 + 99)).ok_or_else(refuse);
    }
    let code: u16 = text.parse().map_err(|_| refuse())?;
    (100..=599).contains(&code).then_some((code, code)).ok_or_else(refuse)
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = deserializer.deserialize_any(STATUSES)?;
        if texts.is_empty() {
            return Err(de::Error::custom("no status would be good: list at least one, such as 2xx"));
        }
        texts.iter().map(|text| status(text)).collect::<Result<_, _>>().map(Statuses).map_err(de::Error::custom)
    }
}

/// What the body must and must not hold: texts as they are, and patterns of Rust's `regex` (RE2's syntax),
/// which may match anywhere. Only what was read of the body (`max_body`) is searched.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectBody {
    #[serde(deserialize_with = "one_or_many")]
    pub contains: Vec<String>,
    #[serde(deserialize_with = "one_or_many")]
    pub not_contains: Vec<String>,
    #[serde(deserialize_with = "one_or_many")]
    pub matches: Vec<String>,
    #[serde(deserialize_with = "one_or_many")]
    pub not_matches: Vec<String>,
}

/// [`ExpectBody`], compiled.
pub struct BodyCheck {
    rules: Vec<Rule>,
}

struct Rule {
    pattern: Regex,
    wanted: bool,
    /// The text or pattern as it was configured.
    written: String,
}

impl ExpectBody {
    /// Compiles what is expected, or says what is wrong with each pattern.
    pub fn compile(&self) -> Result<BodyCheck, Vec<String>> {
        let texts = |list: &[String], wanted| compile_all(list, wanted, regex::escape);
        let patterns = |list: &[String], wanted| compile_all(list, wanted, str::to_owned);
        let compiled = [
            texts(&self.contains, true),
            texts(&self.not_contains, false),
            patterns(&self.matches, true),
            patterns(&self.not_matches, false),
        ];
        let (good, bad): (Vec<_>, Vec<_>) = compiled.into_iter().flatten().partition(Result::is_ok);
        match bad.is_empty() {
            true => Ok(BodyCheck { rules: good.into_iter().flatten().collect() }),
            false => Err(bad.into_iter().filter_map(Result::err).collect()),
        }
    }
}

fn compile_all(list: &[String], wanted: bool, pattern: impl Fn(&str) -> String) -> Vec<Result<Rule, String>> {
    let compile = |written: &String| {
        let compiled = RegexBuilder::new(&pattern(written)).size_limit(PATTERN_LIMIT).build();
        let compiled = compiled.map_err(|error| format!("the pattern {written:?} is not valid: {error}"))?;
        Ok(Rule { pattern: compiled, wanted, written: written.clone() })
    };
    list.iter().map(compile).collect()
}

impl BodyCheck {
    /// The first expectation that `body` does not meet, in words.
    pub fn unmet(&self, body: &[u8], truncated: bool) -> Option<String> {
        let rule = self.rules.iter().find(|rule| rule.pattern.is_match(body) != rule.wanted)?;
        let searched = if truncated { "the part of the body that was read" } else { "the body" };
        let verb = if rule.wanted { "does not hold" } else { "holds" };
        Some(format!("{searched} ({} bytes) {verb} {:?}", body.len(), rule.written))
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    deserializer.deserialize_any(WORDS)
}

/// A scalar, or a list of scalars.
#[derive(Clone, Copy)]
struct Texts {
    /// Whether a number without quotes is meant as it is written.
    numbers: bool,
    nested: bool,
}

const STATUSES: Texts = Texts { numbers: true, nested: false };
const WORDS: Texts = Texts { numbers: false, nested: false };

impl Texts {
    /// YAML takes `0123` for 123 and `1.50` for 1.5: what is searched for would not be what is written.
    fn number<E: de::Error>(self, number: impl fmt::Display) -> Result<Vec<String>, E> {
        if self.numbers { Ok(vec![number.to_string()]) } else { Err(unquoted(number)) }
    }
}

fn unquoted<E: de::Error>(value: impl fmt::Display) -> E {
    E::custom(format_args!("a text is wanted: put {value} in quotes"))
}

impl<'de> Visitor<'de> for Texts {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.nested { "one value" } else { "one value or a list of them" })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(vec![text.to_owned()])
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        self.number(number)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        self.number(number)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
        self.number(number)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Err(unquoted(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        if self.nested {
            return Err(de::Error::invalid_type(de::Unexpected::Seq, &self));
        }
        let mut texts = Vec::new();
        while let Some(text) = list.next_element_seed(Texts { nested: true, ..self })? {
            texts.extend(text);
        }
        Ok(texts)
    }
}

impl<'de> DeserializeSeed<'de> for Texts {
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statuses(json: &str) -> Result<Statuses, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn statuses_are_codes_and_classes_one_or_many() {
        let wanted = statuses(r#"["2xx", 304, "404"]"#).unwrap();
        assert_eq!(wanted.to_string(), "2xx, 304, 404");
        for (status, is_wanted) in [(200, true), (299, true), (304, true), (404, true), (300, false), (199, false)] {
            assert_eq!(wanted.contains(status), is_wanted, "{status}");
        }
        assert_eq!(statuses("503").unwrap().to_string(), "503");
    }

    #[test]
    fn impossible_statuses_are_refused() {
        for wrong in ["99", "600", "\"6xx\"", "\"0xx\"", "\"2x\"", "\"ok\"", "[[200]]", "-1", "70000", "[]"] {
            assert!(statuses(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_body_must_hold_and_must_not_hold() {
        let expect: ExpectBody =
            serde_json::from_str(r#"{"contains": "a.b", "not_contains": ["down"], "matches": "v[0-9]+"}"#).unwrap();
        let check = expect.compile().unwrap();
        assert_eq!(check.unmet(b"a.b v12", false), None);
        assert_eq!(check.unmet(b"axb v12", false).unwrap(), r#"the body (7 bytes) does not hold "a.b""#);
        assert_eq!(check.unmet(b"a.b v12 down", false).unwrap(), r#"the body (12 bytes) holds "down""#);
        assert!(check.unmet(b"a.b", true).unwrap().starts_with("the part of the body that was read"));
    }

    #[test]
    fn what_yaml_would_rewrite_is_to_be_quoted() {
        for (json, wanted) in [("123", "123"), ("[1.5]", "1.5"), ("true", "true")] {
            let error = serde_json::from_str::<ExpectBody>(&format!(r#"{{"contains": {json}}}"#)).unwrap_err();
            assert!(error.to_string().starts_with(&format!("a text is wanted: put {wanted} in quotes")), "{error}");
        }
    }

    #[test]
    fn bodies_need_not_be_text() {
        let expect = ExpectBody { contains: vec!["ü".to_owned()], ..ExpectBody::default() };
        assert_eq!(expect.compile().unwrap().unmet(b"\xff\xfe\xc3\xbc\xff", false), None);
    }

    #[test]
    fn every_bad_pattern_is_told() {
        let expect = ExpectBody { matches: vec!["(".to_owned(), "[".to_owned()], ..ExpectBody::default() };
        assert_eq!(expect.compile().err().unwrap().len(), 2);
    }
}
