//! How far the next line of unfinished code is to be indented: as rustfmt would, as far as that can be told from what
//! stands before.

/// Spaces a level.
const LEVEL: usize = 4;

/// What kind of statement, item or entry of a list it is, by how it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    /// Nothing of it is there yet.
    #[default]
    Empty,
    /// `#` or `#!`: the brackets of an attribute follow.
    Attribute,
    /// `pub`, `unsafe` and such: the next word decides.
    Modifier,
    /// It ends with its block: `fn`, `if`, `match`, a block.
    Block,
    /// It ends with `;` alone: `let`, `use`.
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

/// A statement, an item, or an entry of a list, as far as it was read.
#[derive(Clone, Debug, Default)]
struct Statement {
    kind: Kind,
    /// Its last token.
    last: String,
    /// Where that ends: signs that touch are one token.
    end: usize,
    /// The line of the last token.
    line: usize,
    /// Whether that line goes on with what an earlier line began.
    continued: bool,
}

impl Statement {
    /// Whether more of it must follow, on a line that is indented further.
    fn goes_on(&self) -> bool {
        match self.kind {
            Kind::Empty | Kind::Attribute => false,
            Kind::Binding => true,
            Kind::Block => self.last == "," || self.wants_operand(),
            Kind::Modifier | Kind::Expression => self.continued || self.wants_operand(),
        }
    }

    /// Whether it ends in something that needs more behind it.
    fn wants_operand(&self) -> bool {
        match self.last.as_str() {
            "as" | "in" | "where" | "->" | "=>" => true,
            ".." | "..." => false,
            last => last.ends_with(['=', '+', '-', '*', '/', '%', '^', '&', '|', '.', ':', '<', '@']),
        }
    }
}

/// An open bracket.
struct Open {
    bracket: char,
    line: usize,
    /// Whether its line goes on with what an earlier line began.
    continued: bool,
    /// What it stands in.
    around: Statement,
}

/// Brackets and statements up to a place in some code.
#[derive(Default)]
pub(super) struct Layout {
    line: usize,
    open: Vec<Open>,
    statement: Statement,
}

impl Layout {
    /// Whether no bracket is open.
    pub(super) fn at_top(&self) -> bool {
        self.open.is_empty()
    }

    /// A line begins.
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
                // The bounds of a `where`, or generic arguments.
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
        // Before it there is something that it joins to what follows.
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
        self.open.push(Open { bracket, line: self.line, continued: around.continued, around });
    }

    /// Takes a closing bracket; whether it closes what is open.
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

    /// The statement reaches this line; `joined`: with something that goes on with an earlier one, if there is one.
    fn reach(&mut self, joined: bool) {
        let statement = &mut self.statement;
        if statement.line != self.line {
            statement.continued = joined && statement.kind != Kind::Empty;
            statement.line = self.line;
        }
        statement.end = usize::MAX;
    }

    /// Spaces before the next line.
    pub(super) fn indent(&self) -> usize {
        let mut levels = usize::from(self.statement.goes_on());
        let mut outer: Option<&Open> = None;
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
