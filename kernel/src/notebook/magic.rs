//! `tunebook sweep FILE`, `tunebook insight STUDY` and so on: one magic on the terminal, in a kernel of its own, with
//! the store of the current folder.

use super::bundle;
use super::cell::{Ended, StopSignals, run_cell};
use super::kernel_process::KernelProcess;
use super::terminal::{Terminal, say, text_columns};
use super::waiting::{Waited, wait_for_sweeps};
use anyhow::{Context as _, bail};
use clap::{Arg, ArgAction, Command};
use serde_json::Value;
use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;
use tunebook_magics::{CommandLineMagic, MagicBody, TEXT_COLUMNS, command_line_magics, quoted_word};

/// The exit status after an interrupt, as shells have it.
const INTERRUPTED: u8 = 130;

/// What all of these commands have in common, for their help.
const COMMON: &str = "\nOn the command line:\n  --json  print the result for programs instead of text\n\nThe exit status \
    is 0, or 1 after an error, or 130 after an interrupt (Ctrl-C), which prints the result so far.\n";

/// A command for each magic that can be used without a notebook.
pub fn magics() -> impl Iterator<Item = Command> {
    command_line_magics().map(|magic| {
        let CommandLineMagic { name, summary, help, body } = magic;
        let usage = match (name, body) {
            ("replay", _) => "tunebook replay STUDY [options]\ntunebook replay FILE.zip [--study NAME] [--to FOLDER]\n",
            (_, Some(_)) => {
                return with_words(
                    name,
                    summary,
                    format!(
                        "tunebook {name} FILE [NAME] [options]\n\n\
                FILE has the text of the cell. Its first line may be `%%{name} NAME …`; otherwise NAME is given here.\n\
                Options given here override those in FILE.\n\
                {COMMON}\nIn a notebook:\n\n{help}"
                    ),
                );
            }
            _ => "",
        };
        with_words(name, summary, format!("{usage}{COMMON}\nIn a notebook:\n\n{help}"))
    })
}

fn with_words(name: &'static str, summary: &'static str, help: String) -> Command {
    let words = Arg::new("words").action(ArgAction::Append).num_args(0..).trailing_var_arg(true);
    Command::new(name).about(summary).override_help(help).arg(words.allow_hyphen_values(true))
}

/// Runs a magic with the words after its name.
pub fn run_magic(name: &str, words: &[String]) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let is_bundle = name == "replay" && words.iter().any(|word| bundle::is_bundle(Path::new(word)));
    let ran = runtime.context("the runtime cannot be started").and_then(|runtime| {
        runtime.block_on(async {
            match is_bundle {
                true => bundle::replay(words).await,
                false => one(name, words).await,
            }
        })
    });
    ran.unwrap_or_else(|error| {
        say(&format!("tunebook: {error:#}"));
        ExitCode::from(if is_bundle { 2 } else { 1 })
    })
}

async fn one(name: &str, words: &[String]) -> anyhow::Result<ExitCode> {
    let as_json = words.iter().any(|word| word == "--json");
    let words: Vec<String> = words.iter().filter(|word| *word != "--json").cloned().collect();
    let body = command_line_magics().find(|magic| magic.name == name).and_then(|magic| magic.body);
    let text = cell(name, body, &words)?;
    let columns = text_columns();
    let environment = [(TEXT_COLUMNS, OsStr::new(columns.as_str()))];
    let mut kernel = KernelProcess::start(Path::new("."), &environment).await?;
    let ran = shown(&mut kernel, &text, as_json, &mut StopSignals::new()?).await;
    kernel.end().await;
    Ok(ExitCode::from(match ran?.0 {
        Ended::Done => 0,
        Ended::Interrupted => INTERRUPTED,
        _ => 1,
    }))
}

/// Runs a magic in a kernel and prints what it shows, at the end of a sweep that it begins in the background. Returns
/// how it ended, and its result.
pub async fn shown(
    kernel: &mut KernelProcess,
    text: &str,
    as_json: bool,
    stop: &mut StopSignals,
) -> anyhow::Result<(Ended, Option<Value>)> {
    let mut terminal = Terminal::default();
    let mut add = |kind: &str, content: &Value| terminal.add(kind, content);
    let mut ended = run_cell(kernel, text, None, stop, &mut add).await?;
    if let Ended::Done = ended {
        // The kernel ends with this command, so a sweep in the background cannot outlive it.
        ended = match wait_for_sweeps(kernel, stop, &mut add).await? {
            Waited::Done(failures) if failures.is_empty() => Ended::Done,
            Waited::Done(failures) => {
                failures.iter().for_each(|failure| say(failure));
                Ended::Failed("SweepFailed".into(), failures.join("\n"))
            }
            Waited::Interrupted => Ended::Interrupted,
            Waited::KernelDied => Ended::KernelDied,
        };
    }
    if let Ended::KernelDied = ended {
        bail!("the kernel ended");
    }
    terminal.print(as_json, matches!(ended, Ended::Done))?;
    let result = terminal.result().cloned();
    Ok((ended, result))
}

/// The cell of a magic with these words. The first word may name a file that has the body.
fn cell(name: &str, body: Option<MagicBody>, words: &[String]) -> anyhow::Result<String> {
    let file = words.first().filter(|word| body.is_some() && !word.starts_with('-'));
    let Some(file) = file.filter(|file| Path::new(file).is_file() || is_path(file)) else {
        let is_line = body != Some(MagicBody::Only) || words.iter().any(|word| word == "--help");
        match is_line {
            true => return line(&format!("%{name}"), words),
            false => bail!("name the file that has the body: `tunebook {name} FILE NAME`"),
        }
    };
    let text = std::fs::read_to_string(file).with_context(|| format!("{file} cannot be read"))?;
    // Editors on Windows begin a file with a mark of its encoding.
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let words = &words[1..];
    let Some((own, rest)) = header(text) else {
        return Ok(format!("{}\n{text}", line(&format!("%%{name}"), words)?));
    };
    let (magic, of) = own.split_once(char::is_whitespace).unwrap_or((own, ""));
    // The plan of a sweep has the same text.
    if magic != name && !matches!((name, magic), ("plan", "sweep") | ("sweep", "plan")) {
        bail!("{file} begins with `%%{magic}`, not with `%%{name}`");
    }
    let of = without_overridden(of, &options(name), words);
    Ok(format!("{}\n{rest}", line(&format!("%%{name} {of}"), words)?))
}

/// The first line of a cell magic in a file, without the per cent signs, and all that follows it. Blank lines and
/// comments may stand above it. None if the file has only the body.
fn header(text: &str) -> Option<(&str, &str)> {
    let mut left = text;
    while !left.is_empty() {
        let (line, after) = left.split_once('\n').unwrap_or((left, ""));
        let line = line.trim();
        if let Some(own) = line.strip_prefix("%%") {
            return Some((own, after));
        }
        if !(line.is_empty() || line.starts_with('#') || line.starts_with("//")) {
            return None;
        }
        left = after;
    }
    None
}

/// An option of a magic.
struct MagicOption {
    /// The name with its dashes.
    name: String,
    takes_value: bool,
    /// Whether it can be given several times.
    repeats: bool,
}

/// The options of a magic, as its help lists them: `  --trials N               number of …`.
fn options(name: &str) -> Vec<MagicOption> {
    let help = command_line_magics().find(|magic| magic.name == name).map_or(String::new(), |magic| magic.help);
    let listed = help.rsplit_once("\nOptions:\n").map_or("", |(_, listed)| listed);
    let option = |line: &str| {
        let (name, after) = line.trim_start().split_once(' ')?;
        // The help of a switch is further away than its value would be.
        let value = after.split(' ').next().unwrap_or_default();
        Some(MagicOption { name: name.into(), takes_value: !value.is_empty(), repeats: value.ends_with('…') })
    };
    listed.lines().filter_map(option).collect()
}

/// The words of a first line without the options that `words` give anew. An option that can be given several times
/// stays.
fn without_overridden(first: &str, options: &[MagicOption], words: &[String]) -> String {
    let named = |word: &str| {
        let name = word.split('=').next().unwrap_or_default();
        options.iter().find(|option| option.name == name)
    };
    let overridden: Vec<&str> =
        words.iter().filter_map(|word| named(word)).map(|option| option.name.as_str()).collect();
    let mut kept = vec![];
    let mut left = raw_words(first).into_iter().peekable();
    while let Some(word) = left.next() {
        match named(word).filter(|option| !option.repeats && overridden.contains(&option.name.as_str())) {
            Some(option) if option.takes_value && !word.contains('=') => {
                left.next_if(|value| !value.starts_with("--"));
            }
            Some(_) => {}
            None => kept.push(word),
        }
    }
    kept.join(" ")
}

/// The words of a line as they are written, with their quotes. A space in quotes or brackets ends no word.
fn raw_words(line: &str) -> Vec<&str> {
    let (mut start, mut quote, mut depth): (Option<usize>, Option<char>, usize) = (None, None, 0);
    let mut words = vec![];
    for (at, c) in line.char_indices() {
        if quote.is_none() && depth == 0 && c.is_whitespace() {
            words.extend(start.take().map(|start| &line[start..at]));
            continue;
        }
        start.get_or_insert(at);
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if depth == 0 => quote = Some(c),
            (None, '(' | '[') => depth += 1,
            (None, ')' | ']') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
    }
    words.extend(start.map(|start| &line[start..]));
    words
}

/// Whether a word is meant as a path.
fn is_path(word: &str) -> bool {
    word.contains('/') || Path::new(word).extension().is_some()
}

/// The line of a magic with further words.
pub fn line(start: &str, words: &[String]) -> anyhow::Result<String> {
    let mut line = start.trim_end().to_string();
    for word in words {
        if word.contains('\n') {
            bail!("`{word}` has a line break, and the line of a magic cannot have one");
        }
        line = format!("{line} {}", quoted_word(word));
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| word.to_string()).collect()
    }

    #[test]
    fn the_first_line_of_a_file_gets_the_words() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let (with, without) = (file("a.sweep", "\n%%sweep a --trials 3\nworkload w\n"), file("b", "workload w"));
        let body = Some(MagicBody::Possible);
        let of = |name: &str, list: &[&str]| cell(name, body, &words(list)).unwrap();
        assert_eq!(of("sweep", &[&with, "--seed", "1"]), "%%sweep a --trials 3 --seed 1\nworkload w\n");
        assert_eq!(of("plan", &[&with]), "%%plan a --trials 3\nworkload w\n");
        assert_eq!(of("sweep", &[&without, "b", "--trials=2"]), "%%sweep b --trials=2\nworkload w");
        assert_eq!(
            of("sweep", &["w", "lr~uniform(0, 1)", "--name", "a b"]),
            "%sweep w lr~uniform(0, 1) --name \"a b\""
        );
        assert!(cell("sweep", body, &words(&["none.sweep"])).unwrap_err().to_string().contains("cannot be read"));
        assert!(cell("workload", Some(MagicBody::Only), &words(&["w"])).is_err());
        assert!(cell("workload", Some(MagicBody::Only), &words(&[&with])).is_err());
        assert!(line("%insight", &words(&["a\nb"])).is_err());
    }

    #[test]
    fn an_option_of_the_command_line_overrides_that_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sweep");
        let first = "%%sweep a --trials 3 --resume --notes=\"x y\" --seed=1 --allow l --sampler random";
        let with = |list: &[&str]| {
            std::fs::write(&path, format!("{first}\nworkload w")).unwrap();
            let all: Vec<&str> = [path.to_str().unwrap()].into_iter().chain(list.iter().copied()).collect();
            cell("sweep", Some(MagicBody::Possible), &words(&all)).unwrap()
        };
        let cases: [(&[&str], &str); 5] = [
            (&["--trials", "5"], "%%sweep a --resume --notes=\"x y\" --seed=1 --allow l --sampler random --trials 5"),
            (
                &["--trials=5", "--seed", "2"],
                "%%sweep a --resume --notes=\"x y\" --allow l --sampler random --trials=5 --seed 2",
            ),
            (&["--resume"], "%%sweep a --trials 3 --notes=\"x y\" --seed=1 --allow l --sampler random --resume"),
            (
                &["--allow", "m"],
                "%%sweep a --trials 3 --resume --notes=\"x y\" --seed=1 --allow l --sampler random --allow m",
            ),
            (&["--sampler", "grid"], "%%sweep a --trials 3 --resume --notes=\"x y\" --seed=1 --allow l --sampler grid"),
        ];
        for (list, expected) in cases {
            assert_eq!(with(list), format!("{expected}\nworkload w"), "{list:?}");
        }
        assert_eq!(raw_words("a  'b c' lr~uniform(0, 1) d"), ["a", "'b c'", "lr~uniform(0, 1)", "d"]);
    }

    #[test]
    fn a_mark_blank_lines_and_comments_may_stand_above_the_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sweep");
        let of = |text: &str| {
            std::fs::write(&path, text).unwrap();
            cell("sweep", Some(MagicBody::Possible), &words(&[path.to_str().unwrap()])).unwrap()
        };
        for above in ["\u{feff}", "\n\n", "# why\n\n", "\u{feff}# why\r\n// and how\r\n \n"] {
            assert_eq!(of(&format!("{above}%%sweep a --trials 3\nworkload w")), "%%sweep a --trials 3\nworkload w");
        }
        assert_eq!(of("# why\nworkload w\n"), "%%sweep\n# why\nworkload w\n");
        assert_eq!(of("\u{feff}workload w\n%%sweep b"), "%%sweep\nworkload w\n%%sweep b");
    }
}
