//! Magics of IPython that Tunebook does not have, and what to do in a Rust notebook instead.

/// What to do instead of one of IPython's magics.
pub fn instead(name: &str) -> Option<&'static str> {
    INSTEAD.iter().find(|(names, _)| names.contains(&name)).map(|(_, instead)| *instead)
}

const INSTEAD: &[(&[&str], &str)] = &[
    (
        &["matplotlib", "pylab", "gui"],
        "charts need no backend here: tuning magics draw their own, and a value that has `evcxr_display`, as the charts of \
         `plotters` and `plotly` do, is shown as the last line of a cell",
    ),
    (&["pip", "pip3"], "`:dep NAME = \"VERSION\"` adds a crate to this notebook; `!pip …` runs Python's pip"),
    (
        &["conda", "mamba", "micromamba", "uv"],
        "`:dep NAME = \"VERSION\"` adds a crate to this notebook; other programs run as `!conda …`",
    ),
    (
        &["load_ext", "reload_ext", "unload_ext"],
        "nothing has to be loaded: all magics are there; `%lsmagic` lists them",
    ),
    (
        &["autoreload", "aimport"],
        "nothing has to be reloaded: a cell that runs again replaces its functions and types; for a crate of your own run its \
         `:dep NAME = { path = \"…\" }` again",
    ),
    (
        &["run"],
        "`%load FILE` puts the file into a cell; `include!(\"/the/whole/path/FILE\");` in a cell compiles it in; `!cargo run` \
         runs a program",
    ),
    (
        &["debug", "pdb"],
        "there is no debugger: a panic names its line, `dbg!(x)` prints a value, and the variables from before the cell \
         survive however it ends",
    ),
    (&["xmode", "tb"], "an error always shows all that is known of it"),
    (
        &["prun", "lprun", "mprun", "memit"],
        "`%time` and `%timeit` measure a cell; a profiler works on a program: `!perf record …`, `!cargo flamegraph`",
    ),
    (&["python", "python2", "python3", "pypy"], "`%%script python3` runs the body with Python"),
    (&["perl"], "`%%script perl` runs the body with it"),
    (&["ruby"], "`%%script ruby` runs the body with it"),
    (
        &["javascript", "js", "html", "HTML", "latex", "svg", "SVG", "markdown"],
        "a Markdown cell holds text and formulas; from Rust, a type with `fn evcxr_display(&self)` shows itself as HTML or SVG",
    ),
    (&["cython", "R", "julia"], "`%%script PROGRAM` runs the body with any program that reads its standard input"),
    (&["set_env"], "`%env NAME=value` sets a variable"),
    (
        &[
            "ls", "ll", "ldir", "cat", "cp", "mv", "rm", "mkdir", "rmdir", "man", "less", "more", "head", "tail",
            "pycat",
        ],
        "commands of the shell run with a `!`: `!ls`, `!cat FILE`",
    ),
    (
        &["sx", "system", "sc", "cmd", "alias", "unalias", "rehashx"],
        "`!command` runs a line in the shell, `%%bash` several",
    ),
    (&["file"], "`%%writefile FILE` writes the body to a file"),
    (&["loadpy"], "`%load FILE` puts a file into this cell"),
    (&["edit", "ed", "ied"], "`%load FILE` puts a file into this cell, `%%writefile FILE` writes one"),
    (
        &["hist", "recall", "rep", "rerun", "macro"],
        "`%history 1-5` shows inputs, to be copied into a cell; `%save FILE 1-5` writes them to a file",
    ),
    (
        &["logstart", "logstop", "logon", "logoff", "logstate", "notebook", "pastebin"],
        "`%save FILE` writes the inputs of this session to a file",
    ),
    (&["pushd", "popd", "dirs", "dhist", "bookmark"], "`%cd FOLDER` goes to a folder, `%cd -` back to the last one"),
    (
        &["pinfo", "pinfo2", "pdoc", "psource", "pfile", "pdef", "psearch"],
        "Shift+Tab shows documentation and type of the name at the cursor; `%name?` the help of a magic",
    ),
    (&["magic", "quickref", "automagic", "autocall"], "`%lsmagic` lists all magics; they always begin with `%`"),
    (&["store"], "variables end with the kernel; write what is to stay to a file, with `serde_json` for instance"),
    (&["killbgscripts"], "what `!command &` leaves running ends with the kernel; `!kill PID` ends it earlier"),
    (&["autoawait"], "`.await` can stand at the top of a cell; `tokio` is added by itself"),
    (&["connect_info", "qtconsole"], "`jupyter console --existing` connects to a running kernel"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::CATALOGUE;
    use crate::testing::{magics, said};

    #[test]
    fn magics_of_ipython_lead_to_what_takes_their_place() {
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
            let error = magics().parse(text, 0).err().unwrap_or_else(|| panic!("{text} is there"));
            assert!(error.name.as_str() == "UnknownMagic" && said(&error).contains(part), "{text}: {}", said(&error));
        }
    }

    #[test]
    fn none_of_them_is_there_after_all_and_none_twice() {
        let mut names: Vec<&str> = INSTEAD.iter().flat_map(|(names, _)| names.iter().copied()).collect();
        for name in &names {
            assert!(CATALOGUE.find(name).is_none(), "%{name} is there, and this file says that it is not");
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
