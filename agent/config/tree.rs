//! A YAML document as a tree in which every node knows where it stands.
//!
//! The parser is the event parser under serde-saphyr, so that plain and quoted scalars stay apart (see ADR 5).
//! Everything is bounded: bytes, depth, nodes, and what aliases may copy.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use serde_saphyr::granit_parser::{self, ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};

pub use super::read::from_node;
use super::text::{self, Run, Style};
pub use super::words::unknown_key;

/// The most that a document may hold, in bytes.
pub const MAX_BYTES: usize = 8 << 20;
const MAX_DEPTH: usize = 64;
const MAX_NODES: usize = 500_000;
/// How many nodes all aliases together may repeat.
const MAX_ALIASED: usize = 10_000;

/// A place in a file, counted from 1; or, with line 0, somewhere that has no lines
/// (`environment variable WATCHKEEPER__LISTEN`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub file: Arc<str>,
    pub line: u32,
    /// In characters.
    pub column: u32,
}

impl Position {
    pub fn new(file: impl Into<Arc<str>>, line: u32, column: u32) -> Self {
        Position { file: file.into(), line, column }
    }

    /// A place without lines.
    pub fn outside(place: impl Into<Arc<str>>) -> Self {
        Position::new(place, 0, 0)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

/// What is wrong, and where. Shown as `file:line:column: message`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {message}")]
pub struct Problem {
    pub at: Position,
    pub message: String,
}

impl Problem {
    pub fn new(at: &Position, message: impl Into<String>) -> Self {
        Problem { at: at.clone(), message: message.into() }
    }
}

/// A key of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub text: String,
    pub at: Position,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~`, or nothing at all.
    Null,
    /// `plain` scalars may be numbers, booleans and so on; the others (quoted, block) are text.
    Scalar {
        text: String,
        plain: bool,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<(Key, Node)>),
}

/// A value and where it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub at: Position,
    pub value: Value,
    pub(super) origin: Origin,
}

/// Where the text of a scalar comes from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Origin {
    /// From the file: where its pieces stand.
    Source(Vec<Run>),
    /// From a variable, so it may be a secret: errors show `written` instead of it.
    Variable { written: String },
    /// It is no scalar.
    None,
}

impl Node {
    pub fn new(at: &Position, value: Value) -> Self {
        Node { at: at.clone(), value, origin: Origin::None }
    }

    /// A scalar whose text was not written in a file: `written` is what errors show instead of the text.
    pub fn from_variable(at: &Position, text: &str, plain: bool, written: &str) -> Self {
        let origin = Origin::Variable { written: written.to_owned() };
        Node { at: at.clone(), value: scalar(text.to_owned(), plain), origin }
    }

    /// The value under a key; `None` where there is none or this is no mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }

    /// A key and its value.
    pub fn entry(&self, key: &str) -> Option<&(Key, Node)> {
        self.entries().iter().find(|(found, _)| found.text == key)
    }

    /// The entries of a mapping, in order; none for anything else.
    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.value {
            Value::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list, in order; none for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The text of a scalar, whatever it looks like.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Where the byte `offset` of a scalar's text stands in the file.
    /// Exact for what was written in a file; for what a variable gave, the start of the scalar.
    pub fn position_of(&self, offset: usize) -> Position {
        match (&self.origin, &self.value) {
            (Origin::Source(runs), Value::Scalar { text, .. }) => text::locate(runs, text, offset, &self.at),
            _ => self.at.clone(),
        }
    }

    /// What stands here, in words for an error.
    pub fn describe(&self) -> String {
        match (&self.value, &self.origin) {
            (Value::Null, Origin::Variable { written }) => format!("the empty `{written}`"),
            (Value::Null, _) => "nothing".to_owned(),
            (Value::Sequence(_), _) => "a list".to_owned(),
            (Value::Mapping(_), _) => "a mapping".to_owned(),
            (Value::Scalar { .. }, Origin::Variable { written }) => format!("the text of `{written}`"),
            (Value::Scalar { text, .. }, _) if text.is_empty() => "empty text".to_owned(),
            (Value::Scalar { text, plain: true }, _) if !super::scalar::is_text(text) => format!("`{}`", shown(text)),
            (Value::Scalar { text, .. }, _) => format!("the text `{}`", shown(text)),
        }
    }
}

/// A value as errors may show it: on one line, short, URLs without their credentials.
pub fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut line = without_credentials(text.lines().next().unwrap_or_default());
    if line.chars().count() > LONGEST || text.lines().nth(1).is_some() {
        line = line.chars().take(LONGEST).collect();
        line.push('…');
    }
    line
}

fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}"),
        None => text.to_owned(),
    }
}

/// A scalar's value; a plain one that says null is [`Value::Null`].
pub(super) fn scalar(text: String, plain: bool) -> Value {
    let null = plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL");
    if null { Value::Null } else { Value::Scalar { text, plain } }
}

/// Parses one document. `file` is the name that positions bear.
pub fn parse(file: &str, text: &str) -> Result<Node, Problem> {
    read(file, text, false)
}

/// Parses the first document and leaves the others alone, as Prometheus does with rule files.
pub fn parse_first(file: &str, text: &str) -> Result<Node, Problem> {
    read(file, text, true)
}

fn read(file: &str, text: &str, first: bool) -> Result<Node, Problem> {
    let file: Arc<str> = file.into();
    let start = Position { file: file.clone(), line: 1, column: 1 };
    if text.len() > MAX_BYTES {
        return Err(Problem::new(&start, format!("larger than {MAX_BYTES} bytes: split the file")));
    }
    // Windows's byte order mark is no column.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::new(file, text);
    let mut parser = Parser::new_from_str_with_options(text, parser_options());
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| builder.not_yaml(&error))?;
        if first && builder.root.is_some() && matches!(event, Event::DocumentStart(..)) {
            break;
        }
        builder.take(event, span)?;
    }
    Ok(builder.root.unwrap_or_else(|| Node::new(&start, Value::Null)))
}

fn parser_options() -> granit_parser::Options {
    granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    }
}

/// A collection that is not closed yet.
struct Open {
    at: Position,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<(Key, Node)>, seen: HashSet<String>, merged: Vec<Node>, key: Option<Key> },
}

struct Builder<'a> {
    file: Arc<str>,
    source: &'a str,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    nodes: usize,
    aliased: usize,
}

impl<'a> Builder<'a> {
    fn new(file: Arc<str>, source: &'a str) -> Self {
        Builder { file, source, open: Vec::new(), anchors: HashMap::new(), root: None, nodes: 0, aliased: 0 }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let at = self.position(span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let node = self.scalar(text.into_owned(), style, tag.as_deref(), &at, &span)?;
                self.finish(node, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                let kind = OpenKind::Sequence(Vec::new());
                self.start(kind, at, anchor, foreign(tag.as_deref(), "seq", &span))
            }
            Event::MappingStart(_, anchor, tag) => {
                let kind =
                    OpenKind::Mapping { entries: Vec::new(), seen: HashSet::new(), merged: Vec::new(), key: None };
                self.start(kind, at, anchor, foreign(tag.as_deref(), "map", &span))
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(id) => self.alias(id, &at),
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(Problem::new(&at, "a second document starts here: one document per file"))
            }
            _ => Ok(()),
        }
    }

    fn start(&mut self, kind: OpenKind, at: Position, anchor: usize, tag: Option<Marker>) -> Result<(), Problem> {
        if let Some(tag) = tag {
            return Err(self.unwanted_tag(tag));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(Problem::new(&at, format!("nested more than {MAX_DEPTH} levels deep")));
        }
        self.open.push(Open { at, anchor, kind });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.kind {
            OpenKind::Sequence(items) => Value::Sequence(items),
            OpenKind::Mapping { entries, seen, merged, .. } => Value::Mapping(merge(entries, seen, merged)?),
        };
        self.finish(Node::new(&open.at, value), open.anchor)
    }

    fn scalar(
        &self,
        text: String,
        style: ScalarStyle,
        tag: Option<&Tag>,
        at: &Position,
        span: &Span,
    ) -> Result<Node, Problem> {
        if let Some(tag) = foreign(tag, "str", span) {
            return Err(self.unwanted_tag(tag));
        }
        let source = span.slice(self.source).unwrap_or_default();
        let runs = text::runs(written_style(style), &text, source, at);
        let value = scalar(text, style == ScalarStyle::Plain && tag.is_none());
        Ok(Node { at: at.clone(), value, origin: Origin::Source(runs) })
    }

    fn alias(&mut self, id: usize, at: &Position) -> Result<(), Problem> {
        let Some(node) = self.anchors.get(&id).cloned() else {
            return Err(Problem::new(at, "this alias stands inside what it refers to"));
        };
        self.aliased += size(&node);
        if self.aliased > MAX_ALIASED {
            return Err(Problem::new(at, format!("aliases repeat more than {MAX_ALIASED} values")));
        }
        self.finish(node, 0)
    }

    /// A node is complete: it goes to its anchor, and to the collection that it stands in.
    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Problem::new(&node.at, format!("more than {MAX_NODES} values: split the file")));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(node),
            Some(OpenKind::Sequence(items)) => items.push(node),
            Some(OpenKind::Mapping { entries, seen, merged, key }) => match key.take() {
                None => *key = Some(mapping_key(node, seen, entries)?),
                Some(key) if key.text == "<<" => merged.push(node),
                Some(key) => entries.push((key, node)),
            },
        }
        Ok(())
    }

    fn unwanted_tag(&self, tag: Marker) -> Problem {
        Problem { at: self.position(tag), message: "tags (`!…`) are not supported: leave the tag out".to_owned() }
    }

    fn position(&self, mark: Marker) -> Position {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Position { file: self.file.clone(), line: number(mark.line()), column: number(mark.col() + 1) }
    }

    fn not_yaml(&self, error: &ScanError) -> Problem {
        Problem { at: self.position(*error.marker()), message: explain(error.kind()) }
    }
}

fn written_style(style: ScalarStyle) -> Style {
    match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted => Style::Single,
        ScalarStyle::DoubleQuoted => Style::Double,
        ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
    }
}

/// Where a tag stands that says anything else than what is there anyway.
fn foreign(tag: Option<&Tag>, known: &str, span: &Span) -> Option<Marker> {
    let foreign = tag.is_some_and(|tag| !tag.is_yaml_core_schema_tag(known));
    foreign.then(|| span.tag_start().unwrap_or(span.start))
}

fn mapping_key(node: Node, seen: &mut HashSet<String>, entries: &[(Key, Node)]) -> Result<Key, Problem> {
    let text = match node.value {
        Value::Scalar { text, .. } => text,
        _ => return Err(Problem::new(&node.at, "a key must be a word or a number")),
    };
    if !seen.insert(text.clone()) {
        let first = entries.iter().find(|(key, _)| key.text == text).map_or(0, |(key, _)| key.at.line);
        let message = format!("the key `{}` is here twice: it stands in line {first} already", shown(&text));
        return Err(Problem::new(&node.at, message));
    }
    Ok(Key { text, at: node.at })
}

/// YAML 1.1's merge key `<<: *base`: gives what the mapping itself does not say.
fn merge(
    mut entries: Vec<(Key, Node)>,
    mut seen: HashSet<String>,
    merged: Vec<Node>,
) -> Result<Vec<(Key, Node)>, Problem> {
    for base in merged {
        let bases = match base.value {
            Value::Sequence(items) => items,
            _ => vec![base],
        };
        for base in bases {
            let Value::Mapping(more) = base.value else {
                return Err(Problem::new(&base.at, format!("`<<` wants a mapping, not {}", base.describe())));
            };
            entries.extend(more.into_iter().filter(|(key, _)| seen.insert(key.text.clone())));
        }
    }
    Ok(entries)
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::Sequence(items) => items.iter().map(size).sum(),
        Value::Mapping(entries) => entries.iter().map(|(_, value)| size(value)).sum::<usize>(),
        _ => 0,
    }
}

/// The parser's errors that people meet most, in words that say what to do.
fn explain(kind: &ErrorKind) -> String {
    let said = match kind {
        ErrorKind::SimpleKeyExpected => "a line that is no `key: value`: is a colon missing, or the space after it?",
        ErrorKind::MappingValueNotAllowed => {
            "a `:` that can start no value: is the line indented wrongly, or does the text need quotes?"
        }
        ErrorKind::InvalidColonPlacement => {
            "a `:` where none may stand: is a `[`, a `{` or a quote above never closed?"
        }
        ErrorKind::UnexpectedCharacter { character } => {
            return format!("{character:?} cannot start a value: put the text in quotes");
        }
        ErrorKind::ExpectedBlockSequenceEntry => "a `- ` is wanted here, as in the lines above",
        ErrorKind::InvalidQuotedScalarIndent => "this quote is never closed, or its lines are indented too little",
        ErrorKind::TabInIndentation | ErrorKind::TabInBlockIndentation | ErrorKind::TabNotAllowed => {
            "a tab stands here: YAML indents with spaces"
        }
        ErrorKind::UnclosedQuotedScalar => "this quote is never closed",
        ErrorKind::UnclosedFlowCollection { open } => return format!("this `{open}` is never closed"),
        ErrorKind::UnknownAnchor => "no anchor (`&name`) of this name stands before this alias",
        ErrorKind::ExpectedBlockMappingKey => "a key is wanted here: check how the line is indented",
        ErrorKind::InvalidIndentation => "this line is indented unlike its neighbours",
        ErrorKind::ExpectedFlowMappingSeparator => "a `,` or `}` is missing here",
        ErrorKind::ExpectedFlowSequenceSeparator => "a `,` or `]` is missing here",
        ErrorKind::RecursionLimitExceeded => return format!("nested more than {MAX_DEPTH} levels deep"),
        other => return format!("not valid YAML: {other}"),
    };
    said.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse("f.yml", text).unwrap_err().to_string()
    }

    #[test]
    fn a_tree_knows_where_everything_stands() {
        let tree = parse("f.yml", "a: 1\nb:\n  - x\n  - {c: 'y'}\n").unwrap();
        let Value::Sequence(items) = &tree.get("b").unwrap().value else { panic!("no list") };
        assert_eq!(items[1].get("c").unwrap().at.to_string(), "f.yml:4:9");
        assert_eq!(items[1].entry("c").unwrap().0.at.to_string(), "f.yml:4:6");
        assert_eq!(parse("f.yml", "# nothing\n").unwrap().value, Value::Null);
    }

    #[test]
    fn plain_and_quoted_scalars_stay_apart() {
        let tree = parse("f", "[5, '5', !!str 5, ~, '~']").unwrap();
        let Value::Sequence(items) = tree.value else { panic!("no list") };
        let text = |plain| Value::Scalar { text: "5".to_owned(), plain };
        assert_eq!(items[0].value, text(true));
        assert_eq!(items[1].value, text(false));
        assert_eq!(items[2].value, text(false));
        assert_eq!(items[3].value, Value::Null);
        assert_eq!(items[4].text(), Some("~"));
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused_where_it_stands() {
        assert_eq!(refused("a: 1\nb: 2\na: 3\n"), "f.yml:3:1: the key `a` is here twice: it stands in line 1 already");
    }

    #[test]
    fn aliases_and_merge_keys_give_what_they_refer_to() {
        let tree = parse("f", "base: &b {x: 1, y: 2}\nown: {<<: *b, y: 3}\nsame: *b\n").unwrap();
        let own = tree.get("own").unwrap();
        assert_eq!((own.get("x").unwrap().text(), own.get("y").unwrap().text()), (Some("1"), Some("3")));
        assert_eq!(tree.get("same").unwrap().get("y").unwrap().text(), Some("2"));
    }

    #[test]
    fn what_would_grow_without_bound_is_refused() {
        let mut bomb = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned();
        for (name, last) in "bcdefg".chars().zip("abcdef".chars()) {
            bomb.push_str(&format!("{name}: &{name} [{}]\n", vec![format!("*{last}"); 10].join(", ")));
        }
        assert!(refused(&bomb).contains("aliases repeat more than"));
        assert!(refused(&"[".repeat(1000)).contains("nested more than 64 levels"));
        assert!(refused(&"- ".repeat(1000)).contains("nested more than 64 levels"));
        assert!(refused(&"x".repeat(MAX_BYTES + 1)).contains("larger than"));
        assert!(refused("a: 1\n---\nb: 2\n").starts_with("f.yml:2:1: a second document"));
        assert!(refused("a: &a [*a]\n").contains("alias"));
    }

    #[test]
    fn credentials_are_not_shown() {
        assert_eq!(shown("postgres://me:p@ss@db/x"), "postgres://…@db/x");
        assert_eq!(shown(&"x".repeat(100)).chars().count(), 61);
    }
}
