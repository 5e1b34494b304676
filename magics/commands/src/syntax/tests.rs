//! Tests of the grammar, and of the characters at which its errors point.

use super::*;
use crate::error::Source;
use tunebook_study::{Distribution, Role, Value, WorkloadReference};

fn parse(text: &str) -> crate::error::Result<SweepBody> {
    let source = Source::new(text, 0);
    parse_body(&source, 0..text.len())
}

fn error(text: &str) -> crate::error::MagicError {
    parse(text).expect_err(text)
}

#[test]
fn the_example_of_the_reference_is_parsed() {
    let body = parse(
        "# which effect do we measure\nworkload    digits_mlp\nfixed       optimizer     = nesterov # why not\n\
         scientific  hidden_layers in [1, 2, 3]\nnuisance    lr            ~ loguniform(1e-4, 1)\n\
         nuisance    momentum      ~ 1 - loguniform(1e-3, 1)\nfixed batch_size=128\nminimize    valid/error\n\
         question \"does depth help?\"\n",
    )
    .unwrap();
    assert_eq!(body.workload.unwrap().value, WorkloadReference::Builtin { name: "digits_mlp".into() });
    let roles: Vec<_> = body.declarations.iter().map(|d| (d.role, d.name.value.as_str())).collect();
    assert_eq!(
        roles,
        [
            (Role::Fixed, "optimizer"),
            (Role::Scientific, "hidden_layers"),
            (Role::Nuisance, "lr"),
            (Role::Nuisance, "momentum"),
            (Role::Fixed, "batch_size")
        ]
    );
    assert_eq!(body.declarations[0].distribution.value, Distribution::constant("nesterov".into()));
    assert_eq!(body.declarations[2].distribution.value, Distribution::LogUniform { low: 1e-4, high: 1.0 });
    assert_eq!(body.declarations[3].distribution.value, Distribution::OneMinusLogUniform { low: 1e-3, high: 1.0 });
    assert_eq!(body.objective.unwrap().1.value, "valid/error");
    assert_eq!(body.question.unwrap().value, "does depth help?");
}

#[test]
fn values_keep_their_types() {
    let body = parse("nuisance x in [1, 1.5, \"a b\", word, true, -2e3]").unwrap();
    let expected: Vec<Value> = vec![1.into(), 1.5.into(), "a b".into(), "word".into(), true.into(), (-2000.0).into()];
    assert_eq!(body.declarations[0].distribution.value, Distribution::Choice { values: expected });
}

#[test]
fn conditions_nest() {
    let body = parse("when optimizer in [adam, nadam]: when schedule == cosine: nuisance lr ~ uniform(0, 1)").unwrap();
    let conditions = &body.declarations[0].conditions;
    assert_eq!(conditions[0].0.value, "optimizer");
    assert_eq!(conditions[0].1, ["adam".into(), "nadam".into()]);
    assert_eq!(conditions[1].1, ["cosine".into()]);
}

#[test]
fn a_command_is_split_like_a_shell_would_and_keeps_its_hash() {
    let body = parse("command python3 'my train.py' --lr {lr} # --not-a-comment '# quoted'").unwrap();
    let WorkloadReference::Command(line) = body.workload.unwrap().value else { panic!() };
    assert_eq!(
        line.words,
        ["python3", "my train.py", "--lr", "{lr}", "#", "--not-a-comment", "# quoted"].map(String::from)
    );
}

#[test]
fn lists_and_commands_go_on_over_several_lines() {
    let text = "nuisance x in [\n  1, # one\n\n  2,\n]\ncommand python3 t.py \\\n  --lr {lr} \\\n  --x\nnuisance lr ~ uniform(0,\n 1)";
    let body = parse(text).unwrap();
    assert_eq!(body.declarations[0].distribution.value, Distribution::Choice { values: vec![1.into(), 2.into()] });
    assert_eq!(body.declarations[1].distribution.value, Distribution::Uniform { low: 0.0, high: 1.0 });
    let WorkloadReference::Command(line) = body.workload.unwrap().value else { panic!() };
    assert_eq!(line.words, ["python3", "t.py", "--lr", "{lr}", "--x"]);
    let unclosed = error("nuisance x in [1, 2\nminimize e").traceback().join("\n");
    assert!(unclosed.contains("expected `]`") && unclosed.contains("cell:1:"), "{unclosed}");
}

#[test]
fn errors_say_what_is_wrong_and_suggest_similar_names() {
    let cases = [
        ("nuisance lr ~ logunifrom(1e-4, 1)", "InvalidDistribution", "did you mean `loguniform`"),
        ("nuisance lr ~ loguniform(0, 1)", "InvalidDistribution", "above 0"),
        ("nuisance lr ~ uniform(1, 1)", "InvalidDistribution", "empty"),
        ("scientific x in []", "InvalidDistribution", "empty list"),
        ("scientfic x in [1]", "SyntaxError", "did you mean `scientific`"),
        ("fixed lr ~ uniform(0, 1)", "SyntaxError", "one value"),
        ("nuisance lr = 0.1", "SyntaxError", "`fixed`"),
        ("nuisance lr ~ uniform(0 1)", "SyntaxError", "expected `,`"),
        ("nuisance lr", "SyntaxError", "expected `~ distribution`"),
        ("workload a\nworkload b", "SyntaxError", "already"),
        ("question \"a\"\nquestion \"b\"", "SyntaxError", "the question is declared already"),
        ("question \"\"\nquestion \"b\"", "SyntaxError", "the question is declared already"),
        ("notes \"a\"\nfixed x = 1\nnotes \"a\"", "SyntaxError", "the text of `notes` is declared already"),
        ("round 1\nround 2", "SyntaxError", "the round is declared already"),
        ("fixed x = 'abc", "SyntaxError", "never closed"),
        ("nuisance n ~ int(1.5, 3)", "InvalidDistribution", "whole numbers"),
        ("nuisance m ~ 1 - loguniform(0.1, 2)", "InvalidDistribution", "at most 1"),
        ("fixed x = 1 2", "SyntaxError", "unexpected `2`"),
        ("fixed x = 0x10", "SyntaxError", "not a number"),
        ("round 99999999999999999999", "SyntaxError", "is not between -9223372036854775808 and 9223372036854775807"),
        ("round 4294967296", "InvalidValue", "a whole number from 1 to 4294967295"),
        ("fixed x = -1e999", "SyntaxError", "is not between -1.7976931348623157e308"),
        ("when a == 1: minimize b", "SyntaxError", "cannot be conditional"),
        ("minimize top-1 acc", "SyntaxError", "`minimize \"top-1 acc\"`"),
        ("maximize 1-µ % # why", "SyntaxError", "`maximize \"1-µ %\"`"),
        ("minimize a\nminimize b", "SyntaxError", "already declared"),
        ("fixed x = ä", "SyntaxError", "unexpected character `ä`"),
    ];
    for (text, name, part) in cases {
        let error = error(text);
        let rendered = error.traceback().join("\n");
        assert_eq!(error.name.as_str(), name, "{text}: {rendered}");
        assert!(error.message.contains(part) || rendered.contains(part), "{text}: {rendered}");
    }
}

#[test]
fn mistakes_in_conditions_are_answered_with_their_forms() {
    for text in [
        "when lr > 0.1: fixed steps = 3",
        "when act != relu: fixed steps = 3",
        "when act == relu and act == gelu: fixed steps = 3",
        "when act == relu & act == gelu: fixed steps = 3",
        "when act = relu: fixed steps = 3",
        "when act == relu fixed steps = 3",
        "when a == b: when act < relu: fixed steps = 3",
    ] {
        let help = error(text).help.unwrap_or_default();
        assert!(help.contains("`when HP == v:`") && help.contains("nest two as"), "{text}: {help}");
    }
    let help = error("when act == relu:\n  fixed steps = 3").help.unwrap();
    assert!(help.contains("on the same line"), "{help}");
    for text in ["when act == ä: fixed x = 1", "when act in [a, ä]: fixed x = 1", "when act == a: fixed x = ä"] {
        assert_eq!(error(text).help.as_deref(), Some("write a string that contains it in quotes"), "{text}");
    }
}

#[test]
fn what_stands_twice_is_to_be_removed() {
    for text in ["minimize a\nmaximize b", "scientific a in [relu, relu]", "workload a\nworkload b"] {
        assert!(error(text).help.is_some_and(|help| help.starts_with("remove one")), "{text}");
    }
}

#[test]
fn a_value_is_found_where_it_stands() {
    let text = "when b == true: scientific a in [relu, 'x y', -1]";
    let source = Source::new(text, 0);
    let place = |value: Value| {
        place_of_value(&source, 0..text.len(), |found| found.same_as(&value)).map(|span| text[span].to_string())
    };
    for (value, written) in
        [(Value::Int(-1), "-1"), ("relu".into(), "relu"), ("x y".into(), "'x y'"), (true.into(), "true")]
    {
        assert_eq!(place(value).as_deref(), Some(written));
    }
    assert_eq!(place("tanh".into()), None);
    let repeated = error("scientific a in [relu, tanh, relu]").traceback().join("\n");
    assert!(repeated.contains("relu is in the list twice"), "{repeated}");
}

#[test]
fn a_given_configuration_may_name_a_branch() {
    let names = |text: &str| -> Vec<(String, Value)> {
        let body = parse(text).unwrap();
        let [GivenConfigurations::Line(values, _)] = &body.configurations[..] else { panic!("{text}") };
        values.iter().map(|(name, value)| (name.value.clone(), value.value.clone())).collect()
    };
    let pair = |name: &str, value: Value| (name.to_string(), value);
    assert_eq!(
        names("configuration optimizer = sgd, optimizer=sgd/lr = 0.5 # why"),
        [pair("optimizer", "sgd".into()), pair("optimizer=sgd/lr", 0.5.into())]
    );
    assert_eq!(names("configuration a=x/b=y/lr=1"), [pair("a=x/b=y/lr", 1.into())]);
    assert_eq!(
        names("configuration \"depth=2/lr\" = 1, 'a=x|y/b' = c/d"),
        [pair("depth=2/lr", 1.into()), pair("a=x|y/b", "c/d".into())]
    );
    for text in ["configuration a = b = 1", "configuration optimizer = adam lr = 0.01"] {
        let error = error(text);
        assert!(error.message.starts_with("unexpected"), "{text}: {error}");
        assert!(error.help.is_some_and(|help| help.contains("a comma between two values")), "{text}");
    }
    let help = error("scientific \"a b\" in [b, c]").help.unwrap();
    assert!(help.starts_with("a name begins with a letter"), "{help}");
}

#[test]
fn errors_name_the_line_of_the_cell() {
    let text = "%%sweep depth\nworkload digits_mlp\nnuisance lr ~ loguniform(0, 1)\n";
    let source = Source::new(text, 4);
    let start = text.find("workload").unwrap();
    let error = parse_body(&source, start..text.len()).unwrap_err();
    let rendered = error.traceback().join("\n");
    assert!(rendered.contains(":7:"), "{rendered}");
    assert!(rendered.contains("7 │") && rendered.contains("cell:7:15"), "{rendered}");
}

#[test]
fn the_one_line_form_derives_roles_from_its_marks() {
    let text = "digits_mlp lr~loguniform(1e-4, 1) hidden_layers=[1, 2] momentum~1-loguniform(1e-3,1) steps=100";
    let source = Source::new(text, 0);
    let words = split_words(&source, 0..text.len()).unwrap();
    assert_eq!(words.len(), 5);
    let body = parse_one_line(&source, &words).unwrap();
    let roles: Vec<_> = body.declarations.iter().map(|d| d.role).collect();
    assert_eq!(roles, [Role::Nuisance, Role::Scientific, Role::Nuisance, Role::Fixed]);
}

#[test]
fn options_are_gnu_style() {
    const KNOWN: [OptionSpec; 2] = [
        OptionSpec { name: "trials", value: Some("N"), help: "" },
        OptionSpec { name: "resume", value: None, help: "" },
    ];
    let arguments = |text: &str| {
        let source = Source::new(text, 0);
        let words = split_words(&source, 0..text.len())?;
        parse_arguments(&source, 0..text.len(), words, &KNOWN)
    };
    for text in ["--trials 40 depth --resume", "depth --resume --trials=40"] {
        let parsed = arguments(text).unwrap();
        assert_eq!(parsed.count("trials", 1).unwrap(), Some(40));
        assert!(parsed.has("resume"));
        assert_eq!(parsed.positional[0].text, "depth");
    }
    let unknown = arguments("--trails 4").unwrap_err();
    assert!(unknown.traceback().join("\n").contains("did you mean `--trials`"));
    assert_eq!(arguments("--trials").unwrap_err().name.as_str(), "SyntaxError");
    assert_eq!(arguments("--resume=1").unwrap_err().name.as_str(), "SyntaxError");
    assert_eq!(arguments("--trials x").unwrap().count("trials", 1).unwrap_err().name.as_str(), "InvalidValue");
    let large = arguments("--trials 99999999999999999999").unwrap().small_count("trials", 1).unwrap_err().message;
    assert_eq!(large, "`--trials 99999999999999999999` is too large: the largest is 18446744073709551615");
    let many = arguments("--trials 4294967296").unwrap().small_count("trials", 1).unwrap_err().message;
    assert_eq!(many, "`--trials 4294967296` is too many: the most are 4294967295");
    assert_eq!(arguments("--trials 1 --trials 2").unwrap_err().name.as_str(), "SyntaxError");
}

#[test]
fn an_option_of_one_letter_has_one_dash() {
    const KNOWN: [OptionSpec; 3] = [
        OptionSpec { name: "a", value: None, help: "" },
        OptionSpec { name: "append", value: None, help: "" },
        OptionSpec { name: "n", value: Some("N"), help: "" },
    ];
    let arguments = |text: &str| {
        let source = Source::new(text, 0);
        let words = split_words(&source, 0..text.len())?;
        parse_arguments(&source, 0..text.len(), words, &KNOWN)
    };
    let parsed = arguments("-a file -n 5 - -1 -x \"-a\"").unwrap();
    assert!(parsed.has("a") && !parsed.has("append"));
    assert_eq!(parsed.count("n", 1).unwrap(), Some(5));
    let rest: Vec<&str> = parsed.positional.iter().map(|word| word.text.as_str()).collect();
    assert_eq!(rest, ["file", "-", "-1", "-x", "-a"]);
    assert_eq!(arguments("-n=7").unwrap().count("n", 1).unwrap(), Some(7));
    for (text, name, part) in
        [("--a", "UnknownOption", "`--a`"), ("-n", "SyntaxError", "`-n N`"), ("-a -a", "SyntaxError", "`-a`")]
    {
        let error = arguments(text).unwrap_err();
        assert!(error.name.as_str() == name && error.message.contains(part), "{text}: {error}");
    }
}

#[test]
fn words_after_a_program_are_its_arguments() {
    const KNOWN: [OptionSpec; 1] = [OptionSpec { name: "quiet", value: None, help: "" }];
    let text = "--quiet python3 -u --quiet --unknown";
    let source = Source::new(text, 0);
    let words = split_words(&source, 0..text.len()).unwrap();
    let parsed = parse_leading(&source, 0..text.len(), words, &KNOWN).unwrap();
    let rest: Vec<&str> = parsed.positional.iter().map(|word| word.text.as_str()).collect();
    assert!(parsed.has("quiet"));
    assert_eq!(rest, ["python3", "-u", "--quiet", "--unknown"]);
}

#[test]
fn durations_have_a_unit() {
    const KNOWN: [OptionSpec; 1] = [OptionSpec { name: "timeout", value: Some("T"), help: "" }];
    for (text, seconds) in [
        ("30s", Some(30)),
        ("2m", Some(120)),
        ("1.5h", Some(5400)),
        ("1h30m", Some(5400)),
        ("1h1m1s", Some(3661)),
        ("30", None),
        ("-1s", None),
        ("30m1h", None),
        ("1h30", None),
        ("0s", None),
    ] {
        let text = format!("--timeout={text}");
        let source = Source::new(&text, 0);
        let words = split_words(&source, 0..text.len()).unwrap();
        let parsed = parse_arguments(&source, 0..text.len(), words, &KNOWN).unwrap().duration("timeout");
        assert_eq!(parsed.ok().flatten().map(|d| d.as_secs()), seconds, "{text}");
    }
}

#[test]
fn code_after_the_options_is_kept_unchanged() {
    const KNOWN: [OptionSpec; 2] = [
        OptionSpec { name: "samples", value: Some("N"), help: "" },
        OptionSpec { name: "quick", value: None, help: "" },
    ];
    let arguments = |text: &str| {
        let source = Source::new(text, 0);
        parse_before_code(&source, 0..text.len(), 0..text.len(), &KNOWN)
    };
    for text in ["--samples 5 --quick f(\"it's\", &'a x)  ", "--samples=5 f(\"it's\", &'a x)", "-r5 f(\"it's\", &'a x)"]
    {
        let parsed = arguments(text).unwrap();
        assert_eq!(parsed.count("samples", 1).unwrap(), Some(5), "{text}");
        assert_eq!(parsed.positional[0].text, "f(\"it's\", &'a x)");
        assert!(text[parsed.positional[0].span.clone()].starts_with("f("));
    }
    assert_eq!(arguments("-x --samples 3").unwrap().positional[0].text, "-x --samples 3");
    assert!(arguments("--quick").unwrap().positional.is_empty());
    assert_eq!(arguments("--smaples 3 x").unwrap_err().name.as_str(), "UnknownOption");
    assert_eq!(arguments("--samples").unwrap_err().name.as_str(), "SyntaxError");
}

#[test]
fn jupyterlab_highlights_every_keyword_of_declarations() {
    let extension = include_str!("../../../../install/labextension/static/remoteEntry.js");
    for keyword in declarations::KEYWORDS {
        assert!(extension.contains(&format!("\"{keyword}\"")), "{keyword} is missing in install/labextension");
    }
}
