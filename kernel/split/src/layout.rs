//! Computes the indentation of the line after unfinished code. It follows rustfmt as far as the code before that line
//! tells.

/// The spaces of one level of indentation.
const LEVEL: usize = 4;

/// The kind of a statement, an item or an entry of a list. Its first token decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    /// It has no token yet.
    #[default]
    Empty,
    /// It begins with `#` or `#!`: the brackets of an attribute follow.
    Attribute,
    /// It begins with `pub`, `unsafe` or the like: the next word decides.
    Modifier,
    /// It ends with a block: `fn`, `if`, `match`, or a block itself.
    Block,
    /// Only a `;` ends it: `let`, `use`.
    Binding,
    /// Anything else.
    Expression,
}

impl Kind {
    fn of(token: &str) -> Self {
        match token {
            "#" => Self::Attribute,
            "pub" | "unsafe" | "async" | "extern" => Self::Modifier,
            "fn" | "struct" | "enum" | "union" | "trait" | "impl" | "mod" | "macro_rules" => Self::Block,
            "if" | "else" | "match" | "while" | "for" | "loop" => Self::Block,
            "let" | "const" | "static" | "type" | "use" => Self::Binding,
            _ => Self::Expression,
        }
    }
}

/// A statement, an item, or an entry of a list, as far as it has been read.
#[derive(Clone, Debug, Default)]
struct Statement {
    kind: Kind,
    /// The last token.
    last: String,
    /// The byte of its line at which the last token ends. Signs without a space between them are one token.
    end: usize,
    /// The line of the last token.
    line: usize,
    /// Whether that line continues a statement of an earlier line.
    continued: bool,
}

impl Statement {
    /// Whether the statement goes on, on a line that is indented further.
    fn goes_on(&self) -> bool {
        match self.kind {
            Kind::Empty | Kind::Attribute => false,
            Kind::Binding => true,
            Kind::Block => self.last == "," || self.wants_operand(),
            Kind::Modifier | Kind::Expression => self.continued || self.wants_operand(),
        }
    }

    /// Whether the last token needs an operand after it.
    fn wants_operand(&self) -> bool {
        match self.last.as_str() {
            "as" | "in" | "where" | "->" | "=>" => true,
            ".." | "..." => false,
            last => last.ends_with(['=', '+', '-', '*', '/', '%', '^', '&', '|', '.', ':', '<', '@']),
        }
    }
}

/// An open bracket.
struct OpenBracket {
    bracket: char,
    line: usize,
    /// Whether its line continues a statement of an earlier line.
    continued: bool,
    /// The statement that contains it.
    around: Statement,
}

/// The open brackets and the statement at a position in code.
#[derive(Default)]
pub(super) struct Layout {
    line: usize,
    open: Vec<OpenBracket>,
    statement: Statement,
}

impl Layout {
    /// Whether no bracket is open.
    pub(super) fn at_top(&self) -> bool {
        self.open.is_empty()
    }

    /// Begins a line.
    pub(super) fn begin_line(&mut self) {
        self.line += 1;
    }

    /// Takes a word, a number, a lifetime or a string.
    pub(super) fn word(&mut self, word: &str) {
        let statement = &mut self.statement;
        if statement.line != self.line && statement.last == "}" && !matches!(word, "else" | "as") {
            *statement = Statement::default();
        }
        let goes_on = statement.goes_on() && word != "else";
        self.reach(goes_on);
        let statement = &mut self.statement;
        statement.kind = match statement.kind {
            Kind::Empty | Kind::Modifier => Kind::of(word),
            Kind::Binding if statement.last == "const" && word == "fn" => Kind::Block,
            kind => kind,
        };
        statement.last = word.into();
    }

    /// Takes a sign, which stands at a place of its line.
    pub(super) fn sign(&mut self, sign: char, at: usize) {
        let separates = match sign {
            ';' => true,
            ',' => match self.statement.kind {
                // At the top level and directly in a block, it belongs to a `where` clause or to generic arguments.
                Kind::Block | Kind::Binding => self.open.last().is_some_and(|open| open.bracket != '{'),
                _ => true,
            },
            _ => false,
        };
        if separates {
            self.statement = Statement::default();
            return;
        }
        let touches = self.statement.line == self.line && self.statement.end == at;
        // A sign joins what is before it to what follows.
        self.reach(true);
        let statement = &mut self.statement;
        if statement.kind == Kind::Empty {
            statement.kind = Kind::of(sign.encode_utf8(&mut [0; 4]));
        }
        if !touches {
            statement.last.clear();
        }
        statement.last.push(sign);
        statement.end = at + sign.len_utf8();
    }

    /// Takes an opening bracket.
    pub(super) fn open(&mut self, bracket: char) {
        self.reach(false);
        if self.statement.kind == Kind::Empty {
            self.statement.kind = if bracket == '{' { Kind::Block } else { Kind::Expression };
        }
        let around = std::mem::take(&mut self.statement);
        self.open.push(OpenBracket { bracket, line: self.line, continued: around.continued, around });
    }

    /// Takes a closing bracket, and returns whether it matches the open one.
    pub(super) fn close(&mut self, bracket: char) -> bool {
        let Some(open) = self.open.pop() else { return false };
        let ends_with_block = matches!(open.around.kind, Kind::Block | Kind::Modifier) && bracket == '}';
        if !ends_with_block && open.around.kind != Kind::Attribute {
            self.statement = Statement { last: bracket.into(), line: self.line, ..open.around };
        } else {
            self.statement = Statement::default();
        }
        matches!((open.bracket, bracket), ('(', ')') | ('[', ']') | ('{', '}'))
    }

    /// Extends the statement to the current line. `joined` is whether this line continues a line before it.
    fn reach(&mut self, joined: bool) {
        let statement = &mut self.statement;
        if statement.line != self.line {
            statement.continued = joined && statement.kind != Kind::Empty;
            statement.line = self.line;
        }
        statement.end = usize::MAX;
    }

    /// The number of spaces before the next line.
    pub(super) fn indent(&self) -> usize {
        let mut levels = usize::from(self.statement.goes_on());
        let mut outer: Option<&OpenBracket> = None;
        for open in &self.open {
            let same_line = outer.is_some_and(|outer| outer.line == open.line);
            // `f(|x| {` is one level, `fn f() { if x {` is two.
            levels += usize::from(!same_line || outer.is_some_and(|outer| outer.bracket == '{'));
            levels += usize::from(open.continued && !same_line);
            outer = Some(open);
        }
        LEVEL * levels
    }
}
