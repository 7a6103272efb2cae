//! From a node to a value: a strict serde deserializer. Plain scalars are numbers, booleans or text (YAML 1.2's core
//! schema: `on` and `yes` are text), quoted ones are text; where text is wanted a plain scalar gives its text.
//! Every error stands at the key or the value that is wrong.

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, Unexpected, Visitor};

use super::scalar::{boolean, float, integer};
use super::tree::{Key, Node, Origin, Position, Problem, Value, shown};
use super::words::{found_words, is_secret, list, nearest, unknown_key, wanted_not, words};

/// Reads a node as a `T`. The problem names the innermost key, and stands where it is.
pub fn from_node<T: DeserializeOwned>(node: &Node) -> Result<T, Problem> {
    T::deserialize(FromNode(node)).map_err(|wrong| wrong.into_problem(node))
}

/// As [`from_node`], for the value under a key, which the problem then names.
pub(super) fn from_entry<T: DeserializeOwned>(key: &Key, node: &Node) -> Result<T, Problem> {
    T::deserialize(FromNode(node)).map_err(|wrong| wrong.within(key, node).into_problem(node))
}

/// An error on its way out of [`FromNode`]: it takes the position and the key of the innermost place that it passes.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Wrong {
    at: Option<Position>,
    /// The message names its key already.
    named: bool,
    message: String,
}

impl Wrong {
    fn new(message: String) -> Self {
        Wrong { at: None, named: false, message }
    }

    /// Gives the error the place of this node, if it has none; what a variable gave is not shown.
    pub(super) fn at(mut self, node: &Node) -> Self {
        if self.at.is_none() {
            self.at = Some(node.at.clone());
            if let Origin::Variable { written } = &node.origin {
                self.hide(node, written);
            }
        }
        self
    }

    fn at_key(mut self, key: &Key) -> Self {
        self.at.get_or_insert_with(|| key.at.clone());
        self.named = true;
        self
    }

    /// Takes the place of this value and the name of its key, unless it has them; a secret is not shown.
    pub(super) fn within(self, key: &Key, node: &Node) -> Self {
        let mut wrong = self.at(node);
        if !wrong.named {
            if is_secret(&key.text) {
                wrong.hide(node, "…");
            }
            wrong.message = format!("`{}`: {}", shown(&key.text), wrong.message);
            wrong.named = true;
        }
        wrong
    }

    fn hide(&mut self, node: &Node, instead: &str) {
        if let Some(text) = node.text().filter(|text| !text.is_empty()) {
            self.message = self.message.replace(text, instead).replace(&shown(text), instead);
        }
    }

    /// The problem, at the root node unless something inside it was wrong.
    pub fn into_problem(self, node: &Node) -> Problem {
        let wrong = self.at(node);
        Problem { at: wrong.at.unwrap_or_else(|| node.at.clone()), message: wrong.message }
    }
}

impl de::Error for Wrong {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Wrong::new(message.to_string())
    }

    fn invalid_type(found: Unexpected, wanted: &dyn de::Expected) -> Self {
        Wrong::new(wanted_not(&words(&wanted.to_string()), &found_words(found)))
    }

    fn invalid_value(found: Unexpected, wanted: &dyn de::Expected) -> Self {
        match words(&wanted.to_string()).as_str() {
            "a whole number" => Wrong::new(format!("{} is out of range here", found_words(found))),
            wanted => Wrong::new(wanted_not(wanted, &found_words(found))),
        }
    }

    fn invalid_length(length: usize, wanted: &dyn de::Expected) -> Self {
        Wrong::new(format!("{wanted} is wanted, not {length} of them"))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Wrong::new(unknown_key(field, known))
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        let near = nearest(variant, known).map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
        Wrong::new(format!("one of {} is wanted, not `{}`{near}", list(known), shown(variant)))
    }

    fn missing_field(field: &'static str) -> Self {
        Wrong::new(format!("the key `{field}` is missing"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Wrong::new(format!("the key `{field}` is here twice, under two names"))
    }
}

/// Deserializes a node. For one `T` use [`from_node`]; the list of kinds takes this itself.
#[derive(Clone, Copy)]
pub struct FromNode<'a>(pub &'a Node);

impl<'a> FromNode<'a> {
    fn wrong(self, wanted: &str) -> Wrong {
        Wrong::new(wanted_not(wanted, &self.0.describe())).at(self.0)
    }

    /// The text of a plain scalar; what is quoted is no number and no boolean.
    fn plain(self, wanted: &str) -> Result<&'a str, Wrong> {
        match &self.0.value {
            Value::Scalar { text, plain: true } => Ok(text),
            _ => Err(self.wrong(wanted)),
        }
    }

    fn integer(self) -> Result<i128, Wrong> {
        integer(self.plain("a whole number")?).ok_or_else(|| self.wrong("a whole number"))
    }

    fn mapping(self) -> Result<&'a [(Key, Node)], Wrong> {
        match &self.0.value {
            Value::Mapping(entries) => Ok(entries),
            _ => Err(self.wrong("a mapping")),
        }
    }

    fn unsigned<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let wanted = "a whole number, 0 or more,";
        let value = integer(self.plain(wanted)?).ok_or_else(|| self.wrong(wanted))?;
        let value = u64::try_from(value).map_err(|_| self.wrong(wanted))?;
        visitor.visit_u64(value).map_err(|wrong: Wrong| wrong.at(self.0))
    }

    fn signed<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let value = i64::try_from(self.integer()?).map_err(|_| self.wrong("a smaller number"))?;
        visitor.visit_i64(value).map_err(|wrong: Wrong| wrong.at(self.0))
    }

    fn any_plain<V: Visitor<'a>>(self, text: &'a str, visitor: V) -> Result<V::Value, Wrong> {
        if let Some(value) = boolean(text) {
            return visitor.visit_bool(value);
        }
        match integer(text) {
            Some(value) if value < 0 && i64::try_from(value).is_ok() => return visitor.visit_i64(value as i64),
            Some(value) if value >= 0 && u64::try_from(value).is_ok() => return visitor.visit_u64(value as u64),
            _ => {}
        }
        match float(text) {
            Some(value) => visitor.visit_f64(value),
            None => visitor.visit_borrowed_str(text),
        }
    }
}

impl<'de> Deserializer<'de> for FromNode<'de> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let result = match &self.0.value {
            Value::Null => visitor.visit_unit(),
            Value::Scalar { text, plain: true } => self.any_plain(text, visitor),
            Value::Scalar { text, plain: false } => visitor.visit_borrowed_str(text),
            Value::Sequence(items) => visitor.visit_seq(Items(items.iter())),
            Value::Mapping(entries) => visitor.visit_map(Entries::new(entries)),
        };
        result.map_err(|wrong: Wrong| wrong.at(self.0))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let wanted = "`true` or `false`";
        let value = boolean(self.plain(wanted)?).ok_or_else(|| self.wrong(wanted))?;
        visitor.visit_bool(value).map_err(|wrong: Wrong| wrong.at(self.0))
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.signed(visitor)
    }

    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.signed(visitor)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.signed(visitor)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.signed(visitor)
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.unsigned(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.unsigned(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.unsigned(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.unsigned(visitor)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let value = float(self.plain("a number")?).ok_or_else(|| self.wrong("a number"))?;
        visitor.visit_f64(value).map_err(|wrong: Wrong| wrong.at(self.0))
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let text = self.0.text().ok_or_else(|| self.wrong("text"))?;
        visitor.visit_borrowed_str(text).map_err(|wrong: Wrong| wrong.at(self.0))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
        .map_err(|wrong: Wrong| wrong.at(self.0))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0.value {
            Value::Null => visitor.visit_unit(),
            _ => Err(self.wrong("nothing")),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self).map_err(|wrong: Wrong| wrong.at(self.0))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.0.value {
            Value::Sequence(items) => visitor.visit_seq(Items(items.iter())).map_err(|wrong| wrong.at(self.0)),
            _ => Err(self.wrong("a list")),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_map(Entries::new(self.mapping()?)).map_err(|wrong: Wrong| wrong.at(self.0))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let result = match &self.0.value {
            Value::Scalar { text, .. } => visitor.visit_enum(StrDeserializer::new(text)),
            Value::Mapping(entries) => match entries.as_slice() {
                [(key, value)] => visitor.visit_enum(Variant { key, value }),
                _ => Err(Wrong::new(format!("exactly one of {} is wanted", list(variants)))),
            },
            _ => Err(self.wrong(&format!("one of {}", list(variants)))),
        };
        result.map_err(|wrong: Wrong| wrong.at(self.0))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }
}

impl<'de> IntoDeserializer<'de, Wrong> for FromNode<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

struct Items<'a>(std::slice::Iter<'a, Node>);

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        let Some(node) = self.0.next() else { return Ok(None) };
        seed.deserialize(FromNode(node)).map(Some).map_err(|wrong| wrong.at(node))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Entries<'a> {
    rest: std::slice::Iter<'a, (Key, Node)>,
    current: Option<&'a (Key, Node)>,
}

impl<'a> Entries<'a> {
    fn new(entries: &'a [(Key, Node)]) -> Self {
        Entries { rest: entries.iter(), current: None }
    }
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        self.current = self.rest.next();
        let Some((key, _)) = self.current else { return Ok(None) };
        let text: StrDeserializer<'_, Wrong> = StrDeserializer::new(&key.text);
        seed.deserialize(text).map(Some).map_err(|wrong| wrong.at_key(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let Some((key, value)) = self.current else { return Err(Wrong::new("a key without a value".to_owned())) };
        seed.deserialize(FromNode(value)).map_err(|wrong| wrong.within(key, value))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// `variant: value`.
struct Variant<'a> {
    key: &'a Key,
    value: &'a Node,
}

impl<'de> de::EnumAccess<'de> for Variant<'de> {
    type Error = Wrong;
    type Variant = FromNode<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, FromNode<'de>), Wrong> {
        let text: StrDeserializer<'_, Wrong> = StrDeserializer::new(&self.key.text);
        let variant = seed.deserialize(text).map_err(|wrong| wrong.at_key(self.key))?;
        Ok((variant, FromNode(self.value)))
    }
}

impl<'de> de::VariantAccess<'de> for FromNode<'de> {
    type Error = Wrong;

    fn unit_variant(self) -> Result<(), Wrong> {
        self.deserialize_unit(de::IgnoredAny).map(|_| ())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Wrong> {
        seed.deserialize(self).map_err(|wrong| wrong.at(self.0))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_map(visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use serde::Deserialize;

    use super::*;
    use crate::config::tree::parse;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        #[serde(default)]
        port: u16,
        #[serde(default, deserialize_with = "crate::duration::deserialize_option")]
        every: Option<Duration>,
        #[serde(default)]
        on: Option<bool>,
        #[serde(default)]
        share: Option<f64>,
        #[serde(default)]
        mode: Option<Mode>,
        #[serde(default)]
        labels: BTreeMap<String, String>,
        #[serde(default)]
        list: Vec<i32>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Fast,
        Slow { by: u8 },
    }

    fn read(text: &str) -> Result<Sample, String> {
        from_node(&parse("f", text).unwrap()).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_plain_scalar_is_what_it_looks_like_and_text_where_text_is_wanted() {
        let text = "name: 5\nport: 0x50\nevery: 1m30s\non: true\nshare: 3\nmode: {slow: {by: 2}}\nlabels: {v: 3.10, t: true}\nlist: [1, -2]\n";
        let sample = read(text).unwrap();
        assert_eq!((sample.name.as_str(), sample.port, sample.share), ("5", 80, Some(3.0)));
        assert_eq!(sample.every, Some(Duration::from_secs(90)));
        assert_eq!(sample.mode, Some(Mode::Slow { by: 2 }));
        assert_eq!(sample.labels["v"], "3.10");
        assert_eq!(sample.labels["t"], "true");
        assert_eq!(sample.list, [1, -2]);
    }

    #[test]
    fn an_error_says_what_is_wanted_and_what_stands_there() {
        let refused = [
            ("name: x\nport: '80'\n", "f:2:7: `port`: a whole number, 0 or more, is wanted, not the text `80`"),
            ("name: x\nport: 3.7\n", "f:2:7: `port`: a whole number, 0 or more, is wanted, not `3.7`"),
            ("name: x\nport: -1\n", "f:2:7: `port`: a whole number, 0 or more, is wanted, not `-1`"),
            ("name: x\nport: 70000\n", "f:2:7: `port`: `70000` is out of range here"),
            ("name: x\non: yes\n", "f:2:5: `on`: `true` or `false` is wanted, not the text `yes`"),
            ("name: x\nprot: 1\n", "f:2:1: unknown key `prot`: did you mean `port`?"),
            ("port: 1\n", "f:1:1: the key `name` is missing"),
            ("name: [a]\n", "f:1:7: `name`: text is wanted, not a list"),
            ("name:\n", "f:1:5: `name`: text is wanted, and nothing stands here"),
            ("name: x\nmode: fst\n", "f:2:7: `mode`: one of `fast`, `slow` is wanted, not `fst`: did you mean `fast`?"),
            ("name: x\nlist: [1, a]\n", "f:2:11: `list`: a whole number is wanted, not the text `a`"),
            ("name: x\nlist: 1\n", "f:2:7: `list`: a list is wanted, not `1`"),
            ("- 1\n", "f:1:1: a mapping is wanted, not a list"),
        ];
        for (text, message) in refused {
            assert_eq!(read(text), Err(message.to_owned()));
        }
    }

    #[test]
    fn what_a_variable_gave_is_not_shown() {
        let at = Position::outside("environment variable X");
        let node = Node::from_variable(&at, "hunter2", true, "${X}");
        let mapping = Node::new(&at, Value::Mapping(vec![(Key { text: "name".to_owned(), at: at.clone() }, node)]));
        let refused = from_node::<BTreeMap<String, u8>>(&mapping).unwrap_err().to_string();
        assert_eq!(
            refused,
            "environment variable X: `name`: a whole number, 0 or more, is wanted, not the text of `${X}`"
        );
        let refused = from_node::<BTreeMap<String, Every>>(&mapping).unwrap_err().to_string();
        assert!(refused.contains("${X}") && !refused.contains("hunter2"), "{refused}");
    }

    #[derive(Debug, Deserialize)]
    struct Every(
        #[serde(deserialize_with = "crate::duration::deserialize")]
        #[expect(dead_code, reason = "only whether it can be read is asked")]
        Duration,
    );
}
