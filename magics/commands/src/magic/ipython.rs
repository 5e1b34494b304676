//! The magics of IPython that Tunebook does not have, and what replaces each of them in a Rust notebook.

/// Help for a magic of IPython that does not exist here, or None if the name is not one of these.
pub fn replacement(name: &str) -> Option<&'static str> {
    REPLACEMENTS.iter().find(|(names, _)| names.contains(&name)).map(|(_, replacement)| *replacement)
}

const REPLACEMENTS: &[(&[&str], &str)] = &[
    (
        &["matplotlib", "pylab", "gui"],
        "charts need no backend here: tuning magics show their own, and a value with a method `evcxr_display`, such as \
         a chart of `plotters` or `plotly`, is shown if it is the last expression of a cell",
    ),
    (&["pip", "pip3"], "`:dep NAME = \"VERSION\"` adds a crate to this notebook; `!pip …` runs Python's pip"),
    (
        &["conda", "mamba", "micromamba", "uv"],
        "`:dep NAME = \"VERSION\"` adds a crate to this notebook; other programs run as `!conda …`",
    ),
    (
        &["load_ext", "reload_ext", "unload_ext"],
        "nothing has to be loaded: all magics are available, and `%lsmagic` lists them",
    ),
    (
        &["autoreload", "aimport"],
        "nothing has to be reloaded: a cell that runs again replaces its functions and types; after a change in your \
         own crate, run its `:dep NAME = { path = \"…\" }` again",
    ),
    (
        &["run"],
        "`%load FILE` puts the text of the file into a cell; `include!(\"/path/to/FILE\");` in a cell compiles the \
         file; `!cargo run` runs a program",
    ),
    (
        &["debug", "pdb"],
        "there is no debugger: a panic says its line, `dbg!(x)` prints a value, and if the cell fails, the variables \
         from before it are kept",
    ),
    (&["xmode", "tb"], "an error is always shown with all details"),
    (
        &["prun", "lprun", "mprun", "memit"],
        "`%time` and `%timeit` measure a cell; a profiler works on a program: `!perf record …`, `!cargo flamegraph`",
    ),
    (&["python", "python2", "python3", "pypy"], "`%%script python3` runs the body with Python"),
    (&["perl"], "`%%script perl` runs the body with Perl"),
    (&["ruby"], "`%%script ruby` runs the body with Ruby"),
    (
        &["javascript", "js", "html", "HTML", "latex", "svg", "SVG", "markdown"],
        "write text and formulas in a Markdown cell; in Rust, `tunebook::Html` and `tunebook::Svg` show HTML and SVG",
    ),
    (&["cython", "R", "julia"], "`%%script PROGRAM` runs the body with any program that reads its standard input"),
    (&["set_env"], "`%env NAME=value` sets a variable"),
    (
        &[
            "ls", "ll", "ldir", "cat", "cp", "mv", "rm", "mkdir", "rmdir", "man", "less", "more", "head", "tail",
            "pycat",
        ],
        "shell commands are written with a `!`: `!ls`, `!cat FILE`",
    ),
    (
        &["sx", "system", "sc", "cmd", "alias", "unalias", "rehashx"],
        "`!command` runs one shell command, and `%%bash` runs several lines",
    ),
    (&["file"], "`%%writefile FILE` writes the body to a file"),
    (&["loadpy"], "`%load FILE` puts the text of a file into this cell"),
    (
        &["edit", "ed", "ied"],
        "`%load FILE` puts the text of a file into this cell, and `%%writefile FILE` writes a cell to a file",
    ),
    (
        &["hist", "recall", "rep", "rerun", "macro"],
        "`%history 1-5` shows inputs, which can be copied into a cell; `%save FILE 1-5` writes them to a file",
    ),
    (
        &["logstart", "logstop", "logon", "logoff", "logstate", "notebook", "pastebin"],
        "`%save FILE` writes the inputs of this session to a file",
    ),
    (
        &["pushd", "popd", "dirs", "dhist", "bookmark"],
        "`%cd FOLDER` goes to a folder, and `%cd -` goes back to the one before",
    ),
    (
        &["pinfo", "pinfo2", "pdoc", "psource", "pfile", "pdef", "psearch"],
        "Shift+Tab shows documentation and type of the name at the cursor, and `%name?` shows the help of a magic",
    ),
    (&["magic", "quickref", "automagic", "autocall"], "`%lsmagic` lists all magics; they always begin with `%`"),
    (
        &["store"],
        "variables are lost when the kernel ends; write what you want to keep to a file, for example with `serde_json`",
    ),
    (&["killbgscripts"], "a process that `!command &` started ends with the kernel; `!kill PID` ends it earlier"),
    (&["autoawait"], "`.await` works at the top level of a cell, and `tokio` is added automatically"),
    (&["connect_info", "qtconsole"], "`jupyter console --existing` connects to a running kernel"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::CATALOGUE;
    use crate::testing::{magics, rendered};

    #[test]
    fn magics_of_ipython_are_errors_that_say_what_replaces_them() {
        let cases = [
            ("%matplotlib inline", "need no backend"),
            ("%pip install x", ":dep"),
            ("%load_ext autoreload", "nothing has to be loaded"),
            ("%autoreload 2", "nothing has to be reloaded"),
            ("%run x.rs", "include!"),
            ("%debug", "dbg!"),
            ("%%python\nprint(1)", "%%script python3"),
            ("%conda?", "!conda"),
            ("%histroy", "did you mean `history`"),
        ];
        for (text, part) in cases {
            let error = magics().parse(text, 0).err().unwrap_or_else(|| panic!("{text} exists"));
            assert!(
                error.name.as_str() == "UnknownMagic" && rendered(&error).contains(part),
                "{text}: {}",
                rendered(&error)
            );
        }
    }

    #[test]
    fn no_listed_magic_exists_here_and_none_is_listed_twice() {
        let mut names: Vec<&str> = REPLACEMENTS.iter().flat_map(|(names, _)| names.iter().copied()).collect();
        for name in &names {
            assert!(CATALOGUE.find(name).is_none(), "%{name} exists, and this file says that it does not");
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
