//! As much of Rust's grammar as it takes to know where a line begins outside of brackets, strings and comments.

/// Where the scan of some code ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// It can be run.
    Complete,
    /// More must follow; so many spaces indent the next line.
    Incomplete { indent: usize },
    /// Nothing that follows can make it right.
    Invalid,
}

/// What a position in code lies in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Code,
    LineComment,
    BlockComment(usize),
    Text,
    RawText(usize),
}

/// The state of a scan.
pub(super) struct Scan {
    inside: Inside,
    open: Vec<char>,
    mismatch: bool,
}

impl Scan {
    pub(super) fn new() -> Self {
        Self { inside: Inside::Code, open: vec![], mismatch: false }
    }

    /// Whether the next character is code at the top level.
    pub(super) fn at_top(&self) -> bool {
        self.inside == Inside::Code && self.open.is_empty()
    }

    /// Scans one line with its end.
    pub(super) fn line(&mut self, line: &str) {
        let chars: Vec<char> = line.chars().collect();
        let mut i = 0;
        while i < chars.len() {
            let (c, next) = (chars[i], chars.get(i + 1).copied());
            i += match self.inside {
                Inside::LineComment => {
                    if c == '\n' {
                        self.inside = Inside::Code;
                    }
                    1
                }
                Inside::BlockComment(depth) => match (c, next) {
                    ('*', Some('/')) => {
                        self.inside = if depth == 1 { Inside::Code } else { Inside::BlockComment(depth - 1) };
                        2
                    }
                    ('/', Some('*')) => {
                        self.inside = Inside::BlockComment(depth + 1);
                        2
                    }
                    _ => 1,
                },
                Inside::Text => match c {
                    '\\' => 2,
                    '"' => {
                        self.inside = Inside::Code;
                        1
                    }
                    _ => 1,
                },
                Inside::RawText(hashes) => {
                    let closes =
                        c == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
                    if closes {
                        self.inside = Inside::Code;
                        1 + hashes
                    } else {
                        1
                    }
                }
                Inside::Code => self.code(&chars, i),
            };
        }
        if self.inside == Inside::LineComment {
            self.inside = Inside::Code;
        }
    }

    /// Takes what begins at `i` in code; gives its length.
    fn code(&mut self, chars: &[char], i: usize) -> usize {
        let (c, next) = (chars[i], chars.get(i + 1).copied());
        match (c, next) {
            ('/', Some('/')) => self.inside = Inside::LineComment,
            ('/', Some('*')) => {
                self.inside = Inside::BlockComment(1);
                return 2;
            }
            ('"', _) => self.inside = Inside::Text,
            ('r', Some('"' | '#')) if !in_word(chars, i) => {
                let hashes = chars[i + 1..].iter().take_while(|c| **c == '#').count();
                if chars.get(i + 1 + hashes) == Some(&'"') {
                    self.inside = Inside::RawText(hashes);
                    return hashes + 2;
                }
            }
            // A character, as opposed to a lifetime.
            ('\'', Some('\\')) => {
                let rest = chars[i + 3.min(chars.len() - i)..].iter().position(|c| *c == '\'');
                return rest.map_or(2, |at| at + 4);
            }
            ('\'', Some(_)) if chars.get(i + 2) == Some(&'\'') => return 3,
            ('(' | '[' | '{', _) => self.open.push(c),
            (')' | ']' | '}', _) => {
                let opening = match c {
                    ')' => '(',
                    ']' => '[',
                    _ => '{',
                };
                if self.open.pop() != Some(opening) {
                    self.mismatch = true;
                }
            }
            _ => {}
        }
        1
    }

    fn completeness(&self) -> Completeness {
        if self.mismatch {
            Completeness::Invalid
        } else if self.at_top() {
            Completeness::Complete
        } else {
            Completeness::Incomplete { indent: 4 * self.open.len() }
        }
    }
}

/// Whether the character before belongs to the same word (`bar"` is no raw string, `br"` is).
fn in_word(chars: &[char], i: usize) -> bool {
    let before = i.checked_sub(1).and_then(|j| chars.get(j));
    before.is_some_and(|c| (c.is_alphanumeric() || *c == '_') && *c != 'b' && *c != 'c')
}

/// Whether code can be run as it is.
pub fn completeness(code: &str) -> Completeness {
    let mut scan = Scan::new();
    for line in code.split_inclusive('\n') {
        scan.line(line);
    }
    if scan.at_top() && !scan.mismatch {
        // A line that cannot end a statement asks for more.
        let last = code.trim_end();
        let goes_on = ["=", "+", "-", "*", ",", "&&", "||", "->", "."].iter().any(|tail| last.ends_with(tail));
        if goes_on && !last.ends_with("..") {
            return Completeness::Incomplete { indent: 4 };
        }
    }
    scan.completeness()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_strings_and_comments_decide() {
        use Completeness::*;
        let cases = [
            ("let x = 1;", Complete),
            ("fn f() {", Incomplete { indent: 4 }),
            ("fn f() { if x {", Incomplete { indent: 8 }),
            ("let s = \"abc", Incomplete { indent: 0 }),
            ("let s = r#\"a \" b", Incomplete { indent: 0 }),
            ("/* open", Incomplete { indent: 0 }),
            ("let c = '{'; let d = '\\''; let l: &'static str = \"}\";", Complete),
            ("// {", Complete),
            ("f(]", Invalid),
            ("}", Invalid),
            ("let x =", Incomplete { indent: 4 }),
            ("0..", Complete),
            ("let q = '\"';", Complete),
        ];
        for (code, expected) in cases {
            assert_eq!(completeness(code), expected, "{code}");
        }
    }
}
