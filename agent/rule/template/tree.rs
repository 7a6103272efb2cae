//! From a template's text to a tree that prints as Go does: variables and functions are checked here, and some
//! things are rewritten. A field becomes a call of [`FIELD`] (a missing label is empty), what is printed passes
//! through [`PRINT`] (floats as Go writes them), what `range` goes through passes [`ITERATE`], what Go refuses only
//! when it is executed becomes [`FAIL`], each call gets a name of its own (see [`Site`]), and Prometheus's variables
//! are declared in front.

use gotmpl::TemplateError;
use gotmpl::parse::{ActionNode, CommandNode, Expr, ListNode, Node, Number, Parser, PipeNode, Pos, SmolStr};

use super::site::{NAME, Place, Site};
use super::{Mistake, blocks, functions, literals};

/// Names that no template can write.
pub const FIELD: &str = "\0field";
pub const PRINT: &str = "\0print";
pub const METHOD: &str = "\0method";
pub const ITERATE: &str = "\0iterate";
pub const FAIL: &str = "\0fail";

const PRELUDE: &str = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}\
                       {{$externalURL := .ExternalURL}}{{$value := .Value}}";
const VARIABLES: [&str; 5] = ["$", "$labels", "$externalLabels", "$externalURL", "$value"];
const MAX_TEXT: usize = 64 * 1024;

/// The template itself, and those that it defines by `define` and `block`.
pub struct Parsed {
    pub main: ListNode,
    pub named: Vec<(String, ListNode)>,
    /// The calls: the nth is known to the tree by [`name_of`].
    pub sites: Vec<Site>,
}

/// The name of the nth call.
pub fn name_of(site: usize) -> String {
    format!("\0{site}")
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
        text,
        template: NAME.to_owned(),
        defined: defines.iter().map(|define| define.name.clone()).collect(),
        variables: VARIABLES.map(SmolStr::new_static).to_vec(),
        mistakes: Vec::new(),
        sites: Vec::new(),
    };
    rewrite.list(&mut main);
    for (index, define) in defines.iter().enumerate() {
        if defines[..index].iter().any(|earlier| earlier.name == define.name) {
            rewrite.refuse(define.pos, format!("template: multiple definition of template {:?}", define.name.as_str()));
        }
    }
    let mut named = Vec::new();
    for mut define in defines {
        rewrite.variables = vec![SmolStr::new_static("$")];
        rewrite.template = define.name.to_string();
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
    Ok(Parsed { main, named, sites: rewrite.sites })
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

struct Rewrite<'a> {
    text: &'a str,
    /// The name of the template that is being rewritten.
    template: String,
    defined: Vec<SmolStr>,
    variables: Vec<SmolStr>,
    mistakes: Vec<Mistake>,
    sites: Vec<Site>,
}

impl Rewrite<'_> {
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
                    let place = self.place(action.pos, String::new());
                    let print = self.call(PRINT, place, Vec::new());
                    action.pipe.commands.push(print);
                }
            }
            Node::If(branch) | Node::With(branch) => {
                let outside = self.variables.len();
                self.pipe(&mut branch.pipe);
                self.list(&mut branch.body);
                branch.else_body.iter_mut().for_each(|body| self.list(body));
                self.variables.truncate(outside);
            }
            Node::Range(branch) => {
                let outside = self.variables.len();
                let place = branch.pipe.commands.last().map(|command| self.last(command));
                self.pipe(&mut branch.pipe);
                if let Some(place) = place {
                    let variables = Number::Int(branch.pipe.decl.len() as i64);
                    let iterate = self.call(ITERATE, place, vec![Expr::Number(branch.pos, variables)]);
                    branch.pipe.commands.push(iterate);
                }
                self.list(&mut branch.body);
                branch.else_body.iter_mut().for_each(|body| self.list(body));
                self.variables.truncate(outside);
            }
            Node::Template(used) => {
                if !self.defined.contains(&used.name) {
                    let written =
                        used.pipe.as_ref().map(|pipe| format!(" {}", self.pipe_text(pipe))).unwrap_or_default();
                    let name = self.text[used.pos.offset..].find(['"', '`']).unwrap_or(0);
                    let mut place = self.place(used.pos, format!("{{{{template {:?}{written}}}}}", used.name.as_str()));
                    place.at = self.at(used.pos.offset + name);
                    let failed = self.fail(used.pos, place, format!("template {:?} not defined", used.name.as_str()));
                    let pipe = PipeNode { pos: used.pos, decl: Vec::new(), commands: vec![failed], is_assign: false };
                    *node = Node::Action(ActionNode { pos: used.pos, pipe });
                    return;
                }
                match &mut used.pipe {
                    Some(pipe) => self.pipe(pipe),
                    none => *none = Some(self.nothing(used.pos)),
                }
            }
            Node::List(list) => self.list(list),
            Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => {}
        }
    }

    fn pipe(&mut self, pipe: &mut PipeNode) {
        let last = pipe.commands.last().map(|command| self.last(command));
        for (index, command) in pipe.commands.iter_mut().enumerate() {
            if index > 0 && (is_constant(&command.args[0]) || matches!(command.args[0], Expr::Dot(_))) {
                let message = format!("template: non executable command in pipeline stage {}", index + 1);
                self.refuse(command.args[0].pos(), message);
            }
            self.command(command, index > 0);
        }
        if !pipe.is_assign {
            self.variables.extend(pipe.decl.iter().cloned());
        } else if let (Some(unknown), Some(last)) = (pipe.decl.iter().find(|name| !self.variables.contains(name)), last)
        {
            let failed = self.fail(pipe.pos, last, format!("undefined variable: {unknown}"));
            pipe.commands.push(failed);
        }
    }

    fn command(&mut self, command: &mut CommandNode, piped: bool) {
        let text = self.command_text(command);
        let last = self.last(command);
        let args: Vec<(Place, bool)> = command.args[1..].iter().map(|arg| self.argument(arg)).collect();
        let with_arguments = piped || !args.is_empty();
        let is_method = with_arguments && has_fields(&command.args[0]);
        let (first, rest) = command.args.split_at_mut(1);
        let pos = first[0].pos();
        for expr in &mut *rest {
            self.separate(expr);
            self.expr(expr);
        }
        match &mut first[0] {
            Expr::Identifier(_, name) if matches!(name.as_str(), "and" | "or") => {
                if !with_arguments {
                    let message = format!("wrong number of args for {name}: want at least 1 got 0");
                    let place = self.place(pos, name.to_string());
                    *command = self.fail(pos, place, message);
                }
            }
            Expr::Identifier(_, name) => {
                let function = name.to_string();
                self.function(pos, &function);
                let site = Site { function, template: self.template.clone(), call: self.place(pos, text), last, args };
                *name = self.site(site);
            }
            Expr::Field(..) | Expr::Variable(..) | Expr::Chain(..) if is_method => {
                let place = self.blame(&first[0]);
                let (inner, method) = without_last_field(first[0].clone());
                let mut args = vec![inner, Expr::String(pos, method.as_str().into())];
                self.expr(&mut args[0]);
                args.extend(rest.iter().cloned());
                *command = self.call(METHOD, place, args);
            }
            Expr::Nil(_) => *command = self.fail(pos, last, "nil is not a command".to_owned()),
            Expr::Variable(..) | Expr::Dot(_) | Expr::String(..) | Expr::Number(..) | Expr::Bool(..)
                if with_arguments =>
            {
                let text = self.expr_text(&first[0]);
                let place = self.place(pos, text.clone());
                *command = self.fail(pos, place, format!("can't give argument to non-function {text}"));
            }
            other => self.expr(other),
        }
    }

    fn expr(&mut self, expr: &mut Expr) {
        match expr {
            Expr::Identifier(pos, name) => {
                let (pos, function) = (*pos, name.to_string());
                self.function(pos, &function);
                let place = self.place(pos, function.clone());
                let template = self.template.clone();
                *name = self.site(Site { function, template, call: place.clone(), last: place, args: Vec::new() });
            }
            Expr::Field(pos, fields) => {
                let (pos, fields) = (*pos, fields.clone());
                if self.text.get(pos.offset..).is_some_and(|rest| rest.starts_with("..")) {
                    self.refuse(pos, "template: two dots without a name between them".to_owned());
                }
                let place = self.blame(expr);
                *expr = self.field(pos, place, Expr::Dot(pos), &fields);
            }
            Expr::Variable(pos, name, fields) => {
                let (pos, name, fields) = (*pos, name.clone(), fields.clone());
                self.variable(pos, &name);
                if !fields.is_empty() {
                    let place = self.blame(expr);
                    *expr = self.field(pos, place, Expr::Variable(pos, name, Vec::new()), &fields);
                }
            }
            Expr::Pipe(_, pipe) => self.pipe(pipe),
            Expr::Chain(pos, inner, fields) => {
                let (pos, place, fields) = (*pos, self.last_of(inner), fields.clone());
                self.expr(inner);
                *expr = self.field(pos, place, (**inner).clone(), &fields);
            }
            Expr::Number(pos, Number::Uint(number)) => {
                let (pos, message) = (*pos, format!("{number} overflows int"));
                let place = self.last_of(expr);
                let commands = vec![self.fail(pos, place, message)];
                *expr = Expr::Pipe(pos, PipeNode { pos, decl: Vec::new(), commands, is_assign: false });
            }
            Expr::String(pos, _) | Expr::Number(pos, _) => {
                let written = literals::written(self.text.get(pos.offset..).unwrap_or(""));
                if let Some(wrong) = literals::mistake(written) {
                    self.refuse(*pos, format!("template: {wrong}: {written}"));
                }
            }
            Expr::Dot(_) | Expr::Bool(..) | Expr::Nil(_) => {}
        }
    }

    /// Refuses an argument that follows the one before it without a space.
    fn separate(&mut self, expr: &Expr) {
        let before = self.text.get(..expr.pos().offset).and_then(|before| before.chars().last());
        let follows = matches!(before, Some(c) if !c.is_whitespace());
        if follows && !matches!(expr, Expr::Pipe(..) | Expr::Chain(..)) {
            self.refuse(expr.pos(), format!("template: no space before {}", self.expr_text(expr)));
        }
    }

    fn variable(&mut self, pos: Pos, name: &SmolStr) {
        if !self.variables.contains(name) {
            self.refuse(pos, format!("template: undefined variable {name:?}"));
        }
    }

    fn function(&mut self, pos: Pos, name: &str) {
        if !functions::NAMES.contains(&name) {
            self.refuse(pos, format!("template function {name:?} does not exist"));
        }
    }

    fn refuse(&mut self, pos: Pos, message: String) {
        self.mistakes.push(Mistake { offset: pos.offset, message });
    }

    /// `(FIELD inner "a" "b")` for `inner.a.b`.
    fn field(&mut self, pos: Pos, place: Place, inner: Expr, fields: &[SmolStr]) -> Expr {
        let names = fields.iter().map(|name| Expr::String(pos, name.as_str().into()));
        let commands = vec![self.call(FIELD, place, std::iter::once(inner).chain(names).collect())];
        Expr::Pipe(pos, PipeNode { pos, decl: Vec::new(), commands, is_assign: false })
    }

    /// What a template sees that is given nothing; the crate would give it the caller's dot.
    fn nothing(&mut self, pos: Pos) -> PipeNode {
        let place = self.place(pos, String::new());
        PipeNode { pos, decl: Vec::new(), commands: vec![self.call(FIELD, place, Vec::new())], is_assign: false }
    }

    fn fail(&mut self, pos: Pos, place: Place, message: String) -> CommandNode {
        self.call(FAIL, place, vec![Expr::String(pos, message.into())])
    }

    /// A call that we put in.
    fn call(&mut self, function: &str, place: Place, mut args: Vec<Expr>) -> CommandNode {
        let pos = Pos::new(0, 1);
        let (function, template) = (function.to_owned(), self.template.clone());
        let name = self.site(Site { function, template, call: place.clone(), last: place, args: Vec::new() });
        args.insert(0, Expr::Identifier(pos, name));
        CommandNode { pos, args }
    }

    fn site(&mut self, site: Site) -> SmolStr {
        self.sites.push(site);
        SmolStr::from(name_of(self.sites.len() - 1).as_str())
    }
}

/// Places, and nodes as Go writes them.
impl Rewrite<'_> {
    fn place(&self, pos: Pos, text: String) -> Place {
        Place { at: self.at(pos.offset), text }
    }

    /// Line and column as Go counts them: from 1 and from 0, in bytes, behind Prometheus's declarations.
    fn at(&self, offset: usize) -> String {
        let before = &self.text[..offset.min(self.text.len())];
        match before.rfind('\n') {
            Some(end) => format!("{}:{}", before.matches('\n').count() + 1, before.len() - end - 1),
            None => format!("1:{}", PRELUDE.len() + before.len()),
        }
    }

    fn argument(&self, expr: &Expr) -> (Place, bool) {
        (self.last_of(expr), is_constant(expr))
    }

    /// What is evaluated last in a command.
    fn last(&self, command: &CommandNode) -> Place {
        self.last_of(&command.args[command.args.len() - 1])
    }

    fn last_of(&self, expr: &Expr) -> Place {
        match expr {
            Expr::Pipe(_, pipe) => self.last(&pipe.commands[pipe.commands.len() - 1]),
            Expr::Chain(_, inner, _) => self.last_of(inner),
            other => self.blame(other),
        }
    }

    /// Go places a chain of fields at its first field after a variable, and at its second after the dot.
    fn blame(&self, expr: &Expr) -> Place {
        let before = match expr {
            Expr::Variable(_, name, fields) if !fields.is_empty() => name.len(),
            Expr::Field(_, fields) if fields.len() > 1 => fields[0].len() + 1,
            Expr::Chain(_, inner, _) => return self.last_of(inner),
            _ => 0,
        };
        Place { at: self.at(expr.pos().offset + before), text: self.expr_text(expr) }
    }

    fn pipe_text(&self, pipe: &PipeNode) -> String {
        let commands: Vec<String> = pipe.commands.iter().map(|command| self.command_text(command)).collect();
        commands.join(" | ")
    }

    fn command_text(&self, command: &CommandNode) -> String {
        command.args.iter().map(|expr| self.expr_text(expr)).collect::<Vec<_>>().join(" ")
    }

    fn expr_text(&self, expr: &Expr) -> String {
        let chain = |fields: &[SmolStr]| fields.iter().map(|name| format!(".{name}")).collect::<String>();
        match expr {
            Expr::Dot(_) => ".".to_owned(),
            Expr::Field(_, fields) => chain(fields),
            Expr::Variable(_, name, fields) => format!("{name}{}", chain(fields)),
            Expr::Identifier(_, name) => name.to_string(),
            Expr::String(pos, _) | Expr::Number(pos, _) => {
                literals::written(self.text.get(pos.offset..).unwrap_or("")).to_owned()
            }
            Expr::Bool(_, value) => value.to_string(),
            Expr::Nil(_) => "nil".to_owned(),
            Expr::Pipe(_, pipe) => format!("({})", self.pipe_text(pipe)),
            Expr::Chain(_, inner, fields) => format!("{}{}", self.expr_text(inner), chain(fields)),
        }
    }
}

fn is_constant(expr: &Expr) -> bool {
    matches!(expr, Expr::String(..) | Expr::Number(..) | Expr::Bool(..) | Expr::Nil(_))
}

fn has_fields(expr: &Expr) -> bool {
    matches!(expr, Expr::Variable(_, _, fields) | Expr::Field(_, fields) | Expr::Chain(_, _, fields) if !fields.is_empty())
}

/// `a.b` and `c` for `a.b.c`.
fn without_last_field(expr: Expr) -> (Expr, SmolStr) {
    let split = |mut fields: Vec<SmolStr>| {
        let last = fields.pop().unwrap_or_default();
        (fields, last)
    };
    match expr {
        Expr::Variable(pos, name, fields) => {
            let (fields, last) = split(fields);
            (Expr::Variable(pos, name, fields), last)
        }
        Expr::Field(pos, fields) => {
            let (fields, last) = split(fields);
            (if fields.is_empty() { Expr::Dot(pos) } else { Expr::Field(pos, fields) }, last)
        }
        Expr::Chain(pos, inner, fields) => {
            let (fields, last) = split(fields);
            (if fields.is_empty() { *inner } else { Expr::Chain(pos, inner, fields) }, last)
        }
        other => (other, SmolStr::default()),
    }
}
