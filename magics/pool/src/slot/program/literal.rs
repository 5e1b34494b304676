//! Reads an object as programs print it: JSON, and what other languages write instead, such as a dict of Python or
//! `nan`.

/// How deep objects and lists may be nested.
const DEPTH: u32 = 32;

/// A value in an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    /// A number, or None for one that is not finite.
    Number(Option<f64>),
    /// Text in quotes.
    Text(String),
    Object(Object),
    /// Anything else, as it is written: `true`, `None`, a list.
    Other(String),
}

/// The fields of an object in their order.
pub(super) type Object = Vec<(String, Literal)>;

/// Why a text is not an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Broken {
    /// The text ends before the object does. Further lines may complete it.
    Ends,
    /// There is something else.
    Here,
}

/// Reads the object at the start of a text. Returns it with its length.
pub(super) fn object(text: &str) -> Result<(Object, usize), Broken> {
    let mut reader = Reader { text, at: 0 };
    let object = reader.object(0)?;
    Ok((object, reader.at))
}

/// The number that a text is, if it is one: None in it for one that is not finite.
pub(super) fn number(text: &str) -> Option<Option<f64>> {
    let mut reader = Reader { text: text.trim(), at: 0 };
    match reader.value(DEPTH) {
        Ok(Literal::Number(number)) if reader.rest().is_empty() => Some(number),
        _ => None,
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

type Read<T> = Result<T, Broken>;

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The next character, which is not read yet.
    fn peek(&self) -> Read<char> {
        self.rest().chars().next().ok_or(Broken::Ends)
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Reads this character after any space, if it comes next.
    fn mark(&mut self, mark: char) -> Read<bool> {
        self.skip_space();
        let found = self.peek()? == mark;
        self.at += if found { mark.len_utf8() } else { 0 };
        Ok(found)
    }

    fn take_while(&mut self, inside: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !inside(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn object(&mut self, depth: u32) -> Read<Object> {
        if depth > DEPTH || !self.mark('{')? {
            return Err(Broken::Here);
        }
        let mut fields = vec![];
        while !self.mark('}')? {
            self.skip_space();
            let key = match self.peek()? {
                '"' | '\'' => self.string()?,
                c if c.is_alphanumeric() || c == '_' => {
                    self.take_while(|c| c.is_alphanumeric() || "_./-".contains(c)).to_string()
                }
                _ => return Err(Broken::Here),
            };
            if !self.mark(':')? {
                return Err(Broken::Here);
            }
            fields.push((key, self.value(depth + 1)?));
            if !self.mark(',')? && self.peek()? != '}' {
                return Err(Broken::Here);
            }
        }
        Ok(fields)
    }

    fn value(&mut self, depth: u32) -> Read<Literal> {
        self.skip_space();
        match self.peek()? {
            '{' => self.object(depth).map(Literal::Object),
            '"' | '\'' => self.string().map(Literal::Text),
            '[' | '(' => {
                let start = self.at;
                self.skip_list(depth)?;
                Ok(Literal::Other(self.text[start..self.at].into()))
            }
            _ => self.word(depth),
        }
    }

    /// Reads past a list or tuple.
    fn skip_list(&mut self, depth: u32) -> Read<()> {
        if depth > DEPTH {
            return Err(Broken::Here);
        }
        let close = if self.peek()? == '[' { ']' } else { ')' };
        self.at += 1;
        while !self.mark(close)? {
            self.value(depth + 1)?;
            if !self.mark(',')? && self.peek()? != close {
                return Err(Broken::Here);
            }
        }
        Ok(())
    }

    /// Reads text in quotes on one line.
    fn string(&mut self) -> Read<String> {
        let quote = self.peek()?;
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.at += at + 1;
                    return Ok(text);
                }
                '\n' => break,
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, 'u')) => {
                        let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                        text.push(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32).unwrap_or('\u{fffd}'));
                    }
                    Some((_, c)) => text.push(c),
                    None => break,
                },
                c => text.push(c),
            }
        }
        Err(Broken::Here)
    }

    /// Reads a number or a word. A word with brackets behind it is a number if its first argument is: `tensor(0.5)`.
    fn word(&mut self, depth: u32) -> Read<Literal> {
        let start = self.at;
        let text = self.take_while(|c| c.is_alphanumeric() || "_.+-#%".contains(c));
        if text.is_empty() {
            return Err(Broken::Here);
        }
        if self.rest().is_empty() && depth < DEPTH {
            // The next line could not continue the word, but the object is not complete.
            return Err(Broken::Ends);
        }
        let called = self.rest().starts_with('(');
        let first = if called { self.first_argument(depth)? } else { None };
        if let Some(number) = plain_number(text) {
            return Ok(Literal::Number(number));
        }
        let is_name = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
        Ok(match first {
            Some(Literal::Number(number)) if is_name => Literal::Number(number),
            Some(Literal::Text(text)) if is_name && number(&text).is_some() => Literal::Text(text),
            _ => Literal::Other(self.text[start..self.at].into()),
        })
    }

    /// Reads past the arguments of a call, which may be anything (`grad_fn=<NllLoss>`), and returns the first one.
    fn first_argument(&mut self, depth: u32) -> Read<Option<Literal>> {
        let mut inside = Reader { text: self.text, at: self.at + 1 };
        let length = self.rest().find(')').ok_or(Broken::Here)?;
        self.at += length + 1;
        Ok(inside.value(depth + 1).ok().filter(|_| inside.at < self.at))
    }
}

/// The number that a word is. C, Rust, R, Fortran and others write one that is not finite as `nan`, `-inf`, `Infinity`,
/// `1.#QNAN`; what follows `nan` in brackets was read already.
fn plain_number(word: &str) -> Option<Option<f64>> {
    let unsigned = word.strip_prefix(['-', '+']).unwrap_or(word).to_ascii_lowercase();
    if ["nan", "inf", "infinity", "snan", "qnan"].contains(&unsigned.as_str()) || unsigned.starts_with("1.#") {
        return Some(None);
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let number: f64 = word.replace('_', "").parse().ok()?;
    Some(Some(number).filter(|number| number.is_finite()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_languages_write_them() {
        for (text, value) in [
            ("1", Some(1.0)),
            ("-.5", Some(-0.5)),
            ("+5.", Some(5.0)),
            ("1_000", Some(1000.0)),
            ("1e-3", Some(1e-3)),
            ("1E+3", Some(1e3)),
            ("np.float32(0.5)", Some(0.5)),
            ("tensor(0.25, device='cuda:0', grad_fn=<NllLoss>)", Some(0.25)),
            ("nan", None),
            ("-NaN", None),
            ("inf", None),
            ("-Inf", None),
            ("+INF", None),
            ("Infinity", None),
            ("nan(0x8000000000000)", None),
            ("-nan(ind)", None),
            ("1.#QNAN", None),
            ("1e999", None),
        ] {
            let read = object(&format!("{{\"x\": {text}}}"));
            assert_eq!(read.unwrap().0, [("x".to_string(), Literal::Number(value))], "{text}");
        }
        for text in ["true", "None", "12%", "0,5", "1.2.3", "abc", "", "0x10", "info"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn an_object_may_be_json_or_a_dict_and_may_end_later() {
        let (fields, length) = object("{'a': [1, {\"b\": 2}], 'c': {'d': 'e\\'f'}, g: None,} rest").unwrap();
        assert_eq!(length, 50);
        assert_eq!(fields.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["a", "c", "g"]);
        for ends in ["{", "{\"a\"", "{\"a\":", "{\"a\": 1", "{\"a\": 1,", "{\"a\": [1,", "{\"a\": 1,\n \"b\": 2"] {
            assert_eq!(object(ends), Err(Broken::Ends), "{ends}");
        }
        for broken in ["{{", "{\"a\" 1}", "{\"a\": 1 2}", "{\"a", "{\"a\": }", "{,}", "[1]", "{1 + 2}"] {
            assert_eq!(object(broken), Err(Broken::Here), "{broken}");
        }
        assert_eq!(object(&"{\"a\":".repeat(10_000)), Err(Broken::Here));
        assert_eq!(object(&format!("{{\"a\": {}", "[".repeat(10_000))), Err(Broken::Here));
    }
}
