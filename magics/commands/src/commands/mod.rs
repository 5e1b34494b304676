//! The registry of all magics. Each magic has a folder or a file here with everything that only it needs.
//!
//! The registry imports all magics, and no magic imports the registry. A magic that needs a list of the others gets it
//! as a [`Catalogue`]. To add a magic, add its folder or file, its `mod` line and its entry below.

pub mod adopt;
pub mod axis;
pub mod bestofk;
pub mod capture;
pub mod config;
pub mod curves;
pub mod deps;
pub mod devices;
pub mod doc;
pub mod env;
pub mod export;
pub mod final_evaluation;
pub mod folder;
pub mod history;
pub mod insight;
pub mod isolate;
pub mod launch;
pub mod list;
pub mod load;
pub mod lsmagic;
pub mod noise;
pub mod plan;
pub mod pool;
pub mod remove;
pub mod replay;
pub mod report;
pub mod reset;
pub mod save;
pub mod scaling;
pub mod script;
pub mod seeds;
pub mod stability;
pub mod steps;
pub mod study;
pub mod sweep;
pub mod sweeps;
pub mod test;
pub mod throughput;
pub mod time;
pub mod timeit;
pub mod who;
pub mod workload;
pub mod workloads;
pub mod writefile;

use crate::error::{Result, Source};
use crate::magic::{Catalogue, Command, Head, Magic, is_question};

/// All magics, in the order in which `%lsmagic` lists them.
pub const CATALOGUE: Catalogue = Catalogue(MAGICS);

const MAGICS: &[Magic] = &[
    sweep::MAGIC,
    sweeps::MAGIC,
    plan::MAGIC,
    isolate::MAGIC,
    axis::MAGIC,
    curves::MAGIC,
    insight::MAGIC,
    bestofk::MAGIC,
    adopt::MAGIC,
    seeds::MAGIC,
    throughput::MAGIC,
    scaling::MAGIC,
    noise::MAGIC,
    launch::MAGIC,
    stability::MAGIC,
    steps::MAGIC,
    final_evaluation::MAGIC,
    study::MAGIC,
    replay::MAGIC,
    report::MAGIC,
    workloads::MAGIC,
    workload::MAGIC,
    devices::MAGIC,
    pool::MAGIC,
    config::MAGIC,
    time::MAGIC,
    timeit::MAGIC,
    test::MAGIC,
    capture::MAGIC,
    who::WHO,
    who::WHOS,
    list::MAGIC,
    remove::MAGIC,
    reset::MAGIC,
    deps::MAGIC,
    doc::MAGIC,
    export::MAGIC,
    env::MAGIC,
    folder::CD,
    folder::PWD,
    script::BASH,
    script::SH,
    script::SCRIPT,
    writefile::MAGIC,
    load::MAGIC,
    save::MAGIC,
    history::MAGIC,
    lsmagic::MAGIC,
];

/// Parses the text of one magic, or of a question about a magic or a Rust name. `first_line` is its line in the cell,
/// counted from 0.
pub fn parse(text: &str, first_line: usize) -> Result<Box<dyn Command>> {
    let source = Source::new(text, first_line);
    let line = Head::new(text).line;
    match is_question(&text[line.clone()]) {
        true => doc::answer(CATALOGUE, &source, line),
        false => CATALOGUE.parse(&source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_in_the_words_of_a_magic_says_how_it_is_written() {
        for (text, form) in [
            ("%insight", "`%insight STUDY`"),
            ("%devices x", "`%devices`"),
            ("%curves up --best 2 --trial 1", "`%curves STUDY [--best N | --trial I | --by HP]`"),
            ("%launch --trial 1", "`%launch STUDY --trial I [--because TEXT]` or `%launch`"),
        ] {
            let help = parse(text, 0).err().and_then(|error| error.help).unwrap_or_default();
            assert!(help.starts_with(&format!("write {form}")) && !help.contains('\n'), "{text}: {help}");
        }
    }

    #[test]
    fn the_code_of_magics_that_run_rust_is_found() {
        let cases = [
            ("%time f(x)?", Some("f(x)?")),
            ("%timeit --samples 5 v.sort()", Some("v.sort()")),
            ("%%timeit let v = w.clone();\nv.sort()\n", Some("v.sort()\n")),
            ("%%capture out\nf()", Some("f()")),
            ("%%time", Some("")),
            ("%who", None),
            ("%time?", None),
            ("%%sweep a\nworkload b", None),
        ];
        for (text, expected) in cases {
            assert_eq!(CATALOGUE.rust_in(text).map(|span| &text[span]), expected, "{text}");
        }
        let cases = [
            ("%%workload a\npub struct A;", Some(("pub struct A;", true))),
            ("%%workload a\n\n[dependencies]\nx = \"1\"\n\npub struct A;", Some(("\n\npub struct A;", true))),
            ("%%workload a\n[dependencies]\nx", Some(("", true))),
            ("%%workload", Some(("", true))),
            ("%%time\nf()", Some(("f()", false))),
            ("%%sweep a\nworkload b", None),
        ];
        for (text, expected) in cases {
            let found = CATALOGUE.rust_to_inspect(text).map(|(span, is_workload)| (&text[span], is_workload));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn every_magic_has_a_form_and_help_and_a_name_of_its_own() {
        for magic in MAGICS {
            assert!(magic.line || magic.body.is_some(), "{}", magic.name);
            assert!(magic.usage.contains(magic.name) && magic.plain().contains(magic.summary), "{}", magic.name);
        }
        let mut names: Vec<&str> = MAGICS.iter().map(|magic| magic.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), MAGICS.len());
    }
}
