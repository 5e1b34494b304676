//! `%replay`: a study runs again from its record.

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};
use tunebook_tests::{executable, kernel};

/// A program whose numbers follow from its seed, with a time among them.
const PROGRAM: &str = "awk -v x=$1 -v s=$TUNEBOOK_SEED -v t=$(date +%N) 'BEGIN { srand(s); for (i = 1; i < 4; i++) \
    printf \"{\\\"step\\\": %d, \\\"error\\\": %.17g, \\\"seconds\\\": %f}\\n\", i, x + rand() / i, t }'";

#[tokio::test]
async fn a_study_runs_again_from_its_record_alone() {
    let (mut kernel, folder) = kernel().await;
    kernel
        .run_ok("%%sweep d --trials 3 --training-metrics --every 20\nworkload digits_mlp\nnuisance lr ~ loguniform(1e-3, 1)\nfixed steps = 40")
        .await;
    let before = kernel.run_ok("%study d").await.result();
    let first = kernel.run_ok("%replay d --trials 1").await.result();
    assert_eq!((&first["trials"], &first["identical"], &first["same"]), (&json!(1), &json!(1), &json!(true)));
    let all = kernel.run_ok("%replay d").await;
    let result = all.result();
    assert_eq!((&result["kind"], &result["trials"], &result["identical"]), (&json!("replay"), &json!(3), &json!(3)));
    assert_eq!((&result["largest_difference"], &result["environment"]), (&json!(0.0), &json!([])), "{}", all.shown());
    assert!(result["values"].as_u64().unwrap() >= 3 * 8, "{result}");
    assert_eq!(kernel.run_ok("%study d").await.result(), before, "the study itself stays as it is");
    let shown = kernel.run_ok("%replay d").await.shown();
    assert!(shown.contains("Nothing was trained"), "{shown}");
    let again = tunebook_study::store::Store::open_to_read(&folder.path().join(".tunebook/studies.db"));
    let store = again.unwrap().unwrap();
    let [study, replay] = ["d", "d.replay"].map(|name| store.study(name).unwrap().unwrap());
    let options = |study| store.result(study, "trial_options", "").unwrap().unwrap();
    assert_eq!(options(&study), options(&replay), "the options of the sweep are part of the record");
    let last = store.measurements(&replay, 2).unwrap().pop().unwrap();
    assert!(last.metrics.contains_key("train/error"), "{last:?}");
    let of = |study| -> Vec<_> {
        store.trials(study).unwrap().into_iter().map(|t| (t.number, t.params, t.seed, t.summaries)).collect()
    };
    assert_eq!(of(&study), of(&replay));
}

#[tokio::test]
async fn what_differs_is_said_with_its_place() {
    let (mut kernel, folder) = kernel().await;
    let script = folder.path().join("train.sh");
    std::fs::write(&script, PROGRAM).unwrap();
    let sweep = "%%sweep p --sampler grid\ncommand sh train.sh {x}\nnuisance x in [1, 2, 3, 4]\nminimize error";
    kernel.run_ok(sweep).await;
    let same = kernel.run_ok("%replay p").await.result();
    assert_eq!((&same["identical"], &same["times"]), (&json!(4), &json!(["seconds"])));
    // Trial 3 reports another last value, and trial 4 nothing.
    let changed = format!(
        "{PROGRAM}{}",
        " | if [ $1 = 4 ]; then cat >/dev/null; else awk -v x=$1 'x == 3 && NR == 3 { sub(/\"error\": 3/, \"\\\"error\\\": 4\") } { print }'; fi"
    );
    std::fs::write(&script, changed).unwrap();
    let error = kernel.run_error("%replay p --again").await;
    assert!(error.contains("FilesChanged") && error.contains("`train.sh` has changed"), "{error}");
    assert_eq!(kernel.run_ok("%replay p").await.result()["same"], true, "the earlier replay is still there");
    let found = kernel.run_ok("%replay p --again --accept-changes").await;
    let result = found.result();
    assert_eq!((&result["trials"], &result["identical"], &result["same"]), (&json!(4), &json!(2), &json!(false)));
    let [difference] = &result["differences"].as_array().unwrap()[..] else { panic!("{result}") };
    assert_eq!(
        (&difference["metric"], &difference["trial"], &difference["step"]),
        (&json!("error"), &json!(3), &json!(3))
    );
    assert_eq!(
        (&difference["trials"], &difference["values"], &difference["unmatched"]),
        (&json!(2), &json!(1), &json!(3))
    );
    let largest = result["largest_difference"].as_f64().unwrap();
    assert!((largest - 1.0).abs() < 1e-9 && difference["largest"] == largest, "{result}");
    assert_eq!((&result["states"][0]["trial"], &result["states"][0]["again"]), (&json!(4), &json!("failed")));
    assert_eq!(result["files"][0]["file"], "train.sh");
    assert!(found.shown().contains("The environment differs in train.sh"), "{}", found.shown());

    // Trials without an end of their own are left out, and mistakes are errors.
    let slow = "%%sweep slow --trials 2 --timeout 1s --parallel 2\ncommand sh -c 'echo {{\\\"step\\\": 1, \\\"error\\\": {x}}}; \
        sleep {x}'\nnuisance x in [0, 30]\nminimize error";
    kernel.run_ok(slow).await;
    let result = kernel.run_ok("%replay slow").await.result();
    assert_eq!((&result["trials"], &result["same"]), (&json!(1), &json!(true)));
    assert_eq!(result["left_out"], json!({ "cancelled": 0, "timed_out": 1 }));
    for (line, part) in [
        ("%replay", "the study is missing"),
        ("%replay q", "there is no study `q`"),
        ("%replay p --trial 9", "has no trial 9"),
        ("%replay slow --trial 2", "it has no end to compare with"),
        ("%replay p --trial 1 --trials 2", "give only one"),
    ] {
        let error = kernel.run_error(line).await;
        assert!(error.contains(part), "{line}: {error}");
    }
}

fn tunebook(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(executable("tunebook"));
    command.args(arguments).current_dir(folder).env("TUNEBOOK_WORKER", executable("tunebook-worker"));
    command.env_remove("TUNEBOOK_STUDIES").env("TUNEBOOK_HISTORY", folder.join("history.db"));
    command.output().unwrap()
}

#[tokio::test]
async fn a_bundle_made_in_one_folder_is_replayed_in_another() {
    let (mut kernel, folder) = kernel().await;
    let here = folder.path();
    std::fs::create_dir(here.join("code")).unwrap();
    std::fs::write(here.join("code/train.sh"), PROGRAM).unwrap();
    kernel
        .run_ok("%%sweep d --trials 2\nworkload digits_mlp\nnuisance lr ~ loguniform(1e-3, 1)\nfixed steps = 20")
        .await;
    kernel
        .run_ok("%%sweep p --trials 2\ncommand sh code/train.sh {x}\nnuisance x ~ uniform(0, 1)\nminimize error")
        .await;
    kernel.run_ok("%%sweep other --trials 1\ncommand sh code/train.sh 1\nfixed x = 1\nminimize error").await;
    std::fs::write(here.join("mine.zip"), "mine").unwrap();
    let refused = kernel.run_error("%report d p --to r.html --bundle mine.zip").await;
    assert!(refused.contains("is no bundle") && !here.join("r.html").exists(), "{refused}");
    let refused = kernel.run_error("%report d p --to r.html --bundle b.tar").await;
    assert!(refused.contains("does not end in .zip") && refused.contains("`--bundle b.zip`"), "{refused}");
    let written = kernel.run_ok("%report d p --to r.html --bundle 'the bundle.zip'").await.result();
    assert_eq!(written["bundle"]["studies"], json!(["d", "p"]));
    let [file] = &written["bundle"]["files"].as_array().unwrap()[..] else { panic!("{written}") };
    assert_eq!((&file["path"], &file["left_out"]), (&json!("code/train.sh"), &Value::Null));

    // Nothing of the first folder is there any more.
    let elsewhere = tempfile::tempdir().unwrap();
    let at = elsewhere.path();
    std::fs::copy(here.join("the bundle.zip"), at.join("b.zip")).unwrap();
    drop((kernel, folder));
    let ran = tunebook(at, &["replay", "b.zip", "--to", "new", "--json"]);
    let (said, problems) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert_eq!(ran.status.code(), Some(0), "{said}{problems}");
    let results: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let same: Vec<_> = results.iter().map(|r| (&r["study"], &r["trials"], &r["identical"], &r["same"])).collect();
    let (two, yes) = (json!(2), json!(true));
    assert_eq!(same, [(&json!("d"), &two, &two, &yes), (&json!("p"), &two, &two, &yes)]);
    for file in ["README.md", "r.html", "project/code/train.sh", "studies.db"] {
        assert!(at.join("new").join(file).is_file(), "{file}");
    }
    assert!(std::fs::read_to_string(at.join("new/README.md")).unwrap().contains("tunebook replay 'the bundle.zip'"));
    let store = tunebook_study::store::Store::open_to_read(&at.join("new/studies.db")).unwrap().unwrap();
    let names: Vec<String> = store.studies().unwrap().into_iter().map(|study| study.name).collect();
    assert!(names.contains(&"p.replay".into()) && !names.contains(&"other".into()), "{names:?}");
    drop(store);

    // Another program is found out, also in a bundle.
    std::fs::write(at.join("new/project/code/train.sh"), PROGRAM.replace("rand() / i", "rand()")).unwrap();
    let changed = Command::new(executable("tunebook"))
        .args(["replay", "p", "--again", "--accept-changes"])
        .current_dir(at.join("new/project"))
        .env("TUNEBOOK_WORKER", executable("tunebook-worker"))
        .env("TUNEBOOK_STUDIES", at.join("new/studies.db"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&changed.stdout);
    assert!(said.contains("0 identical to the record"), "{said}{}", String::from_utf8_lossy(&changed.stderr));
    let bundled = at.join("changed.zip");
    repack(&at.join("new"), &bundled);
    let ran = tunebook(at, &["replay", "changed.zip", "--study", "p", "--again", "--accept-changes"]);
    assert_eq!(ran.status.code(), Some(1), "{}{}", text(&ran.stdout), text(&ran.stderr));
    std::fs::write(at.join("broken.zip"), "PK").unwrap();
    for (arguments, part) in [
        (vec!["replay", "none.zip"], "cannot be read"),
        (vec!["replay", "broken.zip"], "is damaged"),
        (vec!["replay", "changed.zip", "--study", "q"], "no study `q`"),
        (vec!["replay", "b.zip", "--to", "new"], "is not an empty folder"),
        (vec!["replay", "changed.zip", "--study", "p", "--again"], "`code/train.sh` has changed"),
        (vec!["replay", "changed.zip", "--study", "p", "--again"], "FOLDER/project"),
    ] {
        let ran = tunebook(at, &arguments);
        let said = text(&ran.stderr);
        assert_eq!(ran.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn a_study_that_names_whole_paths_is_replayed_with_the_files_of_its_bundle() {
    let (mut kernel, folder) = kernel().await;
    let here = folder.path().canonicalize().unwrap();
    let script =
        "a=$(cat \"$2\") && b=$(cat \"$3\") && echo \"{\\\"step\\\": 1, \\\"error\\\": $1, \\\"sum\\\": $((a + b))}\"";
    std::fs::create_dir(here.join("my data")).unwrap();
    for (name, content) in [("train.sh", script), ("my data/a.txt", "20"), ("b.txt", "1"), ("c.txt", "2")] {
        std::fs::write(here.join(name), content).unwrap();
    }
    let whole = |name: &str| here.join(name).display().to_string();
    let sweep = format!(
        "%%sweep p --trials 4\ncommand sh {} {{x}} {{first}} {{second}}\nfixed first = \"{}\"\n\
         scientific second in [\"{}\", \"{}\"]\nnuisance x ~ uniform(0, 1)\nminimize error",
        whole("train.sh"),
        whole("my data/a.txt"),
        whole("b.txt"),
        whole("c.txt")
    );
    kernel.run_ok(&sweep).await;
    let written = kernel.run_ok("%report p --to r.html --bundle b.zip").await.result();
    let files = written["bundle"]["files"].as_array().unwrap();
    assert!(files.len() == 4 && files.iter().all(|file| file["left_out"].is_null()), "{written}");
    let notes = written["bundle"]["notes"].to_string();
    assert!(notes.contains("a replay uses the file in the bundle"), "{notes}");
    let elsewhere = tempfile::tempdir().unwrap();
    let at = elsewhere.path();
    std::fs::copy(here.join("b.zip"), at.join("b.zip")).unwrap();
    drop((kernel, folder));
    let _ = std::fs::remove_dir_all(&here);

    let replay = |to: &str| {
        let ran = tunebook(at, &["replay", "b.zip", "--to", to, "--json"]);
        let (said, problems) = (text(&ran.stdout), text(&ran.stderr));
        assert_eq!(ran.status.code(), Some(0), "{said}{problems}");
        let result: Value = serde_json::from_str(said.trim()).unwrap();
        assert_eq!((&result["identical"], &result["same"]), (&json!(4), &json!(true)), "{result}");
        assert_eq!(result["files"], json!([]), "the trials read what was recorded");
        result["bundled"].as_array().unwrap().clone()
    };
    assert!(!here.exists(), "nothing of the first folder is there any more");
    let bundled = replay("new");
    let project = at.join("new/project").canonicalize().unwrap();
    assert_eq!(bundled, [json!({ "recorded": here, "read": project, "other": false })]);
    let store = tunebook_study::store::Store::open_to_read(&at.join("new/studies.db")).unwrap().unwrap();
    let [study, again] = ["p", "p.replay"].map(|name| store.study(name).unwrap().unwrap());
    assert_eq!(study.definition.workload, again.definition.workload, "the record stays as it is");
    assert_eq!(study.definition.space, again.definition.space);
    let shown = text(&tunebook(at, &["replay", "b.zip"]).stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains("is not there, so the trials use"), "{shown}");

    // The folder is there again: one file as it was, two with other contents, and one is missing.
    std::fs::create_dir_all(here.join("my data")).unwrap();
    for (name, content) in [("train.sh", script), ("my data/a.txt", "30"), ("b.txt", "7")] {
        std::fs::write(here.join(name), content).unwrap();
    }
    let bundled = replay("other");
    std::fs::remove_dir_all(&here).unwrap();
    let found: Vec<_> = bundled.iter().map(|file| (&file["recorded"], &file["other"])).collect();
    let [a, b, c] = ["my data/a.txt", "b.txt", "c.txt"].map(|name| json!(whole(name)));
    let (yes, no) = (json!(true), json!(false));
    assert_eq!(found, [(&b, &yes), (&c, &no), (&a, &yes)]);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Makes a bundle of an unpacked one.
fn repack(folder: &Path, to: &Path) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(to).unwrap());
    for name in ["manifest.json", "studies.db", "project/code/train.sh"] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::copy(&mut std::fs::File::open(folder.join(name)).unwrap(), &mut zip).unwrap();
    }
    zip.finish().unwrap();
}

/// A workload on a table, with a crate of the registry. `bias` makes another version of it.
fn own_workload(bias: f64) -> String {
    format!(
        "%%workload replayed\n[dependencies]\nitoa = \"1\"\n\npub struct It;\nimpl Workload for It {{\n    \
         fn data(&self, _: &Hyperparameters) -> Result<Data> {{\n        \
         Ok(Table::read(\"points.csv\")?.classify(itoa::Buffer::new().format(1))?.split(0.7, 0.15, 0)?)\n    }}\n    \
         fn forward(&self, net: &Net, x: &Tensor) -> Tensor {{\n        net.linear(\"logits\", x, 2) + {bias:?}\n    }}\n}}"
    )
}

/// The folder of the cache in which the workers of this version of Tunebook are built.
fn worker_folder(source: &str) -> Vec<std::path::PathBuf> {
    let cache = std::env::var_os("TUNEBOOK_CACHE").map(std::path::PathBuf::from);
    let home = || Path::new(&std::env::var_os("HOME").unwrap()).join(".cache");
    let user = || std::env::var_os("XDG_CACHE_HOME").map_or_else(home, Into::into).join("tunebook");
    let below = |folder: &Path| -> Vec<std::path::PathBuf> {
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let tools = below(&cache.unwrap_or_else(user).join("workloads"));
    let versions = tools.iter().flat_map(|tools| below(tools));
    let workers = versions.flat_map(|version| below(&version.join("workers")));
    workers.filter(|worker| worker.file_name().unwrap().to_str().unwrap().starts_with(source)).collect()
}

/// The text of a recorded lock file of the store, which `change` may replace.
fn lock_of(store: &Path, change: impl FnOnce(&str) -> String) -> String {
    let connection = rusqlite::Connection::open(store).unwrap();
    let lock: String = connection.query_row("SELECT lock FROM workloads", [], |row| row.get(0)).unwrap();
    connection.execute("UPDATE workloads SET lock = ?1", [change(&lock)]).unwrap();
    lock
}

#[tokio::test]
async fn a_workload_of_ones_own_is_replayed_with_the_crates_that_its_record_names() {
    let (mut kernel, folder) = kernel().await;
    let here = folder.path();
    let rows: String = (0..300).map(|i| format!("{},{},{}\n", i * 37 % 90, i * 53 % 71, i % 2)).collect();
    std::fs::write(here.join("points.csv"), format!("a,b,1\n{rows}")).unwrap();
    kernel.run_ok(&own_workload(0.0)).await;
    for name in ["first", "second"] {
        let sweep = "--trials 2\nworkload replayed\nnuisance lr ~ loguniform(1e-3, 0.1)\nfixed steps = 20";
        kernel.run_ok(&format!("%%sweep {name} {sweep}")).await;
    }
    // The study is replayed with the version that trained it, whatever the name means now.
    kernel.run_ok(&own_workload(0.5)).await;
    let all = kernel.run_ok("%replay first").await;
    assert_eq!((&all.result()["identical"], &all.result()["same"]), (&json!(2), &json!(true)), "{}", all.shown());
    let values = all.result()["values"].as_u64().unwrap();
    assert!(values >= 2 * 5, "{}", all.shown());
    let written = kernel.run_ok("%report first second --to r.html --bundle b.zip").await.result();
    assert_eq!(written["bundle"]["files"][0]["path"], "points.csv", "{written}");
    let store = tunebook_study::store::Store::open_to_read(&here.join(".tunebook/studies.db")).unwrap().unwrap();
    let tunebook_study::WorkloadReference::Rust { source, .. } =
        store.study("first").unwrap().unwrap().definition.workload
    else {
        panic!("the study has another workload")
    };
    let elsewhere = tempfile::tempdir().unwrap();
    let at = elsewhere.path();
    std::fs::copy(here.join("b.zip"), at.join("b.zip")).unwrap();
    drop((store, kernel, folder));

    // Elsewhere the worker is built again, with the recorded crates.
    let remove = || worker_folder(&source).iter().for_each(|worker| std::fs::remove_dir_all(worker).unwrap());
    remove();
    let ran = tunebook(at, &["replay", "b.zip", "--to", "new", "--json"]);
    let (said, problems) = (text(&ran.stdout), text(&ran.stderr));
    assert_eq!(ran.status.code(), Some(0), "{said}{problems}");
    assert!(!problems.contains("other versions"), "{problems}");
    let results: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let same: Vec<_> =
        results.iter().map(|r| (&r["study"], &r["identical"], &r["values"], &r["environment"])).collect();
    let (two, all, none) = (json!(2), json!(values), json!([]));
    assert_eq!(same, [(&json!("first"), &two, &all, &none), (&json!("second"), &two, &all, &none)]);
    let recorded = lock_of(&at.join("new/studies.db"), str::to_string);
    assert_eq!(std::fs::read_to_string(at.join("new/workloads/replayed.lock")).unwrap(), recorded);
    let [worker] = &worker_folder(&source)[..] else { panic!("{:?}", worker_folder(&source)) };
    assert_eq!(std::fs::read_to_string(worker.join("Cargo.lock")).unwrap(), recorded);

    // A version that cannot be had is named, and no other one is taken in its place.
    let (before, entry) = recorded.split_once("name = \"itoa\"\nversion = \"").unwrap();
    let other = format!("{before}name = \"itoa\"\nversion = \"1.0.9999{}", &entry[entry.find('"').unwrap()..]);
    lock_of(&at.join("new/studies.db"), |_| other);
    let mut again = Command::new(executable("tunebook"));
    again.args(["replay", "first", "--again"]).current_dir(at.join("new/project")).env("CARGO_NET_OFFLINE", "true");
    again.env("TUNEBOOK_WORKER", executable("tunebook-worker")).env("TUNEBOOK_STUDIES", at.join("new/studies.db"));
    let ran = again.output().unwrap();
    let problems = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{}{problems}", text(&ran.stdout));
    assert!(
        problems.contains("`replayed` was built with the crate `itoa 1.0.9999`, which cannot be had"),
        "{problems}"
    );
    assert!(problems.contains("candidate versions found"), "{problems}");
    remove();
}
