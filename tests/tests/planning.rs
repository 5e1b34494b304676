//! Before and after a study: `%plan` (what a sweep would do and cost, its lints), presets, and `%launch`.

use serde_json::{Value, json};
use tunebook_study::store::Store;
use tunebook_tests::kernel;

/// A program that takes a quarter of a second.
const PROGRAM: &str = "command sh -c 'sleep 0.25; echo {{\\\"step\\\": 1, \\\"error\\\": {x}}}'\n\
    nuisance x ~ uniform(0, 1)\nminimize error";

/// A text with single spaces, as lines may be broken anywhere.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn ids(result: &Value) -> Vec<&str> {
    result["lints"].as_array().unwrap().iter().map(|lint| lint["id"].as_str().unwrap()).collect()
}

fn depth(name: &str, magic: &str, options: &str) -> String {
    format!(
        "%%{magic} {name} {options}\nworkload digits_mlp\nscientific hidden_layers in [1, 2, 3]\n\
         nuisance lr ~ loguniform(1e-3, 1)\nfixed weight_decay = 1e-4\nfixed steps = 20\nfixed eval_every = 10"
    )
}

#[tokio::test]
async fn a_plan_shows_roles_coverage_and_lints_and_trains_nothing() {
    let (mut kernel, _folder) = kernel().await;
    let answer = kernel.run_ok(&depth("depth", "plan", "--trials 10 --repeats 2")).await;
    let plan = answer.result();
    assert_eq!((&plan["kind"], &plan["study"], &plan["trials"]), (&json!("plan"), &json!("depth"), &json!(20)));
    assert_eq!(plan["seconds"], Value::Null, "nothing is recorded that tells the time");
    let roles: Vec<[&str; 2]> = plan["roles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|role| [role["hyperparameter"].as_str().unwrap(), role["role"].as_str().unwrap()])
        .collect();
    let expected = [["hidden_layers", "scientific"], ["lr", "nuisance"], ["weight_decay", "fixed"]];
    assert_eq!(roles[..3], expected);
    assert!(plan["roles"][2]["caveat"].as_str().unwrap().contains("0.0001"));
    assert_eq!(plan["configurations_per_value"], json!([3, 4]));
    assert_eq!((&plan["nuisance_dimensions"], &plan["points_per_dimension"]), (&json!(1), &json!(3.0)));
    assert!(plan["sparsest_value"].as_str().unwrap().starts_with("hidden_layers="), "{plan}");
    let lints = ids(&plan);
    for id in ["optimizer-hyperparameter-without-role", "fixed-interacts", "first-baseline"] {
        assert!(lints.contains(&id), "{id}: {lints:?}");
    }
    for lint in plan["lints"].as_array().unwrap() {
        assert!(answer.shown().contains(lint["id"].as_str().unwrap()), "{}", answer.shown());
        assert!(!lint["playbook"].as_str().unwrap().is_empty());
    }
    assert_eq!(kernel.run_ok("%study").await.result()["studies"], json!([]));

    // The sweep says the same, and an allowed lint is silent and recorded.
    let all = kernel.run_ok(&depth("depth", "sweep", "--trials 3")).await;
    assert!(all.shown().contains("fixed-interacts:") && all.shown().contains("sparse-design:"), "{}", all.shown());
    let some =
        kernel.run_ok(&depth("other", "sweep", "--trials 3 --allow sparse-design --allow fixed-interacts")).await;
    assert!(!some.shown().contains("sparse-design") && !some.shown().contains("fixed-interacts"), "{}", some.shown());
    assert!(some.shown().contains("optimizer-hyperparameter-without-role"), "{}", some.shown());
    assert!(some.shown().contains("first-baseline"), "no trial is without weight decay yet: {}", some.shown());
    let study = kernel.run_ok("%study other").await;
    assert_eq!(study.result()["allowed"], json!(["fixed-interacts", "sparse-design"]));
    assert!(study.shown().contains("overruled: fixed-interacts, sparse-design"), "{}", study.shown());
    // A study that has all its trials records it too, and only what was found.
    let options = "--trials 3 --allow fixed-interacts --allow grid-dimensions";
    let again = kernel.run_ok(&depth("depth", "sweep", options)).await;
    assert!(!again.shown().contains("fixed-interacts:"), "{}", again.shown());
    assert!(flat(&again.shown()).contains("overrules nothing: the study does not have this lint"), "{}", again.shown());
    assert_eq!(kernel.run_ok("%study depth").await.result()["allowed"], json!(["fixed-interacts"]));
    let plan = kernel.run_ok(&depth("depth", "plan", options)).await;
    assert_eq!(plan.result()["allowed"], json!(["fixed-interacts"]), "{}", plan.shown());
    let error = kernel.run_error(&depth("third", "plan", "--allow sparse-desing")).await;
    assert!(error.contains("did you mean `sparse-design`"), "{error}");
    let five = |options: &str, more: &str| {
        let cell = depth("five", "plan", options).replace("in [1, 2, 3]", "in [1, 2, 3, 4, 5]");
        cell + more
    };
    let few = kernel.run_ok(&five("--trials 3", "")).await;
    assert_eq!(few.result()["configurations_per_value"], json!([0, 1]));
    assert!(few.shown().contains("0 or 1 for each of 5 scientific values"), "{}", few.shown());
    assert!(few.shown().contains("Some scientific values get no configuration"), "{}", few.shown());
    // Given configurations do not count, unless there are no others.
    let given = ["0.1", "0.2", "0.3"].map(|lr| format!("\nconfiguration hidden_layers = 1, lr = {lr}")).concat();
    let some = kernel.run_ok(&five("--trials 13", &given)).await;
    assert_eq!(
        (&some.result()["configurations_per_value"], &some.result()["given_left_out"]),
        (&json!([2, 2]), &json!(3))
    );
    assert!(
        some.shown().contains("2 for each of 5 scientific values, not counting the given ones"),
        "{}",
        some.shown()
    );
    let alone = kernel.run_ok(&five("--trials 3", &given)).await;
    assert!(alone.shown().contains("0 to 3 for each of 5 scientific values"), "{}", alone.shown());

    // With recorded trials, the time is known, and a plan of a recorded study says what is missing.
    let more = kernel.run_ok(&depth("depth", "plan", "--trials 9")).await;
    assert!(more.shown().contains("recorded with 3 trials; the sweep would run 6 more"), "{}", more.shown());
    let (seconds, trial_seconds) = (more.result()["seconds"].as_f64(), more.result()["trial_seconds"].as_f64());
    assert!(seconds.is_some_and(|s| s > 0.0) && seconds <= trial_seconds, "{seconds:?} {trial_seconds:?}");
    let done = kernel.run_ok(&depth("depth", "plan", "--trials 3")).await;
    assert!(done.shown().contains("would train nothing"), "{}", done.shown());
    let changed = kernel.run_ok(&depth("depth", "plan", "--trials 3 --seed 4")).await;
    assert!(changed.shown().contains("would not run") && changed.shown().contains("--seed"), "{}", changed.shown());
}

#[tokio::test]
async fn advice_follows_from_what_the_store_knows() {
    let (mut kernel, _folder) = kernel().await;
    // A learning rate for both optimizers, and two evaluations in a trial.
    let cell = "%%plan both --trials 40\nworkload digits_mlp\nscientific optimizer in [momentum, adam]\n\
        nuisance lr ~ loguniform(1e-3, 1)\nfixed steps = 200\nfixed eval_every = 100";
    let plan = kernel.run_ok(cell).await;
    for id in ["shared-optimizer-hyperparameter", "few-evaluations"] {
        assert!(ids(&plan.result()).contains(&id), "{id}: {}", plan.shown());
    }
    assert!(plan.shown().contains("With 100 steps, about 80 trials cost the same as these 40"), "{}", plan.shown());
    assert!(plan.shown().contains("The study has no question"), "{}", plan.shown());

    // A trial that has learned something becomes the baseline; one that has not does so with a caution.
    let sweep = "%%sweep first --trials 2\nquestion \"Does it learn?\"\nworkload digits_mlp\n\
        nuisance lr in [1e-7, 0.1]\n\
        fixed steps = 60\nfixed eval_every = 10";
    let trials = kernel.run_ok(sweep).await.result();
    let best = trials["best"]["trial"].as_u64().unwrap();
    let before = kernel.run_ok(&sweep.replace("sweep first", "plan second")).await;
    assert!(!ids(&before.result()).contains(&"constant-schedule"), "{}", before.shown());
    assert!(before.shown().contains("Question: Does it learn?"), "{}", before.shown());
    let bad = kernel.run_ok(&format!("%launch first --trial {}", 3 - best)).await;
    let (chance, own) = (bad.result()["chance"].as_f64().unwrap(), bad.result()["objective"].as_f64().unwrap());
    assert_eq!(bad.result()["better_than_chance"], false);
    assert!(bad.shown().contains("Caution: a model that has learned nothing"), "{}", bad.shown());
    let compared = if own < chance { "hardly better" } else { "no better" };
    assert!(flat(&bad.shown()).contains(&format!(", which is {compared}. A baseline")), "{}", bad.shown());
    let good = kernel.run_ok(&format!("%launch first --trial {best}")).await;
    assert!(good.shown().contains("the baseline is better by"), "{}", good.shown());
    assert_eq!(good.result()["better_than_chance"], true);
    assert!(good.result()["chance"].as_f64().unwrap() > 0.8, "{}", good.result());
    let after = kernel.run_ok(&sweep.replace("sweep first", "plan second")).await;
    assert!(ids(&after.result()).contains(&"constant-schedule"), "{}", after.shown());
}

#[tokio::test]
async fn a_round_has_one_question_and_a_study_asks_it_once() {
    let (mut kernel, _folder) = kernel().await;
    let study = |magic: &str, lines: &str| {
        format!(
            "%%{magic} --trials 1\ncommand sh -c 'echo {{{{\\\"step\\\": 1, \\\"error\\\": {{x}}}}}}'\n\
             nuisance x in [0.5]\nminimize error\n{lines}"
        )
    };
    kernel.run_ok(&study("sweep deep", "round 1\nquestion \"How deep?\"")).await;
    let wide = kernel.run_ok(&study("plan wide", "round 1\nquestion \"How wide?\"")).await;
    assert!(ids(&wide.result()).contains(&"several-questions"), "{}", wide.shown());
    for lines in ["round 2\nquestion \"How wide?\"", "round 1\nquestion \"How deep?\"", "round 1\nquestion \"\""] {
        let plan = kernel.run_ok(&study("plan wide", lines)).await;
        assert!(!ids(&plan.result()).contains(&"several-questions"), "{lines}: {}", plan.shown());
    }
    let empty = kernel.run_ok(&study("plan wide", "question \"\"")).await;
    assert!(empty.shown().contains("The study has no question"), "{}", empty.shown());
    for (lines, what) in [
        ("question \"a\"\nquestion \"b\"", "the question is declared already"),
        ("notes \"a\"\nnotes \"b\"", "the text of `notes` is declared already"),
    ] {
        let error = kernel.run_error(&study("plan wide", lines)).await;
        assert!(error.contains(what), "{error}");
    }
}

#[tokio::test]
async fn the_time_of_a_program_is_known_once_a_trial_is_complete() {
    let (mut kernel, _folder) = kernel().await;
    let before = kernel.run_ok(&format!("%%plan slow --trials 4\n{PROGRAM}")).await;
    assert_eq!(before.result()["seconds"], Value::Null);
    assert!(before.shown().contains("The time is not known"), "{}", before.shown());
    kernel.run_ok(&format!("%%sweep slow --trials 4 --parallel 2\n{PROGRAM}")).await;
    let after = kernel.run_ok(&format!("%%plan slower --trials 8 --parallel 2\n{PROGRAM}")).await.result();
    // Nothing is trained, and the price is that of the recorded trials.
    let swept = kernel.run_ok(&format!("%%sweep slow --trials 4 --parallel 2 --price 3600\n{PROGRAM}")).await;
    let device_seconds: f64 = kernel.recorded("slow").iter().map(|trial| trial.seconds).sum();
    let cost = swept.result()["cost"].as_f64().unwrap();
    assert!((cost / device_seconds - 1.0).abs() < 1e-6 && device_seconds >= 1.0, "{cost} {device_seconds}");
    assert!(swept.shown().contains("At 3600 for one device for one hour"), "{}", swept.shown());
    let seconds = after["seconds"].as_f64().unwrap();
    assert!(seconds >= 4.0 * 0.25, "8 trials of a quarter of a second, two at a time: {seconds}");
    let range = &after["seconds_range"];
    assert!(range[0].as_f64().unwrap() <= seconds && seconds <= range[1].as_f64().unwrap(), "{after}");
}

#[tokio::test]
async fn the_start_of_a_program_is_not_scaled_with_its_steps() {
    let (mut kernel, folder) = kernel().await;
    let program = "sleep 1; for i in 1 2 3; do sleep 0.05; echo \"{\\\"step\\\": $i, \\\"error\\\": 0.5}\"; done";
    std::fs::write(folder.path().join("cold.sh"), program).unwrap();
    let cell = |magic: &str, steps: u64| {
        format!("%%{magic} --trials 1\ncommand sh cold.sh {{steps}}\nfixed steps = {steps}\nminimize error")
    };
    kernel.run_ok(&cell("sweep cold", 3)).await;
    let plan = kernel.run_ok(&cell("plan longer", 300)).await;
    let seconds = plan.result()["trial_seconds"].as_f64().unwrap();
    assert!((15.0..90.0).contains(&seconds), "300 steps of 50 ms and a start of 1 s: {}", plan.shown());
    assert_eq!(plan.result()["seconds_range"], Value::Null, "one trial has no range");
    assert!(flat(&plan.shown()).contains("All trials together use a device for"), "{}", plan.shown());
}

#[tokio::test]
async fn without_trials_the_time_is_that_of_the_steps_that_throughput_measured() {
    let (mut kernel, folder) = kernel().await;
    let plan = |batch: u64, options: &str| {
        format!(
            "%%plan timed --trials 8 --parallel 2 {options}\nworkload digits_mlp\nnuisance lr ~ loguniform(1e-3, 1)\n\
             fixed batch_size = {batch}\nfixed steps = 500"
        )
    };
    assert_eq!(kernel.run_ok(&plan(2, "")).await.result()["seconds"], Value::Null, "nothing is measured");
    let measured = kernel.run_ok("%throughput digits_mlp --max 2").await.result();
    // On a busy machine the times are not trusted. What was measured counts here as if it were.
    let mut store = Store::open(&folder.path().join(".tunebook/studies.db")).expect("the store");
    let mut recorded = store.results("throughput").expect("a measurement").pop().expect("a measurement");
    recorded["reliable"] = json!(true);
    store.keep_conclusion("throughput", "of this test", &recorded).expect("recorded");

    let points = measured["points"].as_array().expect("points");
    let point = points.iter().find(|point| point["batch_size"] == 2).expect("a point");
    let expected = 8.0 * 500.0 * point["seconds_per_step"].as_f64().expect("the time of a step");
    let answer = kernel.run_ok(&plan(2, "")).await;
    let shown = answer.shown().split_whitespace().collect::<Vec<_>>().join(" ");
    let found = answer.result();
    let number = |field: &str| found[field].as_f64().unwrap_or_else(|| panic!("{field}: {found}"));
    assert!((number("trial_seconds") / expected - 1.0).abs() < 1e-6, "{expected}: {found}");
    let at_once = number("parallel");
    assert!((number("seconds") * at_once / expected - 1.0).abs() < 1e-6, "{at_once} at a time, {expected}: {found}");
    assert_eq!(found["seconds_range"][0], found["seconds_range"][1], "{found}");
    assert!(shown.contains("as %throughput measured them"), "{shown}");
    assert_eq!((&found["cost"], &found["cost_range"]), (&Value::Null, &Value::Null), "there is no price");
    let priced = kernel.run_ok(&plan(2, "--price 7.2")).await;
    let cost = priced.result()["cost"].as_f64().expect("a cost");
    assert!((cost / (expected * 7.2 / 3600.0) - 1.0).abs() < 1e-6, "{expected}: {}", priced.result());
    assert!(priced.shown().contains("At 7.2 for one device for one hour"), "{}", priced.shown());
    let error = kernel.run_error(&plan(2, "--price free")).await;
    assert!(error.contains("`--price` takes an amount above 0, not `free`"), "{error}");
    // The time of a step at another batch size is not known.
    let unknown = kernel.run_ok(&plan(64, "--price 7.2")).await;
    assert_eq!((&unknown.result()["seconds"], &unknown.result()["cost"]), (&Value::Null, &Value::Null));
    assert!(unknown.shown().contains("The cost is not known"), "{}", unknown.shown());
}

#[tokio::test]
async fn the_lints_of_a_design_are_found_in_both_forms() {
    let (mut kernel, _folder) = kernel().await;
    let line = "%plan digits_mlp lr=[0.01,0.1] momentum=[0.5,0.9] batch_size=[16,64] steps=[100,200] --sampler grid";
    let plan = kernel.run_ok(line).await.result();
    let lints = ids(&plan);
    let expected = [
        "batch-size-tuned",
        "steps-tuned",
        "grid-dimensions",
        "several-scientific",
        "optimizer-hyperparameter-scientific",
    ];
    for id in expected {
        assert!(lints.contains(&id), "{id}: {lints:?}");
    }
    let error = kernel.run_error("%%plan bad\nworkload digits_mlp\nnuisance learning_rate ~ uniform(0, 1)").await;
    assert!(error.contains("no hyperparameter `learning_rate`"), "{error}");
    // The value that one study tuned at another batch size.
    let tune = "%%sweep tuned --trials 4\nworkload digits_mlp\nnuisance lr in [0.05]\nnuisance momentum in [0.5, 0.9]\n\
        fixed steps = 20\nfixed batch_size = 32";
    let best = kernel.run_ok(tune).await.result()["best"]["params"]["momentum"].as_f64().unwrap();
    let taken = format!("%%plan large\nworkload digits_mlp\nfixed momentum = {best}\nfixed batch_size = 256");
    let lint = kernel.run_ok(&taken).await.result();
    assert!(ids(&lint).contains(&"batch-size-changed"), "{lint}");
}

/// Options with their value in the command count as declarations.
#[tokio::test]
async fn the_lints_know_what_the_command_of_a_program_fixes() {
    let (mut kernel, _folder) = kernel().await;
    let cell = |magic: &str, step: u32, options: &str, declared: &str| {
        let program = "command sh -c 'echo {{\\\"step\\\": STEP, \\\"loss\\\": $2}}' train --lr {lr} ";
        let program = program.replace("STEP", &step.to_string());
        format!("%%{magic}\n{program}{options}\n{declared}\nminimize loss")
    };
    let rates = "nuisance lr ~ loguniform(1e-3, 1)";
    let message = |result: &Value, id: &str| {
        let found = result["lints"].as_array().unwrap().iter().find(|lint| lint["id"] == id);
        found.map(|lint| lint["message"].as_str().unwrap().to_string())
    };
    let options = "--optimizer adamw --weight-decay 0.1 --lr_scheduler_type cosine";
    let plan = kernel.run_ok(&cell("plan l1", 1, options, rates)).await.result();
    let first = message(&plan, "first-baseline").unwrap();
    assert!(first.contains("`--weight-decay 0.1` in the command"), "{first}");
    // Another literal option is not another workload.
    kernel.run_ok(&cell("sweep v1 --trials 2", 2, "--batch-size=16 --v", rates)).await;
    let plan = kernel.run_ok(&cell("plan v2", 2, "--batch-size=512 --v", "fixed lr = 0.01")).await.result();
    let changed = message(&plan, "batch-size-changed").unwrap();
    assert!(changed.contains("trains at 512 (`--batch-size=512` in the command)"), "{changed}");
    let plan = kernel.run_ok(&cell("plan v3", 2, "--batch-size=16 --amp", "fixed lr = 0.01")).await.result();
    assert_eq!(message(&plan, "batch-size-changed"), None);
    // A study that varies the batch size tunes at each of them.
    let several = format!("scientific batch-size in [16, 32]\n{rates}");
    kernel.run_ok(&cell("sweep w1 --trials 2", 3, "--bs {batch-size}", &several)).await;
    for (size, is_other) in [(512, true), (32, false)] {
        let fixed = format!("fixed batch-size = {size}\nfixed lr = 0.01");
        let plan = kernel.run_ok(&cell("plan w2", 3, "--bs {batch-size}", &fixed)).await.result();
        let changed = message(&plan, "batch-size-changed");
        assert_eq!(changed.is_some(), is_other, "{changed:?}");
    }
}

#[tokio::test]
async fn a_preset_tunes_what_the_number_of_trials_allows() {
    let (mut kernel, _folder) = kernel().await;
    let adam = |trials: u32| format!("%%plan p --trials {trials}\nworkload digits_mlp\npreset adam\nfixed steps = 20");
    let cases = [
        (9, vec!["lr"]),
        (10, vec!["lr", "beta1"]),
        (25, vec!["lr", "beta1"]),
        (26, vec!["lr", "beta1", "epsilon"]),
        (50, vec!["lr", "beta1", "beta2", "epsilon"]),
    ];
    for (trials, expected) in cases {
        let plan = kernel.run_ok(&adam(trials)).await.result();
        let roles = plan["roles"].as_array().unwrap();
        let tuned: Vec<&Value> =
            roles.iter().filter(|role| role["role"] == "nuisance").map(|role| &role["hyperparameter"]).collect();
        assert_eq!(tuned, expected, "{trials}");
        assert!(roles.iter().any(|role| role["hyperparameter"] == "optimizer" && role["role"] == "fixed"));
        assert!(!ids(&plan).contains(&"optimizer-hyperparameter-without-role"), "{plan}");
    }
    // Given configurations are all that there are, unless more trials are asked for.
    let given = "\nconfiguration lr = 0.01\nconfiguration lr = 0.001";
    let plan = kernel.run_ok(&format!("%%plan g\nworkload digits_mlp\npreset adam\nfixed steps = 20{given}")).await;
    assert_eq!(plan.result()["trials"], 2, "{}", plan.result());
    let error = kernel.run_error(&(adam(10) + given)).await;
    assert!(error.contains("`beta1` has no value here"), "{error}");
    // A line of the user replaces that of the preset. A larger study frees what a smaller one fixed.
    let own = kernel.run_ok(&(adam(9) + "\nfixed lr = 0.01")).await.result();
    let lr = own["roles"].as_array().unwrap().iter().find(|role| role["hyperparameter"] == "lr").unwrap().clone();
    assert_eq!(lr["role"], "fixed");
    let sweep = |trials: u32, options: &str| {
        format!("%%sweep grow --trials {trials} {options}\nworkload digits_mlp\npreset momentum\nfixed steps = 20")
    };
    kernel.run_ok(&sweep(4, "")).await;
    assert!(kernel.run_error(&sweep(12, "")).await.contains("StudyExists"));
    let grown = kernel.run_ok(&sweep(12, "--widen")).await.result();
    assert_eq!(grown["trials"]["complete"].as_u64().unwrap() + grown["trials"]["infeasible"].as_u64().unwrap(), 12);
    let momenta: Vec<f64> =
        kernel.recorded("grow").iter().map(|trial| trial.params["momentum"].as_f64().unwrap()).collect();
    assert!(momenta[..4].iter().all(|m| *m == 0.9) && momenta[4..].iter().any(|m| *m != 0.9), "{momenta:?}");

    for (line, part) in
        [("preset adma", "did you mean `adam`"), ("preset adam\nfixed optimizer = sgd", "chooses the optimizer")]
    {
        let error = kernel.run_error(&format!("%%plan e\nworkload digits_mlp\n{line}")).await;
        assert!(error.contains(part), "{error}");
    }
    let program =
        "%%plan program --trials 12\ncommand python3 train.py --lr {lr} --beta1 {beta1}\npreset adam\nminimize error";
    let plan = kernel.run_ok(program).await.result();
    assert_eq!(plan["roles"].as_array().unwrap().len(), 2, "{plan}");
}

#[tokio::test]
async fn a_launch_records_the_baseline_with_its_evidence() {
    let (mut kernel, _folder) = kernel().await;
    assert!(kernel.run_ok("%launch").await.shown().contains("Nothing was launched yet"));
    let study = |name: &str| {
        format!(
            "%%sweep {name} --trials 4\ncommand sh -c 'echo {{{{\\\"step\\\": 1, \\\"error\\\": {{x}}}}}}'\n\
             nuisance x in [0.5, 0.25, 2.0, 1.0]\nminimize error"
        )
    };
    kernel.run_ok(&study("first")).await;
    kernel.run_ok(&study("second")).await;
    let first = kernel.run_ok("%launch first --trial 2 --because 'simple & good'").await;
    assert_eq!((&first.result()["trial"], &first.result()["previous"]), (&json!(2), &Value::Null));
    assert!(first.shown().contains("Because: simple & good") && first.shown().contains("%adopt"), "{}", first.shown());
    let second = kernel.run_ok("%launch second --trial 1").await.result();
    assert_eq!(second["previous"], json!({ "study": "first", "trial": 2 }));
    let all = kernel.run_ok("%launch").await.result();
    let studies: Vec<&Value> = all["launches"].as_array().unwrap().iter().map(|launch| &launch["study"]).collect();
    assert_eq!(studies, ["second", "first"]);
    let listed = kernel.run_ok("%study").await;
    assert_eq!(listed.result()["studies"][1]["decision"], json!({ "launched": 2 }), "{}", listed.result());
    assert!(listed.shown().contains("trial 2 launched"), "{}", listed.shown());
    // One that is not the best is launched with its rank, and only once.
    let trials = kernel.recorded("first");
    let of = |x: f64| trials.iter().find(|trial| trial.params["x"].as_f64() == Some(x)).unwrap().number;
    let (best, worst) = (of(0.25), of(2.0));
    let launched = kernel.run_ok(&format!("%launch first --trial {worst}")).await;
    let caution = format!("trial {worst} is number 4 of 4 by error; the best is trial {best} with 0.25");
    assert!(flat(&launched.shown()).contains(&caution), "{}", launched.shown());
    let (rank, previous) = (launched.result()["rank"].clone(), launched.result()["previous"].clone());
    assert_eq!(rank, json!({ "rank": 4, "of": 4, "best": { "trial": best, "objective": 0.25 } }));
    let again = kernel.run_ok(&format!("%launch first --trial {worst}")).await;
    assert!(again.shown().contains("already") && !again.shown().contains("It replaces"), "{}", again.shown());
    assert_eq!(again.result()["previous"], previous);
    assert_eq!(kernel.run_ok("%launch").await.result()["launches"].as_array().unwrap().len(), 3);
    let good = kernel.run_ok(&format!("%launch first --trial {best}")).await;
    assert!(flat(&good.shown()).contains("the best of 4 trials; part of its lead may be luck"), "{}", good.shown());
    kernel.run_ok("%%sweep broken --trials 1\ncommand false {x}\nnuisance x in [1]\nminimize error").await;
    for (line, part) in [
        ("%launch first", "the trial is missing"),
        ("%launch first --trial 9", "no trial 9"),
        ("%launch frist --trial 1", "did you mean `first`"),
        ("%launch broken --trial 1", "cannot be a baseline"),
    ] {
        let error = kernel.run_error(line).await;
        assert!(error.contains(part), "{line}: {error}");
    }
}

#[tokio::test]
async fn a_launch_stays_on_record_when_its_study_is_deleted() {
    let (mut kernel, _folder) = kernel().await;
    let sweep = "%%sweep s --trials 2\nquestion \"Which x?\"\nnotes \"On one machine.\"\nround 3\n\
        command sh -c 'echo {{\\\"step\\\": 1, \\\"error\\\": {x}}}'\nnuisance x in [0.5, 0.25]\nminimize error";
    kernel.run_ok(sweep).await;
    kernel.run_ok("%launch s --trial 2").await;
    // The list tracks what the study is, and what was decided.
    let listed = kernel.run_ok("%study").await;
    let study = listed.result()["studies"][0].clone();
    assert_eq!((&study["decision"], &study["round"]), (&json!({ "launched": 2 }), &json!(3)), "{study}");
    assert_eq!((&study["notes"], &study["reproduce"]), (&json!("On one machine."), &json!("%replay s")), "{study}");
    assert!(study["workload"].as_str().unwrap().starts_with("command sh -c "), "{study}");
    let text = listed.shown();
    assert!(text.contains("Notes:") && text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let record = kernel.run_ok("%study s").await;
    assert_eq!(record.result()["launches"][0]["trial"], 2);
    assert!(flat(&record.shown()).contains("Decision: trial 2 was launched"), "{}", record.shown());

    kernel.run_ok("%study delete s").await;
    let all = kernel.run_ok("%launch").await;
    assert_eq!(all.result()["launches"][0]["deleted"], true);
    assert!(all.shown().contains("(deleted)"), "{}", all.shown());
    // It is no decision of a new study of the same name.
    kernel.run_ok(sweep).await;
    assert_eq!(kernel.run_ok("%study").await.result()["studies"][0]["decision"], Value::Null);
    let again = kernel.run_ok("%launch s --trial 2").await;
    assert_eq!(again.result()["already"], false);
    let replaced = "It replaces trial 2 of s, a study that was deleted.";
    assert!(flat(&again.shown()).contains(replaced), "{}", again.shown());
    assert_eq!(kernel.run_ok("%study").await.result()["studies"][0]["decision"], json!({ "launched": 2 }));
}
