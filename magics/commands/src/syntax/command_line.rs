//! Splits a `command` line into the words of a program, as a POSIX shell does, and says so where the line needs a
//! shell: a command is started without one.

use crate::error::{MagicError, Result, Source, Span};
use tunebook_study::ProgramLine;

/// How a character of a word was written.
#[derive(Clone, Copy, PartialEq)]
enum Written {
    Bare,
    /// In double quotes, in which a shell replaces variables.
    Double,
    /// In single quotes, or behind a backslash.
    Literal,
}

#[derive(Default)]
struct ShellWord {
    chars: Vec<(char, Written, usize)>,
    /// Whether it has quotes, so that it is a word even if it is empty.
    quoted: bool,
    span: Span,
}

impl ShellWord {
    fn text(&self) -> String {
        self.chars.iter().map(|(c, ..)| c).collect()
    }

    /// Whether its first or last character is this one, without quotes.
    fn begins(&self, c: char) -> bool {
        self.chars.first().is_some_and(|first| (first.0, first.1) == (c, Written::Bare))
    }

    fn ends(&self, c: char) -> bool {
        self.chars.last().is_some_and(|last| (last.0, last.1) == (c, Written::Bare))
    }
}

/// Commands that only a shell has.
const BUILTINS: [&str; 12] =
    ["cd", "source", ".", "export", "set", "unset", "alias", "ulimit", "eval", "exec", "trap", "umask"];

/// Parses what follows `command`. A backslash at the end of a line joins it with the next one.
pub(super) fn parse(source: &Source, span: Span) -> Result<ProgramLine> {
    let words = split(source, span.clone())?;
    refuse_shell(source, &words, span)?;
    let mut line = ProgramLine::default();
    let mut open = None;
    for (i, word) in words.iter().enumerate() {
        let mut text = word.text();
        let begins = |word: &ShellWord| {
            let second = word.chars.get(1).map_or(' ', |(c, ..)| *c);
            word.begins('[') && (second == '-' || second.is_alphabetic())
        };
        if open.is_none() && begins(word) {
            let end = (i..words.len()).find(|end| words[*end].ends(']'));
            let inserts = |end: usize| words[i..=end].iter().any(|word| word.chars.iter().any(|(c, ..)| *c == '{'));
            if end.is_some_and(inserts) {
                open = end.map(|end| (line.words.len(), end));
                text.remove(0);
            }
        }
        if let Some((start, end)) = open
            && end == i
        {
            text.pop();
            line.optional.push(start..line.words.len() + 1);
            open = None;
        }
        line.words.push(text);
    }
    Ok(line)
}

fn split(source: &Source, span: Span) -> Result<Vec<ShellWord>> {
    let (mut words, mut word): (Vec<ShellWord>, Option<ShellWord>) = (vec![], None);
    let mut quote: Option<(char, usize)> = None;
    let text = &source.text()[span.clone()];
    let mut chars = text.char_indices().map(|(at, c)| (at + span.start, c)).peekable();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        if c == '\\' && quote.is_none_or(|(open, _)| open == '"') {
            match chars.peek().copied() {
                Some((_, '\n')) => drop(chars.next()),
                Some((_, '\r')) => {
                    chars.next();
                    chars.next_if(|(_, c)| *c == '\n');
                }
                // In double quotes, a backslash is one unless it stands before what it can escape.
                Some((_, next)) if quote.is_none() || "$`\"\\".contains(next) => {
                    chars.next();
                    let word = begun(&mut word, at);
                    word.chars.push((next, Written::Literal, at));
                    word.span.end = at + 1 + next.len_utf8();
                }
                Some(_) => begun(&mut word, at).chars.push((c, Written::Literal, at)),
                None => {}
            }
            continue;
        }
        let word = begun(&mut word, at);
        word.span.end = at + c.len_utf8();
        match quote {
            Some((open, _)) if c == open => quote = None,
            Some((open, _)) => {
                word.chars.push((c, if open == '"' { Written::Double } else { Written::Literal }, at));
            }
            None if c == '"' || c == '\'' => {
                quote = Some((c, at));
                word.quoted = true;
            }
            None => word.chars.push((c, Written::Bare, at)),
        }
    }
    if let Some((open, at)) = quote {
        return Err(source.syntax_error(at..at + 1, format!("the quote {open} is never closed"), None));
    }
    words.extend(word);
    words.retain(|word| word.quoted || !word.chars.is_empty());
    Ok(words)
}

fn begun(word: &mut Option<ShellWord>, at: usize) -> &mut ShellWord {
    word.get_or_insert_with(|| ShellWord { span: at..at, ..ShellWord::default() })
}

/// An error if the line needs a shell.
fn refuse_shell(source: &Source, words: &[ShellWord], span: Span) -> Result<()> {
    let refuse = |span: Span, what: String| Err(with_shell(source, span, what, &source.text()[place(words)]));
    let Some(first) = words.first() else {
        return Err(source.syntax_error(span, "the program is missing after `command`", None));
    };
    let program = first.text();
    if let Some((name, _)) = program.split_once('=').filter(|_| !first.quoted)
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    {
        return refuse(
            first.span.clone(),
            format!("`{program}` sets a variable for a program, which only a shell does"),
        );
    }
    if BUILTINS.contains(&program.as_str()) {
        return refuse(first.span.clone(), format!("`{program}` is a command of the shell"));
    }
    let is_shell = ["sh", "bash", "dash", "zsh", "ksh"].contains(&program.rsplit('/').next().unwrap_or(""));
    for word in words {
        if word.begins('~') {
            return refuse(word.span.clone(), "only a shell replaces `~` by the home folder".into());
        }
        let is_url = word.text().contains("://");
        let mut in_placeholder = false;
        for (i, (c, written, at)) in word.chars.iter().enumerate() {
            let next = word.chars.get(i + 1).map_or(' ', |(c, ..)| *c);
            match (c, written) {
                ('{', Written::Bare) if next != '{' => in_placeholder = true,
                ('}', _) => in_placeholder = false,
                _ => {}
            }
            let here = *at..*at + c.len_utf8();
            match c {
                '|' | '&' | ';' | '<' | '>' if *written == Written::Bare && !in_placeholder => {
                    let does = match c {
                        '|' => "connects programs",
                        '<' | '>' => "redirects to and from files",
                        _ => "runs several commands",
                    };
                    return refuse(here, format!("`{c}` {does}, which only a shell does"));
                }
                '$' if (*written == Written::Bare || (*written == Written::Double && !is_shell))
                    && (next.is_alphabetic() || matches!(next, '_' | '{' | '(')) =>
                {
                    return refuse(here, "only a shell replaces `$` and a name by the value of a variable".into());
                }
                '`' if *written == Written::Bare || (*written == Written::Double && !is_shell) => {
                    return refuse(here, "only a shell runs a command in backquotes".into());
                }
                '*' | '?' if *written == Written::Bare && !in_placeholder && !is_url => {
                    return refuse(here, format!("only a shell replaces `{c}` by the names of files"));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// The span of all words.
fn place(words: &[ShellWord]) -> Span {
    words.first().map_or(0, |word| word.span.start)..words.last().map_or(0, |word| word.span.end)
}

/// The error that a line needs a shell, with the line that starts one.
fn with_shell(source: &Source, span: Span, what: String, line: &str) -> MagicError {
    let joined = line.replace("\\\r\n", " ").replace("\\\n", " ");
    // The braces of a variable are no placeholder.
    let (mut script, mut rest) = (String::new(), joined.as_str());
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        script += &format!("{before}${{{{{name}}}}}");
        rest = after;
    }
    script += rest;
    let script: String = script.replace('\'', "'\\''");
    let help = format!("write `command sh -c '{script}'`, or put what is special to a shell in single quotes");
    source.syntax_error(span, format!("{what}; a command is started without a shell"), Some(help))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<ProgramLine> {
        parse(&Source::new(text, 0), 0..text.len())
    }

    #[test]
    fn words_are_those_of_a_shell() {
        for (text, words) in [
            ("a  'b c' \"d e\" f\\ g", &["a", "b c", "d e", "f g"][..]),
            ("a '' \"\" b'c'd", &["a", "", "", "bcd"]),
            ("a \"\\$x \\n \\\"\" '\\n'", &["a", "$x \\n \"", "\\n"]),
            ("a \\\n  b\\\n c\\\r\n d \\", &["a", "b", "c", "d"]),
            ("a # b", &["a", "#", "b"]),
            (
                "sh -c 'cd x && ls * | wc > y; echo ~ $HOME `z`'",
                &["sh", "-c", "cd x && ls * | wc > y; echo ~ $HOME `z`"],
            ),
            ("sh -c \"echo $X\"", &["sh", "-c", "echo $X"]),
            (
                "a --x={x:>3} https://h/?a=1 a~ $ 1$ \\* '?' \"|\"",
                &["a", "--x={x:>3}", "https://h/?a=1", "a~", "$", "1$", "*", "?", "|"],
            ),
        ] {
            assert_eq!(parsed(text).unwrap().words, words, "{text}");
        }
    }

    #[test]
    fn what_needs_a_shell_is_an_error_with_the_command_that_has_one() {
        for (text, at, script) in [
            ("VAR=1 python t.py", "VAR=1", "sh -c 'VAR=1 python t.py'"),
            ("cd x && ./t", "cd", "sh -c 'cd x && ./t'"),
            ("a && b", "&", "'a && b'"),
            ("a | b", "|", "'a | b'"),
            ("a >b", ">", "'a >b'"),
            ("a 2>&1", ">", "'a 2>&1'"),
            ("a < b", "<", "'a < b'"),
            ("a; b", ";", "'a; b'"),
            ("a ~/x", "~/x", "'a ~/x'"),
            ("a $HOME/'x'", "$", "'a $HOME/'\\''x'\\'''"),
            ("a \"${HOME}\"", "$", "'a \"${{HOME}}\"'"),
            ("a $(b)", "$", "'a $(b)'"),
            ("a `b`", "backquotes", "'a `b`'"),
            ("a *.csv", "*", "'a *.csv'"),
            ("a \\\n --x data?.csv", "?", "'a   --x data?.csv'"),
        ] {
            let error = parsed(text).unwrap_err();
            let shown = error.traceback().join("\n");
            assert!(
                error.message.contains("without a shell") && error.message.contains(at.get(..1).unwrap()),
                "{text}: {error}"
            );
            assert!(error.help.as_deref().is_some_and(|help| help.contains(script)), "{text}: {shown}");
        }
    }

    #[test]
    fn brackets_around_a_placeholder_make_a_part_optional() {
        let line = parsed("p [--momentum {momentum}] [--x={x}] --y [--a b] [{lr}] '[--z {z}]' [m={m}]").unwrap();
        assert_eq!(
            line.words,
            ["p", "--momentum", "{momentum}", "--x={x}", "--y", "[--a", "b]", "[{lr}]", "[--z {z}]", "m={m}"]
        );
        assert_eq!(line.optional, [1..3, 3..4, 9..10]);
        // What generated cells write: a word with `=` has quotes.
        let line = parsed("p ['--x={x}'] [--y '{y}']").unwrap();
        assert_eq!(
            (line.words, line.optional),
            (["p", "--x={x}", "--y", "{y}"].map(String::from).to_vec(), vec![1..2, 2..4])
        );
    }
}
