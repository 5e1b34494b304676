use super::*;
use std::io::Write;

/// A release and a carried crate of one file and one patch.
struct Case {
    folder: tempfile::TempDir,
    carried: Carried,
    release: PathBuf,
}

const SOURCE: &str = "one\ntwo\nthree\n";
const PATCH: &str = "The second line is written in full\n\nA reason.\n\ndiff --git a/src/lib.rs b/src/lib.rs\n\
    --- a/src/lib.rs\n+++ b/src/lib.rs\n@@ -1,3 +1,3 @@\n one\n-two\n+the number two\n three\n";

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (release, carried) = (folder.path().join("release"), folder.path().join("thing"));
        for (path, text) in [
            (release.join("Cargo.toml"), "[package]\nname = \"thing\"\nversion = \"1.0.0\"\n"),
            (release.join("src/lib.rs"), SOURCE),
            (release.join("tests/all.rs"), "left out"),
            (carried.join("patches/left-out"), "# Not needed.\ntests\n"),
            (carried.join("patches/0001-the-second-line-is-written-in-full.patch"), PATCH),
            (carried.join("CHANGES.md"), "ours"),
        ] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let case = Self { release, carried: Carried { name: "thing".into(), folder: carried }, folder };
        case.carried.replace(case.built().unwrap().path()).unwrap();
        case
    }

    fn built(&self) -> Result<tempfile::TempDir> {
        let result = tempfile::tempdir().unwrap();
        self.carried.build(&self.release, result.path()).map(|()| result)
    }

    fn patch(&self, name: &str, text: &str) {
        fs::write(self.carried.patches().join(name), text).unwrap();
    }
}

/// A test that checks nothing says so, past the capture of what tests print.
fn say_unchecked(what: &str) {
    std::io::stderr().write_all(format!("NOT CHECKED: {what}\n").as_bytes()).unwrap();
}

fn has_git() -> bool {
    let found = std::process::Command::new("git").arg("--version").output().is_ok();
    if !found {
        say_unchecked("the series was not made commits, because there is no program `git`");
    }
    found
}

#[test]
fn each_carried_folder_is_the_release_with_the_series_applied() {
    for carried in Carried::all().unwrap() {
        let version = carried.version().unwrap();
        let Some(release) = release::in_registry(&carried.name, &version) else {
            let (name, folder) = (&carried.name, shown(&carried.folder));
            say_unchecked(&format!(
                "{folder} was not compared with {name} {version}, of which cargo has no copy; `cargo carry` fetches it"
            ));
            continue;
        };
        let result = tempfile::tempdir().unwrap();
        carried.build(&release, result.path()).unwrap();
        check(&carried, result.path()).unwrap();
    }
}

#[test]
fn a_difference_of_one_byte_or_one_file_is_found() {
    let case = Case::new();
    let result = case.built().unwrap();
    assert_eq!(fs::read_to_string(result.path().join("src/lib.rs")).unwrap(), "one\nthe number two\nthree\n");
    check(&case.carried, result.path()).unwrap();
    let lib = case.carried.folder.join("src/lib.rs");
    fs::write(&lib, "one\nthe number two\nthree!\n").unwrap();
    fs::write(case.carried.folder.join("extra.rs"), "").unwrap();
    fs::remove_file(case.carried.folder.join("Cargo.toml")).unwrap();
    assert_eq!(
        case.carried.difference(result.path()).unwrap(),
        ["Cargo.toml is missing", "extra.rs is not in the result", "src/lib.rs differs from line 3 on"]
    );
    assert!(check(&case.carried, result.path()).is_err());
    case.carried.replace(result.path()).unwrap();
    check(&case.carried, result.path()).unwrap();
    assert_eq!(fs::read_to_string(case.carried.folder.join("CHANGES.md")).unwrap(), "ours");
}

#[test]
fn a_patch_that_does_not_fit_is_named_with_file_and_hunk() {
    let case = Case::new();
    let second = PATCH.replace("-two\n+the number two", "-the number two\n+2");
    case.patch("0002-shorter.patch", &second);
    case.patch("0003-of-a-file-that-is-gone.patch", &PATCH.replace("src/lib.rs", "src/gone.rs"));
    case.patch("0004-no-patch.patch", "A header, and nothing else.\n");
    fs::write(case.release.join("src/lib.rs"), "one\n2\nthree\n").unwrap();
    let error = case.built().unwrap_err().to_string();
    for expected in [
        "4 of 4 patches of thing do not fit",
        "0001-the-second-line-is-written-in-full.patch: src/lib.rs, hunk 1\n",
        "0002-shorter.patch: src/lib.rs, hunk 1\n",
        "0003-of-a-file-that-is-gone.patch: src/gone.rs is not there\n",
        "0004-no-patch.patch: the patch cannot be read: ",
    ] {
        assert!(error.contains(expected), "{expected}\nis not in\n{error}");
    }
}

#[test]
fn a_path_that_is_left_out_must_be_in_the_release() {
    let case = Case::new();
    let result = case.built().unwrap();
    assert!(!result.path().join("tests").exists());
    case.patch("left-out", "tests\nexamples\n");
    let error = case.built().unwrap_err().to_string();
    assert!(error.contains("the release has no `examples`; remove that line"), "{error}");
}

#[test]
fn bad_input_is_told_with_what_to_do() {
    let case = Case::new();
    let unknown = Carried::named("serde").err().unwrap().to_string();
    assert_eq!(unknown, "`serde` is no carried crate; those are: evcxr, zeromq");
    let other = release::in_folder("other", &case.release).unwrap_err().to_string();
    assert!(other.ends_with("is a release of `thing`, not of `other`"), "{other}");
    let empty = release::in_folder("thing", case.folder.path()).unwrap_err().to_string();
    assert!(empty.contains("is no release of `thing`"), "{empty}");
    fs::remove_file(case.carried.patches().join("0001-the-second-line-is-written-in-full.patch")).unwrap();
    let none = case.built().unwrap_err().to_string();
    assert!(none.contains("holds no file with the ending .patch"), "{none}");
}

#[test]
fn the_series_is_the_same_after_it_was_commits() {
    if !has_git() {
        return;
    }
    let case = Case::new();
    let repository = case.folder.path().join("commits");
    commits::write(&case.carried, &case.release, &repository).unwrap();
    assert!(
        commits::write(&case.carried, &case.release, &repository).unwrap_err().to_string().contains("is not empty")
    );
    assert_eq!(commits::take(&case.carried, &repository).unwrap(), 1);
    let series = series::read(&case.carried).unwrap();
    assert_eq!(series.len(), 1);
    assert_eq!(series[0].name, "0001-the-second-line-is-written-in-full.patch");
    assert_eq!(fs::read_to_string(case.carried.patches().join(&series[0].name)).unwrap(), PATCH);
}

#[test]
fn a_patch_that_does_not_fit_is_mended_in_the_repository() {
    if !has_git() {
        return;
    }
    let case = Case::new();
    case.patch("0002-another-file.patch", &PATCH.replace("src/lib.rs", "src/other.rs"));
    fs::write(case.release.join("src/lib.rs"), "one\n2\nthree\n").unwrap();
    fs::write(case.release.join("src/other.rs"), SOURCE).unwrap();
    let repository = case.folder.path().join("commits");
    let error = commits::write(&case.carried, &case.release, &repository).unwrap_err().to_string();
    assert!(error.contains("full.patch: src/lib.rs, hunk 1\n") && error.contains("--take"), "{error}");
    assert!(commits::take(&case.carried, &repository).unwrap_err().to_string().contains("not committed"));
    fs::remove_file(repository.join("src/lib.rs.rej")).unwrap();
    fs::write(repository.join("src/lib.rs"), "one\nnumber 2\nthree\n").unwrap();
    let commit = ["commit", "--quiet", "--all", "--message", "The second line is longer\n\nA reason."];
    assert!(commits::git(&repository).args(commit).status().unwrap().success());
    assert_eq!(commits::take(&case.carried, &repository).unwrap(), 1);
    let names: Vec<String> = series::read(&case.carried).unwrap().into_iter().map(|patch| patch.name).collect();
    assert_eq!(names, ["0001-the-second-line-is-longer.patch", "0002-another-file.patch"]);
    let built = case.built().unwrap();
    assert_eq!(fs::read_to_string(built.path().join("src/lib.rs")).unwrap(), "one\nnumber 2\nthree\n");
}
