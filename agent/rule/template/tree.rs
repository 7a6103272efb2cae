//! From a template's text to a tree that prints as Go does: variables and functions are checked here, and three
//! things are rewritten. A field becomes a call of [`FIELD`] (a missing label is empty), what is printed passes
//! through [`PRINT`] (floats as Go writes them), and Prometheus's variables are declared in front.

use std::collections::BTreeSet;

use gotmpl::TemplateError;
use gotmpl::parse::{CommandNode, Expr, ListNode, Node, Parser, PipeNode, Pos, SmolStr};

use super::{Mistake, blocks, functions};

/// Names that no template can write.
pub const FIELD: &str = "\0field";
pub const PRINT: &str = "\0print";

const PRELUDE: &str = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}\
                       {{$externalURL := .ExternalURL}}{{$value := .Value}}";
const VARIABLES: [&str; 5] = ["$", "$labels", "$externalLabels", "$externalURL", "$value"];
const MAX_TEXT: usize = 64 * 1024;

/// The template itself, and those that it defines by `define` and `block`.
pub struct Parsed {
    pub main: ListNode,
    pub named: Vec<(String, ListNode)>,
}

/// Parses and rewrites. The mistakes are all that were found, in order.
pub fn parse(text: &str) -> Result<Parsed, Vec<Mistake>> {
    if text.len() > MAX_TEXT {
        return Err(vec![Mistake { offset: 0, message: format!("the template is longer than {MAX_TEXT} bytes") }]);
    }
    blocks::check(text).map_err(|mistake| vec![mistake])?;
    let read = |text| Parser::new(text, "{{", "}}").and_then(Parser::parse);
    let (mut main, defines) = read(text).map_err(|error| vec![syntax(text, &error)])?;
    let mut rewrite = Rewrite {
        variables: VARIABLES.map(SmolStr::new_static).to_vec(),
        named: defines.iter().map(|define| define.name.to_string()).collect(),
        mistakes: Vec::new(),
    };
    rewrite.list(&mut main);
    let mut named = Vec::new();
    for mut define in defines {
        rewrite.variables = vec![SmolStr::new_static("$")];
        rewrite.list(&mut define.body);
        named.push((define.name.to_string(), define.body));
    }
    if !rewrite.mistakes.is_empty() {
        rewrite.mistakes.sort_by_key(|mistake| mistake.offset);
        return Err(rewrite.mistakes);
    }
    if let Ok((prelude, _)) = read(PRELUDE) {
        main.nodes.splice(0..0, prelude.nodes);
    }
    Ok(Parsed { main, named })
}

fn syntax(text: &str, error: &TemplateError) -> Mistake {
    match error {
        TemplateError::Parse { line, col, message, .. } | TemplateError::Lex { line, col, message, .. } => {
            Mistake { offset: offset(text, *line, *col), message: format!("template: {message}") }
        }
        other => Mistake { offset: 0, message: format!("template: {other}") },
    }
}

/// The byte at a 1-based line and column (in characters).
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum::<usize>();
    let rest = text.get(start..).unwrap_or("");
    start + rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(at, _)| at)
}

struct Rewrite {
    variables: Vec<SmolStr>,
    named: BTreeSet<String>,
    mistakes: Vec<Mistake>,
}

impl Rewrite {
    fn list(&mut self, list: &mut ListNode) {
        for node in &mut list.nodes {
            self.node(node);
        }
    }

    fn node(&mut self, node: &mut Node) {
        match node {
            Node::Action(action) => {
                self.pipe(&mut action.pipe);
                if action.pipe.decl.is_empty() {
                    action.pipe.commands.push(call(action.pos, PRINT, Vec::new()));
                }
            }
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
                let outside = self.variables.len();
                self.pipe(&mut branch.pipe);
                self.list(&mut branch.body);
                branch.else_body.iter_mut().for_each(|body| self.list(body));
                self.variables.truncate(outside);
            }
            Node::Template(used) => {
                if !self.named.contains(used.name.as_str()) {
                    self.refuse(used.pos, format!("template {:?} is not defined", used.name.as_str()));
                }
                used.pipe.iter_mut().for_each(|pipe| self.pipe(pipe));
            }
            Node::List(list) => self.list(list),
            Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => {}
        }
    }

    fn pipe(&mut self, pipe: &mut PipeNode) {
        for command in &mut pipe.commands {
            command.args.iter_mut().for_each(|expr| self.expr(expr));
        }
        if pipe.is_assign {
            for name in pipe.decl.clone() {
                self.variable(pipe.pos, &name);
            }
        } else {
            self.variables.extend(pipe.decl.iter().cloned());
        }
    }

    fn expr(&mut self, expr: &mut Expr) {
        match expr {
            Expr::Identifier(pos, name) => self.function(*pos, &name.clone()),
            Expr::Field(pos, fields) => *expr = field(*pos, Expr::Dot(*pos), fields),
            Expr::Variable(pos, name, fields) => {
                let (pos, name) = (*pos, name.clone());
                self.variable(pos, &name);
                if !fields.is_empty() {
                    *expr = field(pos, Expr::Variable(pos, name, Vec::new()), fields);
                }
            }
            Expr::Pipe(_, pipe) => self.pipe(pipe),
            Expr::Chain(pos, inner, fields) => {
                self.expr(inner);
                *expr = field(*pos, (**inner).clone(), fields);
            }
            Expr::Dot(_) | Expr::String(..) | Expr::Number(..) | Expr::Bool(..) | Expr::Nil(_) => {}
        }
    }

    fn variable(&mut self, pos: Pos, name: &SmolStr) {
        if !self.variables.contains(name) {
            self.refuse(pos, format!("template: undefined variable {name:?}"));
        }
    }

    fn function(&mut self, pos: Pos, name: &str) {
        if functions::UNSUPPORTED.contains(&name) {
            self.refuse(pos, format!("template function {name:?} is not supported by this version"));
        } else if !functions::NAMES.contains(&name) {
            self.refuse(pos, format!("template function {name:?} does not exist"));
        }
    }

    fn refuse(&mut self, pos: Pos, message: String) {
        self.mistakes.push(Mistake { offset: pos.offset, message });
    }
}

/// `(FIELD inner "a" "b")` for `inner.a.b`.
fn field(pos: Pos, inner: Expr, fields: &[SmolStr]) -> Expr {
    let names = fields.iter().map(|name| Expr::String(pos, name.as_str().into()));
    let commands = vec![call(pos, FIELD, std::iter::once(inner).chain(names).collect())];
    Expr::Pipe(pos, PipeNode { pos, decl: Vec::new(), commands, is_assign: false })
}

fn call(pos: Pos, function: &'static str, mut args: Vec<Expr>) -> CommandNode {
    args.insert(0, Expr::Identifier(pos, SmolStr::new_static(function)));
    CommandNode { pos, args }
}
