//! Paths that a magic names: `~` stands for the home folder, and an error says why a path cannot be used.

use crate::error::{ErrorName, MagicError, Result, Source, nearest};
use crate::magic::Context;
use crate::syntax::{Arguments, Word};
use std::io::{Error, ErrorKind, Write};
use std::path::{Path, PathBuf};
use wildmatch::WildMatch;

/// The first positional word of a magic that takes one path. It is an error if there is none (`what` is missing), or a
/// second word.
pub fn one_path<'a>(arguments: &'a Arguments, what: &str) -> Result<&'a Word> {
    let word = arguments.required(0, what)?;
    match arguments.positional.get(1) {
        None => Ok(word),
        Some(more) => {
            let looks_like_option = |word: &Word| !word.quoted && word.text.starts_with('-') && word.text.len() > 1;
            if let Some(option) = [word, more].into_iter().find(|word| looks_like_option(word)) {
                let message = format!("there is no option `{}`", option.text);
                return Err(arguments.source.error(ErrorName::UnknownOption, option.span.clone(), message, None));
            }
            let message = format!("unexpected `{}`: there is one word too many", more.text);
            let help = "write a name with spaces in quotes".to_string();
            Err(arguments.source.syntax_error(more.span.clone(), message, Some(help)))
        }
    }
}

/// The home folder: `HOME` if the session has changed it, otherwise that of the user. None if there is none.
pub fn home(context: &Context) -> Option<PathBuf> {
    match context.added_environment().get("HOME") {
        Some(home) => home.map(PathBuf::from),
        None => dirs::home_dir(),
    }
}

/// The path with `~` or `~/` at its start replaced by the home folder.
pub fn expand(context: &Context, written: &str) -> PathBuf {
    let below = written.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'));
    match (below, home(context)) {
        (Some(below), Some(home)) => home.join(below.trim_start_matches('/')),
        _ => written.into(),
    }
}

/// The files and folders that an absolute path names, in which `*` is any text between two `/`, and `?` any character.
/// Those whose names begin with a point are named by a pattern that does so too.
pub fn matching(pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        if !part.contains(['*', '?']) {
            found.iter_mut().for_each(|folder| folder.push(part));
            continue;
        }
        let wanted = WildMatch::new(part);
        let is_wanted = |name: &str| wanted.matches(name) && name.starts_with('.') == part.starts_with('.');
        let entries = found.iter().flat_map(|folder| folder.read_dir().into_iter().flatten().flatten());
        let paths = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_wanted));
        found = paths.map(|entry| entry.path()).collect();
    }
    found.retain(|path| path.exists());
    found.sort();
    found
}

/// The file of a program: a path from the current folder, or a name that is looked for in the folders of `PATH`. None
/// if there is no such file.
pub fn program(context: &Context, name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    let path = context.whole_environment().remove("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// The current folder.
pub fn current() -> Result<PathBuf> {
    std::env::current_dir().map_err(|error| {
        let help = "go to another folder with `%cd FOLDER`".to_string();
        MagicError::new(ErrorName::FileError, format!("the current folder cannot be used: {error}"), Some(help))
    })
}

/// The error for a path that cannot be used. It points at `word`. `done` completes the sentence "… cannot be": `read`,
/// `written`.
pub fn problem(source: &Source, word: &Word, path: &Path, done: &str, error: &Error) -> MagicError {
    let written = &word.text;
    let (message, help) = match error.kind() {
        ErrorKind::NotFound => (format!("there is no `{written}`"), similar(path)),
        ErrorKind::IsADirectory => {
            (format!("`{written}` is a folder"), Some("name a file, such as one in this folder".into()))
        }
        ErrorKind::InvalidData => {
            let help = "name a text file; if this is one in another encoding, convert it to UTF-8 first";
            (format!("`{written}` is not text in UTF-8"), Some(help.into()))
        }
        ErrorKind::PermissionDenied => {
            let help = format!("`ls -l {}` shows who may use it", shell_words::quote(written));
            (format!("`{written}` cannot be {done}: {error}"), Some(help))
        }
        _ => (format!("`{written}` cannot be {done}: {error}"), None),
    };
    source.error(ErrorName::FileError, word.span.clone(), message, help)
}

/// Help for a path that does not exist: the name in the same folder that was most likely meant, or that the folder does
/// not exist either, or where the file was looked for.
fn similar(path: &Path) -> Option<String> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let Ok(entries) = folder.read_dir() else {
        return Some(format!("there is no folder `{}` either", folder.display()));
    };
    let names: Vec<String> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into()).collect();
    let near = nearest(&path.file_name()?.to_string_lossy(), names.iter().map(String::as_str));
    Some(match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let folder = std::path::absolute(folder).unwrap_or(folder.to_path_buf());
            format!(
                "it was looked for in {}; give the path of the file from there, or its absolute path",
                folder.display()
            )
        }
    })
}

/// The error for a file that cannot be written. If its folder does not exist, the help says how to create it.
pub fn not_written(source: &Source, word: &Word, path: &Path, error: &Error) -> MagicError {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists());
    match (error.kind(), parent) {
        (ErrorKind::NotFound, Some(parent)) => {
            let message = format!("there is no folder `{}`", parent.display());
            let help = format!("create it: `!mkdir -p {}`", shell_words::quote(&parent.to_string_lossy()));
            source.error(ErrorName::FileError, word.span.clone(), message, Some(help))
        }
        _ => problem(source, word, path, "written", error),
    }
}

/// Writes a file so that it is either whole or as it was before. It has the permissions that an editor gives it.
pub fn write_whole(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    let mut file = tempfile::Builder::new().permissions(permissions).tempfile_in(folder)?;
    file.write_all(content)?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// Whether a character ends a path in a command or a script.
pub fn ends_path(c: char) -> bool {
    c.is_whitespace() || "'\";&|<>()=".contains(c)
}

/// The text with another path in place of each `from`: that path itself, or the beginning of one below it. A name that
/// only begins like `from` stays.
pub fn with_path(text: &str, from: &str, to: &str) -> String {
    let (mut replaced, mut copied) = (String::new(), 0);
    for (at, _) in text.match_indices(from) {
        let end = at + from.len();
        let begins = text[..at].chars().next_back().is_none_or(ends_path);
        let ends = text[end..].chars().next().is_none_or(|c| c == '/' || ends_path(c));
        if begins && ends {
            replaced += &text[copied..at];
            replaced += to;
            copied = end;
        }
    }
    replaced + &text[copied..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_the_files_that_match_it() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a1.csv", "a2.csv", "b.txt", ".a3.csv", "sub/a1.csv"] {
            std::fs::create_dir_all(folder.path().join("sub")).unwrap();
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let matched = |pattern: &str| -> Vec<String> {
            let found = matching(&format!("{}/{pattern}", folder.path().display()));
            found.iter().map(|path| path.strip_prefix(folder.path()).unwrap().display().to_string()).collect()
        };
        assert_eq!(matched("*.csv"), ["a1.csv", "a2.csv"]);
        assert_eq!(matched("a?.*"), ["a1.csv", "a2.csv"]);
        assert_eq!(matched(".*"), [".a3.csv"]);
        assert_eq!(matched("s*/a1.csv"), ["sub/a1.csv"]);
        assert_eq!(matched("sub"), ["sub"]);
        assert_eq!(matched("c.csv"), [""; 0]);
    }

    #[test]
    fn a_path_is_replaced_where_it_is_named_as_a_whole() {
        for (text, expected) in [
            ("/a/b.py", "/new"),
            ("--data=/a/b.py", "--data=/new"),
            (
                "cd /a; python3 '/a/b.py' >/a/b.py.log && cat \"/a/b.py\"",
                "cd /a; python3 '/new' >/a/b.py.log && cat \"/new\"",
            ),
            ("/a/b.py/c", "/new/c"),
            ("/a/b.pyc /x/a/b.py b.py", "/a/b.pyc /x/a/b.py b.py"),
        ] {
            assert_eq!(with_path(text, "/a/b.py", "/new"), expected, "{text}");
        }
        assert_eq!(with_path("/ü/{x}.csv (/ü)", "/ü", "/v"), "/v/{x}.csv (/v)");
    }
}
