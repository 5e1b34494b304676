//! `command` in a sweep: programs as people bring them.

use serde_json::{Value, json};
use std::path::Path;
use tunebook_study::TrialState;
use tunebook_study::store::Store;
use tunebook_tests::{Kernel, PATIENCE, cell, eventually, kernel};

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("a file");
}

/// A sweep of a shell script that is written to the folder.
fn sweep(folder: &Path, name: &str, options: &str, script: &str) -> String {
    write(folder, &format!("{name}.sh"), script);
    format!(
        "%%sweep {name} --parallel 1 {options}\ncommand sh {name}.sh {{x}}\nnuisance x ~ uniform(0, 1)\nminimize valid/error"
    )
}

/// A text with single spaces, as lines may be broken anywhere.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The reason of the only trial of a study.
fn reason(kernel: &Kernel, study: &str) -> String {
    kernel.recorded(study)[0].reason.clone().unwrap_or_default()
}

#[tokio::test]
async fn metrics_of_one_step_are_merged_for_programs() {
    let (mut kernel, folder) = kernel().await;
    let script = r#"
        echo '{"step": 100, "valid/error": 0.25}'; echo '{"step": 100, "train/loss": 2}'
        echo '{"step": 200, "valid/error": 0.5}';  echo '{"step": 100, "valid/error": 0.125}'"#;
    let answer = kernel.run_ok(&sweep(folder.path(), "merged", "--trials 1", script)).await;
    let best = &answer.result()["best"];
    assert_eq!((&best["objective"], &best["step"]), (&json!(0.125), &json!(100)), "the last value at a step counts");
    let curves = kernel.run_ok("%curves merged").await.result();
    let metrics = &curves["trials"][0]["metrics"];
    assert_eq!(metrics["train/loss"], json!([[100, 2.0]]));
    assert_eq!(metrics["valid/error"], json!([[100, 0.125], [200, 0.5]]));
    assert_eq!(kernel.recorded("merged")[0].summaries["valid/error"].last, (0.5, 200));
}

#[tokio::test]
async fn metrics_of_one_step_are_merged_for_training_functions() {
    let (mut kernel, _folder) = kernel().await;
    let definition = r#"%%workload twice
fn hyperparameters() -> Vec<Hyperparameter> {
    vec![Hyperparameter::real("lr", 0.0..=1.0, 0.1)]
}
fn train(trial: &mut Trial) -> Result<()> {
    for step in 1..=2 {
        trial.report(step, &[("valid/error", 0.5 / step as f64)])?;
        trial.report(step, &[("train/loss", 2.0)])?;
    }
    trial.report(1, &[("valid/error", 0.125)])
}"#;
    kernel.run_ok(definition).await;
    let result = kernel.run_ok("%sweep twice lr~loguniform(1e-3,1) --trials 1").await.result();
    assert_eq!((&result["best"]["objective"], &result["best"]["step"]), (&json!(0.125), &json!(1)), "{result}");
    let study = kernel.run_ok("%study twice").await.result();
    assert_eq!(study["environment"]["epsilon"], Value::Null, "its optimizer is its own");
    let curves = kernel.run_ok("%curves twice").await.result();
    let metrics = &curves["trials"][0]["metrics"];
    assert_eq!(metrics["train/loss"], json!([[1, 2.0], [2, 2.0]]));
    assert_eq!(metrics["valid/error"], json!([[1, 0.125], [2, 0.25]]));
}

#[tokio::test]
async fn a_program_that_diverged_is_infeasible_however_it_writes_it() {
    let (mut kernel, folder) = kernel().await;
    // Python's f-strings, C and R write `nan` and `-inf`, Rust `NaN` and `inf`.
    let python = "import sys\nx = float('inf') - float('inf')\nprint(f'{{\"step\": 1, \"valid/error\": 1e271}}')\n\
        print(f'{{\"step\": 2, \"valid/error\": {x if sys.argv[1] == \"0\" else -float(\"inf\")}}}')\n";
    write(folder.path(), "diverge.py", python);
    let body = "command python3 diverge.py {x}\nscientific x in [0, 1]\nminimize valid/error";
    let result = kernel.run_ok(&format!("%%sweep py --sampler grid\n{body}")).await.result();
    assert_eq!(result["trials"]["infeasible"], 2, "{result}");
    assert!(kernel.recorded("py").iter().all(|t| t.reason.as_deref().is_some_and(|r| r.contains("at step 2"))));
    let study = kernel.run_ok("%study py").await.result();
    assert_eq!(study["environment"]["epsilon"], Value::Null, "where a program adds it is not known");
    let script = r#"case $1 in
        0) v=Inf;; 1) v=-inf;; 2) v="nan(0x8000000000000)";; 3) v=Infinity;; 4) v='"nan"';; 5) v=-nan;; esac
        printf '{"step": 1, "valid/error": 0.5}\n{"step": 2, "valid/error": %s}\n' "$v""#;
    write(folder.path(), "diverge.sh", script);
    let body = "command sh diverge.sh {x}\nscientific x in [0, 1, 2, 3, 4, 5]\nminimize valid/error";
    let result = kernel.run_ok(&format!("%%sweep sh --sampler grid\n{body}")).await.result();
    assert_eq!(result["trials"]["infeasible"], 6, "{result}");
}

#[tokio::test]
async fn a_training_loss_that_diverges_and_memory_that_runs_out_make_a_trial_infeasible() {
    let (mut kernel, folder) = kernel().await;
    let nan = "print({'step': 1, 'train/loss': float('nan'), 'e': 0.3})";
    // The end of the program is not waited for.
    let goes_on = "import time\nprint({'step': 5, 'train/loss': float('nan'), 'e': 0.9})\ntime.sleep(600)";
    let rises = "import time\nfor i in range(10000):\n    print({'step': i, 'train_loss': 2.0 if i < 100 else 1e30, 'e': 0.3})\n\
        time.sleep(60)\nopen('ended', 'w')";
    let memory = "print({'step': 1, 'e': 0.3})\nraise MemoryError('no room for the batch')";
    let went_on = "print('out of memory, a smaller batch')\nfor i in range(300): print('line')\nraise ValueError('x')";
    for (name, script, state, said) in [
        ("nan", nan, TrialState::Infeasible, "`train/loss` became non-finite at step 1"),
        ("goes_on", goes_on, TrialState::Infeasible, "`train/loss` became non-finite at step 5"),
        ("rises", rises, TrialState::Infeasible, "diverged: the training loss rose from 2.000 to"),
        ("memory", memory, TrialState::Infeasible, "out of memory: MemoryError: no room for the batch"),
        ("went_on", went_on, TrialState::Failed, "ValueError"),
    ] {
        write(folder.path(), &format!("{name}.py"), script);
        let sweep = format!("%%sweep {name} --trials 1\ncommand python3 {name}.py {{x}}\nnuisance x ~ uniform(0, 1)");
        kernel.run_ok(&format!("{sweep}\nminimize e")).await;
        let [trial] = &kernel.recorded(name)[..] else { panic!("one trial of {name}") };
        let reason = trial.reason.clone().unwrap_or_default();
        assert_eq!((trial.state, reason.contains(said)), (state, true), "{name}: {reason}");
    }
    assert!(!folder.path().join("ended").exists(), "the diverging program was ended");
}

#[tokio::test]
async fn nearly_right_lines_are_understood_or_named() {
    let (mut kernel, folder) = kernel().await;
    for (i, line) in [
        "{'step': 1, 'valid/error': .5}",
        r#"{"step": "1", "valid/error": "0.5"}"#,
        r#"INFO 12:00 train: {"step": 1, "valid/error": 0.5} (3 s)"#,
        r#"{"step": 1, "valid": {"error": 0.5}}"#,
        "{\n  \"step\": 1,\n  \"valid/error\": 0.5\n}",
        "\r50%|####    |\r\u{1b}[32m{\"step\": 1, \"valid/error\": 0.5}\u{1b}[0m",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("right{i}");
        write(folder.path(), "line", line);
        let result = kernel.run_ok(&sweep(folder.path(), &name, "--trials 1", "cat line")).await.result();
        assert_eq!(result["best"]["objective"], 0.5, "{line}: {}", reason(&kernel, &name));
    }
    for (i, (text, parts)) in [
        (
            "{'epoch': 1, 'valid/error': .5}\n{'epoch': 2, 'valid/error': .4}\n",
            &["2 lines", "no `step`", "`epoch`"][..],
        ),
        (r#"{"step": "first", "valid/error": 0.5}"#, &["`step`", "first"]),
        (r#"{"step": 1, "valid/error": }"#, &["not a complete JSON object", "\"valid/error\": }"]),
        (r#"{"step": 1, "Valid/Error": 0.5}"#, &["did you mean `Valid/Error`"]),
        (r#"{"step": 1, "valid/error": null}"#, &["not as a number", "null"]),
        ("Epoch 1: error 0.5", &["`Epoch 1: error 0.5`", "{\"step\": 100, \"valid/error\": 0.5}"]),
        ("", &["printed nothing"]),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("near{i}");
        write(folder.path(), "line", text);
        kernel.run_ok(&sweep(folder.path(), &name, "--trials 1", "cat line")).await;
        assert_eq!(kernel.recorded(&name)[0].state, TrialState::Failed);
        let reason = reason(&kernel, &name);
        assert!(parts.iter().all(|part| reason.contains(part)), "{text}: {reason}");
    }
    write(folder.path(), "line", "{\"step\": 1, \"valid/error\": 0.5}\n{\"step\": 2.5, \"valid/error\": 0.4}\n");
    let code = sweep(folder.path(), "fraction", "--trials 1", "cat line");
    for _ in 0..2 {
        let answer = kernel.run_ok(&code).await;
        assert_eq!(answer.result()["best"]["objective"], 0.5);
        let shown = flat(&answer.shown());
        assert!(shown.contains("Trial 1 complete: 1 line looks like a report and was not recorded"), "{shown}");
        assert!(shown.contains("\"step\": 2.5"), "{shown}");
    }
}

#[tokio::test]
async fn what_python_prints_before_a_time_out_is_kept_and_shown_while_it_runs() {
    let (mut kernel, folder) = kernel().await;
    write(folder.path(), "slow.py", "import time\nprint('{\"step\": 7, \"e\": 0.5}')\ntime.sleep(60)\n");
    let sweep =
        "%%sweep slow --trials 1 --timeout 4s\ncommand python3 slow.py {x}\nnuisance x ~ uniform(0, 1)\nminimize e";
    let id = kernel.send("execute_request", cell(sweep)).await;
    let answer = kernel.answer(&id).await;
    let shown = answer.shown();
    assert!(shown.contains("trial 1 on ") && shown.contains(": step 7, e 0.5"), "{shown}");
    let trial = &kernel.recorded("slow")[0];
    assert_eq!((trial.state, trial.summaries["e"].last), (TrialState::Failed, (0.5, 7)));
}

#[tokio::test]
async fn a_study_whose_program_changed_says_so_and_is_not_extended_unawares() {
    let (mut kernel, folder) = kernel().await;
    let script = |error: &str| format!("cat data.csv >&2\necho '{{\"step\": 1, \"valid/error\": {error}}}'");
    write(folder.path(), "data.csv", "1,2\n");
    let cell = |options: &str| {
        format!(
            "%%sweep stale {options}\ncommand sh stale.sh {{x}} --data=data.csv\nnuisance x ~ uniform(0, 1)\n\
             minimize valid/error"
        )
    };
    write(folder.path(), "stale.sh", &script("0.5"));
    let first = kernel.run_ok(&cell("--trials 2")).await.result();
    assert_eq!((&first["changes"], &first["changed"]), (&json!([]), &json!([])));
    assert_eq!(kernel.run_ok(&cell("--trials 2")).await.result()["changed"], json!([]));

    write(folder.path(), "stale.sh", &script("0.25"));
    let shown = kernel.run_ok(&cell("--trials 2")).await;
    assert!(shown.shown().contains("`stale.sh` has changed since these trials ran"), "{}", shown.shown());
    assert_eq!(shown.result()["changed"], json!(["stale.sh"]));
    for options in ["--trials 4", "--trials 3 --resume"] {
        let error = kernel.run_error(&cell(options)).await;
        assert!(error.contains("FilesChanged") && error.contains("`stale.sh` has changed"), "{error}");
        assert!(error.contains("--accept-changes"), "{error}");
    }
    assert_eq!(kernel.recorded("stale").len(), 2, "nothing was trained");
    // In another kernel too.
    let mut other = Kernel::start(folder.path()).await;
    assert!(other.run_error(&cell("--trials 4")).await.contains("`stale.sh` has changed"));
    drop(other);
    let extended = kernel.run_ok(&cell("--trials 4 --accept-changes")).await.result();
    let change = &extended["changes"][0];
    assert_eq!((&change["what"], &change["at_trial"]), (&json!("stale.sh"), &json!(3)), "{extended}");
    assert!(change["before"] != change["after"] && change["before"].is_string());
    assert_eq!(kernel.run_ok("%study stale").await.result()["changes"], extended["changes"]);
    // From now on, the new file is the one of the study.
    kernel.run_ok(&cell("--trials 5")).await;
    write(folder.path(), "data.csv", "3,4\n");
    assert!(kernel.run_error(&cell("--trials 6")).await.contains("`data.csv` has changed"));
    std::fs::remove_file(folder.path().join("data.csv")).unwrap();
    assert!(kernel.run_error(&cell("--trials 6")).await.contains("`data.csv` is gone"));
    write(folder.path(), "data.csv", "1,2\n");
    kernel.run_ok(&cell("--trials 6")).await;
}

#[tokio::test]
async fn a_file_that_changes_while_trials_run_is_told_and_one_that_they_write_is_no_matter() {
    let (mut kernel, folder) = kernel().await;
    // The second trial edits the script; each trial writes the log.
    let script = "echo run >> out.log\n[ $TUNEBOOK_TRIAL = 2 ] && echo '# edited' >> edited.sh\n\
        echo '{\"step\": 1, \"e\": 0.5}'\n";
    write(folder.path(), "edited.sh", script);
    write(folder.path(), "out.log", "");
    let cell = |trials: u32| {
        format!(
            "%%sweep edited --parallel 1 --trials {trials}\ncommand sh edited.sh {{x}} --log=out.log\n\
             nuisance x ~ uniform(0, 1)\nminimize e"
        )
    };
    let answer = kernel.run_ok(&cell(6)).await;
    let shown = answer.shown().replace('\n', " ");
    assert!(shown.contains("`edited.sh` before trial 3"), "{shown}");
    let changes = answer.result()["changes"].as_array().unwrap().clone();
    assert!(changes.len() == 1 && changes[0]["at_trial"] == 3, "{changes:?}");
    assert_eq!(kernel.run_ok(&cell(7)).await.result()["trials"]["complete"], 7);

    // An edit during the last trial was not read by any: more trials would mix both.
    write(folder.path(), "edited.sh", &script.replace("= 2", "= 2000").replace("edited.sh\n", "edited.sh\n#\n"));
    assert!(kernel.run_error(&cell(8)).await.contains("`edited.sh` has changed"));
}

/// The counts of the values of `of` among the trials with each value of `within`.
fn counts(trials: &[tunebook_study::Trial], within: &str, of: &str) -> Vec<Vec<usize>> {
    let values = |name: &str| {
        let mut values: Vec<String> = trials.iter().map(|t| t.params[name].to_string()).collect();
        values.sort();
        values.dedup();
        values
    };
    let count = |a: &String, b: &String| {
        trials.iter().filter(|t| t.params[within].to_string() == *a && t.params[of].to_string() == *b).count()
    };
    values(within).iter().map(|a| values(of).iter().map(|b| count(a, b)).collect()).collect()
}

#[tokio::test]
async fn nuisance_lists_are_not_confounded_with_the_scientific_list_and_widening_repeats_nothing() {
    let (mut kernel, folder) = kernel().await;
    write(folder.path(), "t.sh", "echo '{\"step\": 1, \"e\": 0.5}'");
    let cell = |depths: &str, options: &str| {
        format!(
            "%%sweep deal --seed 0 {options}\ncommand sh t.sh {{depth}} {{act}}\nscientific depth in [{depths}]\n\
             nuisance act in [relu, gelu, silu, tanh, elu]\nminimize e"
        )
    };
    kernel.run_ok(&cell("1, 2, 3, 4, 5", "--trials 12")).await;
    let before = kernel.recorded("deal");
    kernel.run_ok(&cell("1, 2, 3, 4, 5, 6", "--trials 30 --widen")).await;
    let trials = kernel.recorded("deal");
    assert_eq!(trials[..12], before[..]);
    let deal = counts(&trials, "depth", "act");
    assert!(deal.iter().flatten().all(|count| *count == 1), "each combination once: {deal:?}");
    let study = kernel.run_ok("%study deal").await.result();
    assert_eq!(
        (&study["definition"]["sampler_version"], &study["definition"]["earlier"][0]["configurations"]),
        (&json!(tunebook_study::sampler::VERSION), &json!(12))
    );
    assert_eq!(kernel.run_ok(&cell("1, 2, 3, 4, 5, 6", "--trials 30")).await.result()["trials"]["complete"], 30);
}

#[tokio::test]
async fn a_list_that_gains_a_value_gains_its_branch() {
    let (mut kernel, _folder) = kernel().await;
    let sweep = |options: &str, lists: &str, branches: &str| {
        format!(
            "%%sweep s {options}\ncommand sh -c 'echo \"{{{{\\\"step\\\": 1, \\\"e\\\": {{lr}}}}}}\"'\n\
             scientific optimizer in [{lists}]\n{branches}\nminimize e"
        )
    };
    let two =
        "when optimizer == sgd: nuisance lr ~ uniform(0.1, 1)\nwhen optimizer == adam: nuisance lr ~ uniform(0, 0.1)";
    kernel.run_ok(&sweep("--trials 6", "sgd, adam", two)).await;
    let three = format!("{two}\nwhen optimizer == nadam: nuisance lr ~ uniform(0.2, 0.3)");
    let refused = kernel.run_error(&sweep("--trials 9", "sgd, adam, nadam", &three)).await;
    assert!(refused.contains("--widen"), "{refused}");
    kernel.run_ok(&sweep("--trials 9 --widen", "sgd, adam, nadam", &three)).await;
    let trials = kernel.recorded("s");
    assert_eq!(
        counts(&trials, "optimizer", "optimizer").iter().flatten().filter(|n| **n == 3).count(),
        3,
        "{trials:?}"
    );
    // A branch that old trials would have had is no wider space.
    let changed = three.replace("when optimizer == sgd:", "nuisance wd ~ uniform(0, 1)\nwhen optimizer == sgd:");
    assert!(
        kernel.run_error(&sweep("--trials 12 --widen", "sgd, adam, nadam", &changed)).await.contains("StudyExists")
    );
}

#[tokio::test]
async fn a_fixed_value_becomes_a_list_with_a_branch_for_each_value() {
    let (mut kernel, _folder) = kernel().await;
    let sweep = |options: &str, lines: &str| {
        format!(
            "%%sweep s {options}\ncommand sh -c 'echo \"{{{{\\\"step\\\": 1, \\\"e\\\": {{lr}}}}}}\"'\n{lines}\n\
             minimize e"
        )
    };
    kernel.run_ok(&sweep("--trials 4", "nuisance lr ~ loguniform(1e-4, 1)\nfixed optimizer = adam")).await;
    let before = kernel.recorded("s");
    let branches = "scientific optimizer in [adam, sgd]\nwhen optimizer == adam: nuisance lr ~ loguniform(1e-4, 1)\n\
        when optimizer == sgd: nuisance lr ~ loguniform(1e-3, 10)";
    let refused = kernel.run_error(&sweep("--trials 8", branches)).await;
    assert!(refused.starts_with("StudyExists"), "{refused}");
    kernel.run_ok(&sweep("--trials 8 --widen", branches)).await;
    let trials = kernel.recorded("s");
    assert_eq!(trials[..4], before[..]);
    assert!(trials[4..].iter().all(|trial| trial.params["optimizer"] == "sgd".into()), "sgd catches up: {trials:?}");
    let isolated = kernel.run_ok("%isolate s optimizer").await.result();
    assert_eq!(isolated["points"].as_array().unwrap().len(), 2, "{isolated}");
    // A narrower range of a branch is another study.
    let narrower = branches.replace("1e-4", "1e-2");
    assert!(kernel.run_error(&sweep("--trials 12 --widen", &narrower)).await.starts_with("StudyExists"));
}

#[tokio::test]
async fn a_study_of_the_first_sampler_goes_on_with_it() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "t.sh", "echo '{\"step\": 1, \"e\": 0.5}'");
    let cell = "%%sweep old --trials 30\ncommand sh t.sh {depth} {act}\nscientific depth in [1, 2, 3, 4, 5]\n\
        nuisance act in [relu, gelu, silu, tanh, elu]\nminimize e";
    let mut kernel = Kernel::start(folder.path()).await;
    kernel.run_ok(&cell.replace("--trials 30", "--trials 1")).await;
    kernel.kill();
    // The definition as the first version wrote it: without a version.
    let path = folder.path().join(".tunebook/studies.db");
    let mut store = Store::open(&path).unwrap();
    let mut definition = store.study("old").unwrap().unwrap().definition;
    let writer = store.write(store_study(&path)).unwrap();
    writer.delete().unwrap();
    definition.sampler_version = 1;
    store = Store::open(&path).unwrap();
    store.create_study("old", &definition).unwrap();
    drop(store);

    let mut kernel = Kernel::start(folder.path()).await;
    let study = kernel.run_ok("%study old").await;
    assert_eq!(study.result()["definition"]["sampler_version"], 1);
    assert!(study.shown().contains("quasirandom (version 1)"), "{}", study.shown());
    kernel.run_ok(cell).await;
    let most = counts(&kernel.recorded("old"), "depth", "act").into_iter().flatten().max();
    assert_eq!(most, Some(4), "what version 1 proposed");
}

fn store_study(path: &Path) -> tunebook_study::store::StudyRecord {
    Store::open(path).unwrap().study("old").unwrap().unwrap()
}

#[tokio::test]
async fn options_without_a_value_are_left_out_and_values_are_written_as_the_user_says() {
    let (mut kernel, folder) = kernel().await;
    write(folder.path(), "args.sh", "echo \"$*\" >&2; echo '{\"step\": 1, \"e\": 0.5}'");
    let log = |number: u32| {
        std::fs::read_to_string(folder.path().join(format!(".tunebook/trials/args/{number}/log.txt"))).unwrap()
    };
    let body = |command: &str| {
        format!(
            "{command}\nscientific optimizer in [adam, sgd]\nwhen optimizer == sgd: fixed momentum = 0.9\n\
             fixed lr = 0.0316227766\nfixed n = 1e1\nfixed amp = \"\"\nfixed flag = True\nfixed other = true\nminimize e"
        )
    };
    let wrong = kernel.run_error(&format!("%%sweep args\n{}", body("command sh args.sh --momentum {momentum}"))).await;
    assert!(
        wrong.contains("no value where `optimizer` is adam") && wrong.contains("`[--momentum {momentum}]`"),
        "{wrong}"
    );
    let command =
        "command sh args.sh {amp} --o={optimizer} [--momentum {momentum}] --lr {lr:.3e} \\\n   {n} {flag} {other}";
    let shown = kernel.run_ok(&format!("%%sweep args --sampler grid\n{}", body(command))).await;
    assert_eq!(log(1), "--o=adam --lr 3.162e-02 10 True true\n");
    assert_eq!(log(2), "--o=sgd --momentum 0.9 --lr 3.162e-02 10 True true\n");
    drop(shown);
    let table =
        "%%sweep table --trials 1\ncommand sh args.sh {lr:.3e}\nnuisance lr ~ loguniform(1e-5, 1e-2)\nminimize e";
    let shown = kernel.run_ok(table).await.shown();
    let passed = std::fs::read_to_string(folder.path().join(".tunebook/trials/table/1/log.txt")).unwrap();
    assert!(shown.contains(&format!("lr={}", passed.trim())), "{passed}: {shown}");
}

#[tokio::test]
async fn shell_syntax_and_forms_of_other_tuners_are_answered_and_record_nothing() {
    let (mut kernel, folder) = kernel().await;
    for (command, help) in [
        ("VAR=1 python3 t.py", "sh -c 'VAR=1 python3 t.py'"),
        ("cd x && python3 t.py", "sh -c 'cd x && python3 t.py'"),
        ("python3 t.py | tee log", "sh -c 'python3 t.py | tee log'"),
        ("python3 t.py > log", "sh -c 'python3 t.py > log'"),
        ("python3 ~/t.py", "sh -c 'python3 ~/t.py'"),
        ("python3 $HOME/t.py", "sh -c 'python3 $HOME/t.py'"),
        ("python3 t.py data/*.csv", "sh -c 'python3 t.py data/*.csv'"),
    ] {
        let error = kernel.run_error(&format!("%%sweep s\ncommand {command}\nfixed x = 1\nminimize e")).await;
        assert!(error.contains("without a shell") && error.contains(help), "{command}: {error}");
    }
    for (line, form) in [
        ("nuisance x in range(1, 4)", "`x in [1, 2, 3]`"),
        ("nuisance x ~ int(1, 9, step=4)", "`x in [1, 5, 9]`"),
        ("nuisance x ~ uniform(10**-5, 1)", "`x ~ uniform(1e-5, 1)`"),
        ("nuisance x ~ log_uniform(1e-5, 1)", "`x ~ loguniform(1e-5, 1)`"),
        ("nuisance x ~ choice([a, b])", "`x in [a, b]`"),
    ] {
        let error = kernel.run_error(&format!("%%sweep s\ncommand t {{x}}\n{line}\nminimize e")).await;
        assert!(error.contains(form), "{line}: {error}");
    }
    assert!(!folder.path().join(".tunebook").exists());
    // What the answer says runs.
    let sweep = "%%sweep s --trials 1\ncommand sh -c 'X=1 && echo \"{{\\\"step\\\": $X, \\\"e\\\": {x}}}\" | cat'\n\
        fixed x = 0.5\nminimize e";
    assert_eq!(kernel.run_ok(sweep).await.result()["best"]["objective"], 0.5);
}

#[tokio::test]
async fn a_study_that_only_fails_stops_and_its_trials_can_run_again() {
    let (mut kernel, folder) = kernel().await;
    let sweep = |options: &str| {
        format!(
            "%%sweep missing --parallel 2 {options}\ncommand sh missing.sh {{x}}\nnuisance x ~ uniform(0, 1)\nminimize e"
        )
    };
    let answer = kernel.run_ok(&sweep("--trials 200")).await;
    let failed = answer.result()["trials"]["failed"].as_u64().unwrap();
    assert!((5..=7).contains(&failed), "{failed}");
    let shown = answer.shown();
    assert!(shown.contains("missing.sh") && shown.contains("--retry-failed") && shown.contains("Stopped"), "{shown}");
    // A script that is wrong and mended is no change of results: there are none yet.
    write(folder.path(), "missing.sh", "exit 3");
    let answer = kernel.run_ok(&sweep("--trials 200 --retry-failed")).await;
    assert!(answer.shown().contains("exited with status 3"), "{}", answer.shown());
    let params: Vec<Value> = kernel.recorded("missing").iter().map(|t| json!(t.params)).collect();
    write(folder.path(), "missing.sh", "echo \"{\\\"step\\\": 1, \\\"e\\\": $1}\"");
    let again = kernel.run_ok(&sweep("--trials 8 --retry-failed")).await.result();
    assert_eq!((&again["trials"]["complete"], &again["trials"]["failed"]), (&json!(8), &json!(0)), "{again}");
    let after: Vec<Value> = kernel.recorded("missing").iter().map(|t| json!(t.params)).collect();
    assert_eq!(after[..params.len()], params[..], "under their numbers, with their values");

    // A study that has a result is not stopped, however many of its other trials fail.
    write(folder.path(), "missing.sh", "exit 4");
    let answer = kernel.run_ok(&sweep("--trials 16 --resume --accept-changes")).await;
    assert_eq!(answer.result()["trials"]["failed"], 8, "{}", answer.shown());
    let answer = kernel.run_ok(&sweep("--trials 16 --retry-failed")).await;
    assert_eq!(answer.result()["trials"]["failed"], 8, "{}", answer.shown());
    assert!(!answer.shown().contains("Stopped"), "{}", answer.shown());
}

#[tokio::test]
async fn a_failed_trial_keeps_its_end_until_it_begins_again() {
    let (mut kernel, folder) = kernel().await;
    write(folder.path(), "t.sh", "[ -e slow ] && sleep 60; exit 3");
    let sweep = |options: &str| {
        format!(
            "%%sweep s --trials 3 --parallel 1 {options}\ncommand sh t.sh {{x}}\nnuisance x ~ uniform(0, 1)\nminimize e"
        )
    };
    assert_eq!(kernel.run_ok(&sweep("")).await.result()["trials"]["failed"], 3);
    let failed = kernel.recorded("s");
    write(folder.path(), "slow", "");
    let of = |result: Value| (result["trials"]["failed"].clone(), result["trials"]["cancelled"].clone());
    let retried = kernel.run_ok(&sweep("--retry-failed --budget 1s")).await.result();
    assert_eq!(of(retried), (json!(2), json!(1)));
    let recorded = kernel.recorded("s");
    assert_eq!((recorded[0].state, &recorded[1..]), (TrialState::Cancelled, &failed[1..]));
    // The cell and `%study` count each trial once, and what is cancelled is not replayed.
    assert_eq!(of(kernel.run_ok(&sweep("")).await.result()), (json!(2), json!(1)));
    let study = kernel.run_ok("%study s").await;
    assert_eq!(of(study.result()), (json!(2), json!(1)));
    assert!(flat(&study.shown()).contains("`%replay s` runs 2 trials again."), "{}", study.shown());
}

#[tokio::test]
async fn names_and_metrics_may_have_any_characters_and_are_completed() {
    let (mut kernel, folder) = kernel().await;
    write(folder.path(), "t.sh", "echo '{\"step\": 1, \"top-1 acc. %\": 1, \"valid/µ\": 2, \"plain\": 3}'");
    let sweep = "%%sweep my-study --trials 1\ncommand sh t.sh --batch-size {batch-size}\n\
        nuisance batch-size in [\n  32,  # small\n  64,\n]\nmaximize \"top-1 acc. %\"";
    assert_eq!(kernel.run_ok(sweep).await.result()["best"]["objective"], 1.0);
    let completed = async |kernel: &mut Kernel, code: &str| {
        let at = code.chars().count();
        let found = kernel.request("complete_request", json!({ "code": code, "cursor_pos": at })).await;
        let start = found.reply["cursor_start"].as_u64().unwrap() as usize;
        let before: String = code.chars().take(start).collect();
        let matches = found.reply["matches"].as_array().unwrap().clone();
        matches.iter().map(|text| format!("{before}{}", text.as_str().unwrap())).collect::<Vec<_>>()
    };
    for (code, expected) in [
        ("%isolate my-st", &["%isolate my-study"][..]),
        ("%axis my-study batch-", &["%axis my-study batch-size"]),
        ("%isolate my-study batch-size --minimize p", &["%isolate my-study batch-size --minimize plain"]),
        ("%isolate my-study batch-size --minimize v", &["%isolate my-study batch-size --minimize \"valid/µ\""]),
        ("%isolate my-study batch-size --maximize t", &["%isolate my-study batch-size --maximize \"top-1 acc. %\""]),
        (
            "%isolate my-study batch-size --maximize \"top-1 a",
            &["%isolate my-study batch-size --maximize \"top-1 acc. %\""],
        ),
        ("%%sweep my-study --maximize \"to", &["%%sweep my-study --maximize \"top-1 acc. %\""]),
        ("%%sweep my-study\ncommand x\nmaximize t", &["%%sweep my-study\ncommand x\nmaximize \"top-1 acc. %\""]),
        ("%isolate my-study batch-size --maximize=\"to", &["%isolate my-study batch-size --maximize=\"top-1 acc. %\""]),
    ] {
        assert_eq!(completed(&mut kernel, code).await, expected, "{code}");
    }
    let code = "%isolate my-study batch-size --minimize valid/µ";
    assert_eq!(kernel.run_ok(code).await.result()["metric"], "valid/µ");
    let code = "%isolate my-study batch-size --maximize \"top-1 acc. %\"";
    assert_eq!(kernel.run_ok(code).await.result()["metric"], "top-1 acc. %");
}

#[tokio::test]
async fn a_running_program_is_seen_from_outside_with_its_points() {
    let (mut kernel, folder) = kernel().await;
    let script = "echo '{\"step\": 1, \"valid/error\": 0.5}'; while [ ! -e go ]; do :; done; echo '{\"step\": 2, \"valid/error\": 0.25}'";
    let id = kernel.send("execute_request", cell(&sweep(folder.path(), "live", "--trials 1", script))).await;
    let running = |kernel: &Kernel| kernel.recorded("live").first().is_some_and(|t| t.state == TrialState::Running);
    assert!(eventually(PATIENCE, || running(&kernel)).await);
    // The display shows the running trial.
    let is_shown = |text: &str| text.contains("trial 1 on ") && text.contains(": step 1, valid/error 0.5, ");
    while !is_shown(kernel.published().await.plain_text()) {}
    write(folder.path(), "go", "");
    assert_eq!(kernel.answer(&id).await.result()["best"]["objective"], 0.25);
}

#[tokio::test]
async fn a_running_sweep_says_where_its_trials_run_and_how_much_time_is_left() {
    let (mut kernel, folder) = kernel().await;
    // The second trial waits until it may go on.
    let script = "[ ! -e first ] || while [ ! -e go ]; do sleep 0.05; done; touch first; \
        echo '{\"step\": 1, \"valid/error\": 0.5}'";
    let id = kernel.send("execute_request", cell(&sweep(folder.path(), "left", "--trials 2", script))).await;
    let parts = ["1 of 2 trials", ", about ", " left", "trial 2 on "];
    let is_shown = |text: &str| parts.iter().all(|part| text.contains(part));
    while !is_shown(kernel.published().await.plain_text()) {}
    write(folder.path(), "go", "");
    assert_eq!(kernel.answer(&id).await.result()["trials"]["complete"], 2);
}

#[tokio::test]
async fn the_plan_and_its_lints_are_shown_before_a_trial_ends() {
    let (mut kernel, folder) = kernel().await;
    let script = "while [ ! -e go ]; do sleep 0.02; done; echo '{\"step\": 1, \"valid/error\": 0.5}'";
    let cell_text = sweep(folder.path(), "head", "--trials 3", script).replace("{x}", "{x} {n}");
    let id = kernel.send("execute_request", cell(&format!("{cell_text}\nscientific n in [1, 2, 3]"))).await;
    let parts = ["Roles: scientific `n`; nuisance `x`.", "sparse-design:", "0 of 3 trials"];
    let is_shown = |text: &str| parts.iter().all(|part| text.contains(part));
    while !is_shown(kernel.published().await.plain_text()) {}
    write(folder.path(), "go", "");
    assert_eq!(kernel.answer(&id).await.result()["trials"]["complete"], 3);
}

#[tokio::test]
async fn a_study_is_widened_by_a_branch_with_an_option_of_its_own() {
    let (mut kernel, folder) = kernel().await;
    write(folder.path(), "t.sh", "echo \"$*\" >&2; echo '{\"step\": 1, \"e\": 0.5}'");
    let cell = |options: &str, more: &str, lines: &str| {
        format!("%%sweep wide {options}\ncommand sh t.sh {{optimizer}} {{lr}}{more}\n{lines}\nminimize e")
    };
    kernel.run_ok(&cell("--trials 2", "", "fixed optimizer = adam\nnuisance lr ~ uniform(0, 1)")).await;
    let before = kernel.recorded("wide");
    let lines = "scientific optimizer in [adam, sgd]\nwhen optimizer == adam: nuisance lr ~ uniform(0, 1)\n\
        when optimizer == sgd: nuisance lr ~ uniform(0, 10)\nwhen optimizer == sgd: nuisance warm-up in [3, 7]";
    let wider = |options: &str, lines: &str| cell(options, " [--warm-up={warm-up}]", lines);
    let error = kernel.run_error(&wider("--trials 6 --widen --seed 5", lines)).await;
    assert!(error.contains("--seed was 0, now 5") && !error.contains("warm-up` is new"), "{error}");
    kernel.run_ok(&wider("--trials 6 --widen", lines)).await;
    let trials = kernel.recorded("wide");
    assert_eq!(trials[..2], before[..], "old trials are kept");
    for trial in &trials {
        let log = folder.path().join(format!(".tunebook/trials/wide/{}/log.txt", trial.number));
        let log = std::fs::read_to_string(log).unwrap();
        let is_sgd = trial.params["optimizer"] == "sgd".into();
        assert_eq!(log.contains("--warm-up="), is_sgd, "{log}");
    }
    let study = kernel.run_ok("%study wide").await.result();
    let earlier = &study["definition"]["earlier"][0];
    assert_eq!(earlier["command"]["words"], json!(["sh", "t.sh", "{optimizer}", "{lr}"]), "{earlier}");
}

#[tokio::test]
async fn a_program_that_goes_on_from_its_own_checkpoint_keeps_what_it_reported_before() {
    let (mut kernel, folder) = kernel().await;
    // It waits at step 7 until it may go on. A program that begins again ignores its checkpoint.
    let script = r#"at="$TUNEBOOK_TRIAL_DIR/at"
        step=0
        if [ -e "$at" ] && [ ! -e again ]; then step=$(cat "$at"); fi
        echo "begins after $step" >&2
        while [ $step -lt 12 ]; do
            step=$((step + 1))
            echo "{\"step\": $step, \"valid/error\": 0.$((10 + step))}"
            echo $step > "$at"
            if [ $step = 7 ] && [ ! -e go ]; then touch waits; while [ ! -e go ]; do sleep 0.02; done; fi
        done"#;
    let steps = |study: &str| {
        let store = Store::open(&folder.path().join(".tunebook/studies.db")).unwrap();
        let study = store.study(study).unwrap().unwrap();
        let measured = store.measurements(&study, 1).unwrap();
        assert!(measured.is_sorted_by(|a, b| a.seconds <= b.seconds), "{measured:?}");
        measured.iter().map(|measurement| measurement.step).collect::<Vec<_>>()
    };
    for (study, begun_after) in [("goes_on", 7), ("anew", 0)] {
        let id = kernel.send("execute_request", cell(&sweep(folder.path(), study, "--trials 1", script))).await;
        assert!(eventually(PATIENCE, || folder.path().join("waits").exists()).await);
        assert!(eventually(PATIENCE, || steps(study).len() == 7).await);
        kernel.control("interrupt_request", json!({})).await;
        assert_eq!(kernel.answer(&id).await.reply["ename"], "Interrupted");
        assert_eq!(steps(study), (1..=7).collect::<Vec<_>>());
        write(folder.path(), "go", "");
        let resumed = sweep(folder.path(), study, "--trials 1 --resume", script);
        let best = kernel.run_ok(&resumed).await.result()["best"].clone();
        assert_eq!((&best["objective"], &best["step"]), (&json!(0.11), &json!(1)), "{study}: {best}");
        assert_eq!(steps(study), (1..=12).collect::<Vec<_>>());
        let log = folder.path().join(format!(".tunebook/trials/{study}/1/log.txt"));
        let log = std::fs::read_to_string(log).unwrap();
        let expected = format!("begins after 0\n[tunebook: the trial runs again]\nbegins after {begun_after}\n");
        assert_eq!(log, expected);
        write(folder.path(), "again", "");
        std::fs::remove_file(folder.path().join("waits")).unwrap();
        std::fs::remove_file(folder.path().join("go")).unwrap();
    }
}

#[tokio::test]
async fn a_program_that_has_nothing_left_to_do_when_it_runs_again_is_complete() {
    let (mut kernel, folder) = kernel().await;
    // It has reported all its steps, and then works on until it may end. When it runs again, it is at its end.
    let script = r#"at="$TUNEBOOK_TRIAL_DIR/at"
        if [ -e "$at" ]; then exit 0; fi
        for step in 1 2 3; do echo "{\"step\": $step, \"valid/error\": 0.$((9 - step))}"; done
        touch "$at" waits
        while [ ! -e go ]; do sleep 0.02; done"#;
    let id = kernel.send("execute_request", cell(&sweep(folder.path(), "ends", "--trials 1", script))).await;
    assert!(eventually(PATIENCE, || folder.path().join("waits").exists()).await);
    let store = || Store::open(&folder.path().join(".tunebook/studies.db")).unwrap();
    let measured = || {
        let study = store().study("ends").unwrap().unwrap();
        store().measurements(&study, 1).unwrap().len()
    };
    assert!(eventually(PATIENCE, || measured() == 3).await);
    kernel.control("interrupt_request", json!({})).await;
    assert_eq!(kernel.answer(&id).await.reply["ename"], "Interrupted");
    let result = kernel.run_ok(&sweep(folder.path(), "ends", "--trials 1 --resume", script)).await.result();
    assert_eq!(result["trials"]["complete"], 1, "{result}");
    assert_eq!((&result["best"]["objective"], &result["best"]["step"]), (&json!(0.6), &json!(3)));
    assert_eq!(measured(), 3);
}

#[tokio::test]
async fn the_cell_that_trains_a_trial_again_has_another_seed() {
    let (mut kernel, folder) = kernel().await;
    write(folder.path(), "t.sh", "echo '{\"step\": 1, \"e\": 0.5}'");
    kernel.run_ok("%%sweep t1 --sampler grid\ncommand sh t.sh {x}\nscientific x in [1, 2]\nminimize e").await;
    let shown = kernel.run_ok("%isolate t1 x").await.shown();
    assert!(shown.contains("Another study of a grid"), "{shown}");
    let cell = &shown[shown.find("%%sweep").unwrap()..];
    let cell = &cell[..cell.find("minimize e").unwrap() + "minimize e".len()];
    let name = cell.split_whitespace().nth(1).unwrap();
    kernel.run_ok(cell).await;
    let [again] = &kernel.recorded(name)[..] else { panic!("one trial: {cell}") };
    let number: u32 = name.rsplit('-').next().unwrap().parse().unwrap();
    let before = &kernel.recorded("t1")[number as usize - 1];
    assert_eq!(again.params, before.params);
    assert_ne!(again.seed, before.seed, "{cell}");
}

#[tokio::test]
async fn an_optional_word_needs_no_option_before_it() {
    let (mut kernel, folder) = kernel().await;
    write(folder.path(), "echo.sh", "echo \"$# $*\" >&2; echo '{\"step\": 1, \"e\": 0.5}'");
    let cell = |word: &str| {
        format!(
            "%%sweep words --sampler grid\ncommand sh echo.sh {{engine}} {word}\nscientific engine in [none, gas]\n\
             when engine == gas: fixed fuel = 95\nminimize e"
        )
    };
    let error = kernel.run_error(&cell("{fuel}")).await;
    assert!(error.contains("write `[{fuel}]`"), "{error}");
    kernel.run_ok(&cell("[{fuel}]")).await;
    for (number, expected) in [(1, "1 none\n"), (2, "2 gas 95\n")] {
        let log = folder.path().join(format!(".tunebook/trials/words/{number}/log.txt"));
        assert_eq!(std::fs::read_to_string(log).unwrap(), expected);
    }
}

#[tokio::test]
async fn a_study_without_results_begins_anew_and_texts_are_no_other_study() {
    let (mut kernel, folder) = kernel().await;
    write(folder.path(), "t.sh", "[ $1 = --x ] && echo '{\"step\": 1, \"e\": 0.5}'");
    let cell = |options: &str, command: &str, more: &str| {
        format!("%%sweep s --trials 2 {options}\ncommand {command} {{x}}\nnuisance x ~ uniform(0, 1)\nminimize e{more}")
    };
    // A program that is not there is an error of the cell.
    for (command, said) in [("shh t.sh", "no such program"), ("./tt.sh --x", "did you mean `./t.sh`")] {
        let error = kernel.run_error(&cell("", command, "")).await;
        assert!(error.contains("cannot be started") && error.contains(said), "{error}");
    }
    assert_eq!(kernel.run_ok("%study").await.result()["studies"], json!([]));
    assert_eq!(kernel.run_ok(&cell("", "sh t.sh --y", "")).await.result()["trials"]["failed"], 2);
    let mended = kernel.run_ok(&cell("", "sh t.sh --x", "")).await;
    assert_eq!(mended.result()["trials"]["complete"], 2);
    assert!(flat(&mended.shown()).contains("The 2 failed trials of an earlier definition"), "{}", mended.shown());
    let log = std::fs::read_to_string(folder.path().join(".tunebook/trials/s/1/log.txt")).unwrap();
    assert_eq!(log, "", "the folders of the failed trials are gone");
    // With results, another definition is another study.
    assert!(kernel.run_error(&cell("", "sh t.sh --y", "")).await.starts_with("StudyExists"));
    // Other texts are recorded, and nothing trains again.
    let before = kernel.recorded("s");
    let more = "\nquestion \"Does it run?\"\nround 2";
    let shown = flat(&kernel.run_ok(&cell("", "sh t.sh --x", more)).await.shown());
    assert!(shown.contains("Changed in the record of the study: question, round."), "{shown}");
    assert!(shown.contains("Nothing was trained"), "{shown}");
    assert_eq!(kernel.recorded("s"), before);
    let study = kernel.run_ok("%study s").await.result();
    assert_eq!((&study["definition"]["question"], &study["definition"]["round"]), (&json!("Does it run?"), &json!(2)));
}

#[tokio::test]
async fn the_record_of_a_study_follows_the_objective_of_its_cell() {
    let (mut kernel, folder) = kernel().await;
    let up = "echo '{\"step\": 1, \"e\": 0.1}'; echo '{\"step\": 2, \"e\": 0.9}'";
    write(folder.path(), "t.sh", &format!("if [ $1 = up ]; then {up}; else echo '{{\"step\": 1, \"e\": 0.5}}'; fi"));
    let cell = |options: &str| {
        format!(
            "%%sweep j --trials 4 {options}\ncommand sh t.sh {{mode}} {{x}}\nscientific mode in [up, ok]\n\
             nuisance x ~ uniform(0, 1)\nminimize e"
        )
    };
    assert_eq!(kernel.run_ok(&cell("")).await.result()["best"]["objective"], 0.1);
    let before = kernel.recorded("j");
    for (options, judged, objective) in [("--objective final", "final", 0.5), ("", "best", 0.1)] {
        let answer = kernel.run_ok(&cell(options)).await;
        assert_eq!(answer.result()["best"]["objective"], objective);
        let shown = flat(&answer.shown());
        assert!(shown.contains("Changed in the record") && shown.contains("No trial is trained again"), "{shown}");
        let study = kernel.run_ok("%study j").await.result();
        assert_eq!(
            (&study["definition"]["objective"]["judged"], &study["best"]["objective"]),
            (&json!(judged), &json!(objective))
        );
        assert_eq!(kernel.recorded("j"), before);
    }
}

#[tokio::test]
async fn given_configurations_and_commands_are_shown_as_they_are_written() {
    let (mut kernel, _folder) = kernel().await;
    let cell = "%%sweep g1 --trials 3\ncommand sh -c 'echo \"{{\\\"step\\\": 1, \\\"e\\\": 0.5}}\"' t {mode} {x}\n\
        nuisance mode in [\"1\", not]\nnuisance x ~ loguniform(1e-10, 1)\nconfiguration mode = not, x = 0.125\nminimize e";
    assert_eq!(kernel.run_ok(cell).await.result()["trials"]["complete"], 3);
    let shown = flat(&kernel.run_ok("%study g1").await.shown());
    for part in ["mode=not, x=", "(given)", "in [\"1\", not]", "~ loguniform(1e-10, 1)", "command sh -c '"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let error = kernel.run_error(&cell.replace("configuration mode = not", "configuration mode = 2")).await;
    assert!(error.contains("it is declared in [\"1\", not]"), "{error}");
    let never = "%%sweep n\ncommand true {a}\nnuisance a in [x, y]\nwhen a == x: when a == y: nuisance lr ~ uniform(0, 1)\n\
        minimize e";
    let error = kernel.run_error(never).await;
    assert!(error.starts_with("InvalidDeclaration") && error.contains("`lr` could never exist"), "{error}");
}

#[tokio::test]
async fn mistakes_in_files_of_configurations_and_in_ranges_are_named() {
    let (mut kernel, folder) = kernel().await;
    let cell = |range: &str| {
        format!(
            "%%sweep f\ncommand true {{x}} {{y}}\nnuisance x {range}\nnuisance y in [1, 2]\nconfigurations g.csv\nminimize e"
        )
    };
    let utf16: Vec<u8> = "\u{feff}x,y".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (bytes, said) in [
        (&b"x;y\n1;2\n"[..], "separated by `;`"),
        (&utf16[..], "UTF-16"),
        (&b"x,y,z\n1,2,3\n"[..], "line 1, column 3: `z` is not declared"),
        (&b"x,y\n1\n"[..], "line 2: it has 1 field, and the header has 2"),
        (&b"x,y,\n ,\n0.5,1,7\n"[..], "line 3, column 3: `7` stands in a column without a name"),
    ] {
        std::fs::write(folder.path().join("g.csv"), bytes).unwrap();
        let error = kernel.run_error(&cell("~ uniform(0, 1)")).await;
        assert!(error.contains(said), "{said}: {error}");
    }
    let error = kernel.run_error(&cell("~ normal(0, 1)")).await;
    assert!(error.contains("`1 - loguniform(a, b)`") && error.contains("`logint(a, b)`"), "{error}");
}

#[tokio::test]
async fn failures_for_other_reasons_are_counted_apart() {
    let (mut kernel, folder) = kernel().await;
    write(folder.path(), "t.sh", "echo \"reason ${1#?}\" >&2; exit 3");
    let cell = "%%sweep r --sampler grid\ncommand sh t.sh {x}\nscientific x in [a1, a2, bother]\nminimize e";
    let shown = flat(&kernel.run_ok(cell).await.shown());
    assert!(shown.contains("(and 1 more failed like it, and 1 for other reasons)"), "{shown}");
}
