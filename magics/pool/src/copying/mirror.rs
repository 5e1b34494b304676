//! The copied files on a node: each lies below one folder, the mirror, under its absolute path on the notebook's
//! machine. So the path of a copy is the mirror with that path behind it.

use super::known::Known;
use super::{CHUNK, Copied, read_some};
use crate::node::{FromSlot, NeededFile, Needs, ToSlot};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{BufRead, Error, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use tunebook_study::Value;
use tunebook_study::protocol::{Event, TrialRequest};

/// The file in the folder of a study's trials that says which study it is.
const STUDY: &str = ".study";
/// The ending of a file that is being received.
const PARTIAL: &str = "partial";

/// The copied files of a node.
#[derive(Debug)]
pub(crate) struct Mirror {
    root: PathBuf,
    /// The paths on the notebook's machine: the files that are copied, and the folders that hold them.
    files: BTreeSet<PathBuf>,
    folders: Vec<PathBuf>,
    /// The folder of the notebook, in which programs run.
    folder: PathBuf,
    copied: Copied,
}

impl Mirror {
    /// The mirror below `base` of what a slot needs. Nothing is copied yet.
    fn new(needs: &Needs, copied: &Copied, base: &Path) -> Self {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let origin: String = copied.origin.chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
        let files = needs.files.iter().map(|file| file.path.clone()).collect();
        let folders = needs.folders.iter().chain([&needs.folder]).cloned().collect();
        let (root, folder) = (base.join("mirror").join(origin), needs.folder.clone());
        Self { root, files, folders, folder, copied: copied.clone() }
    }

    /// Makes the copy of the notebook's folder the current one.
    pub(crate) fn enter(&self) -> Result<(), String> {
        let folder = self.of(&self.folder);
        std::env::set_current_dir(&folder).map_err(|error| cannot(&folder, "entered", &error))
    }

    /// The path of a copy. It lies in the mirror, also if the path contains `..`.
    pub(crate) fn of(&self, path: &Path) -> PathBuf {
        let mut below = PathBuf::new();
        for part in path.components() {
            match part {
                Component::Normal(name) => below.push(name),
                Component::ParentDir => drop(below.pop()),
                _ => {}
            }
        }
        self.root.join(below)
    }

    /// The path on the notebook's machine of a file in the mirror.
    fn original(&self, path: PathBuf) -> PathBuf {
        path.strip_prefix(&self.root).map(|below| Path::new("/").join(below)).unwrap_or(path)
    }

    /// Whether a path on the notebook's machine is a copied file or the folder of one, or is or lies in a folder that
    /// trials need.
    fn holds(&self, path: &Path) -> bool {
        let of_folder = || self.folders.iter().any(|folder| path.starts_with(folder));
        let has_file = || path != Path::new("/") && self.files.iter().any(|file| file.parent() == Some(path));
        let is_there = path.is_absolute() && (self.files.contains(path) || of_folder() || has_file());
        // A path in the mirror is one that was replaced already.
        is_there && !path.starts_with(&self.root)
    }

    /// A text in which a path of a copied file is replaced by that of the copy. The path is the whole text, or follows
    /// the first `=`.
    pub(crate) fn text(&self, text: &str) -> String {
        let name = match text.split_once('=') {
            Some((name, _)) if !text.starts_with('/') => name.len() + 1,
            _ => 0,
        };
        let (before, path) = text.split_at(name);
        if !self.holds(Path::new(path)) {
            return text.into();
        }
        format!("{before}{}", self.of(Path::new(path)).display())
    }

    /// A request with the paths of the copies.
    pub(crate) fn request(&self, request: &TrialRequest, builtin: &Path) -> TrialRequest {
        let mut request = request.clone();
        request.directory = self.of(&request.directory);
        request.worker = Some(self.of(request.worker.as_deref().unwrap_or(builtin)));
        for (name, value) in &self.copied.defaults {
            request.params.entry(name.clone()).or_insert_with(|| value.clone());
        }
        for value in request.params.values_mut() {
            if let Value::Text(text) = value {
                *text = self.text(text);
            }
        }
        request
    }

    /// What a worker reports, with the paths on the notebook's machine.
    pub(crate) fn event(&self, mut event: Event) -> Event {
        if let Event::Loaded { data, .. } = &mut event {
            for source in data {
                source.path = self.original(std::mem::take(&mut source.path));
            }
        }
        event
    }

    /// The environment of workers and programs on the node.
    pub(crate) fn environment(&self, changes: &[(String, Option<String>)]) -> Vec<(String, Option<String>)> {
        let mapped = |value: &Option<String>| value.as_deref().map(|value| self.text(value));
        let mut environment: Vec<_> = changes.iter().map(|(name, value)| (name.clone(), mapped(value))).collect();
        if let Some(libraries) = &self.copied.libraries {
            // The worker looks for libtorch where it lies on the notebook's machine, and before that in these folders.
            let name = "LD_LIBRARY_PATH";
            let changed = environment.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.clone());
            let known = changed.unwrap_or_else(|| std::env::var(name).ok()).filter(|value| !value.is_empty());
            let folders = [self.of(libraries).display().to_string()].into_iter().chain(known);
            environment.push((name.into(), Some(folders.collect::<Vec<_>>().join(":"))));
        }
        environment
    }
}

/// Brings the mirror below `base` up to date: compares, asks for what is missing, and receives it from `input`. The
/// error is a sentence about what went wrong.
pub(crate) fn receive(
    needs: &Needs,
    copied: &Copied,
    base: &Path,
    input: &mut impl BufRead,
    say: impl Fn(&FromSlot),
) -> Result<Mirror, String> {
    let mirror = Mirror::new(needs, copied, base);
    create_folder(&mirror.root)?;
    // One slot at a time: those that start together find what the first one has received.
    let lock = mirror.root.with_extension("lock");
    let lock = File::create(&lock).map_err(|error| cannot(&lock, "written", &error))?;
    let locked = match lock.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => {
            say(&FromSlot::Waits);
            lock.lock().is_ok()
        }
        // A file system without locks: at worst, a file is copied twice.
        Err(TryLockError::Error(_)) => false,
    };
    if locked {
        remove_partial(&mirror.root);
    }
    let mut known = Known::read(mirror.root.with_extension("json"));
    for folder in needs.folders.iter().chain([&needs.folder]) {
        create_folder(&mirror.of(folder))?;
    }
    begin_study(&mirror)?;
    let copies: BTreeSet<PathBuf> = needs.files.iter().map(|file| mirror.of(&file.path)).collect();
    for folder in &copied.whole {
        known.remove_from(&mirror.of(folder), |path| copies.contains(path));
    }
    let is_missing = |file: &&NeededFile| known.hash(&mirror.of(&file.path)).as_ref() != Some(&file.sha256);
    let missing: Vec<&NeededFile> = needs.files.iter().filter(is_missing).collect();
    // Beside the mirror, so that no trial takes a part of a file for a file.
    let partial = mirror.root.with_extension(format!("{}.{PARTIAL}", std::process::id()));
    let received: Result<(), String> = if missing.is_empty() {
        Ok(())
    } else {
        say(&FromSlot::SendFiles { paths: missing.iter().map(|file| file.path.clone()).collect() });
        missing.iter().try_for_each(|file| {
            let copy = mirror.of(&file.path);
            receive_file(file, &copy, &partial, input)?;
            known.copied(&copy, &file.sha256);
            Ok(())
        })
    };
    known.write();
    received?;
    drop(lock);
    Ok(mirror)
}

/// Receives one file, and puts it into its place once its hash is right.
fn receive_file(file: &NeededFile, copy: &Path, partial: &Path, input: &mut impl BufRead) -> Result<(), String> {
    let shown = file.path.display();
    let mut line = vec![];
    input.read_until(b'\n', &mut line).map_err(|error| cannot(copy, "received", &error))?;
    let (size, mode, sha256) = match serde_json::from_slice(&line) {
        Ok(ToSlot::File { path, size, mode, sha256 }) if path == file.path => (size, mode, sha256),
        _ => return Err(format!("{shown} was asked for, and something else came")),
    };
    if let Some(folder) = copy.parent() {
        create_folder(folder)?;
    }
    let received = receive_bytes(size, partial, input).map_err(|error| cannot(copy, "written", &error));
    let placed = received.and_then(|found| {
        if found != sha256 || found != file.sha256 {
            return Err(format!(
                "{shown} arrived with other contents than it had when the sweep began: it has changed since, or was \
                 damaged on the way. Run the sweep again with `--resume`"
            ));
        }
        // The owner must be able to replace it.
        std::fs::set_permissions(partial, Permissions::from_mode(mode & 0o777 | 0o600))
            .and_then(|()| std::fs::rename(partial, copy))
            .map_err(|error| cannot(copy, "written", &error))
    });
    if placed.is_err() {
        let _ = std::fs::remove_file(partial);
    }
    placed
}

/// Receives so many bytes into a new file, and returns their hash.
fn receive_bytes(size: u64, partial: &Path, input: &mut impl BufRead) -> std::io::Result<String> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(partial)?;
    let (mut hash, mut chunk, mut left) = (Sha256::new(), vec![0; CHUNK], size);
    while left > 0 {
        let ended = || Error::new(std::io::ErrorKind::UnexpectedEof, "the connection ended");
        let read = read_some(input, &mut chunk, left)?.ok_or_else(ended)?;
        hash.update(&chunk[..read]);
        file.write_all(&chunk[..read])?;
        left -= read as u64;
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Removes what slots have left that were ended while they received a file. This one is the only one that receives now.
fn remove_partial(root: &Path) {
    let of_mirror = |name: &str| {
        let rest = root.file_name().and_then(|root| name.strip_prefix(root.to_str()?));
        rest.is_some_and(|rest| rest.starts_with('.') && rest.ends_with(PARTIAL))
    };
    for entry in root.parent().and_then(|folder| folder.read_dir().ok()).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(of_mirror) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Removes the folders of an earlier study of the same name.
fn begin_study(mirror: &Mirror) -> Result<(), String> {
    let folder = mirror.of(&mirror.copied.trials);
    let mark = folder.join(STUDY);
    if std::fs::read_to_string(&mark).is_ok_and(|study| study == mirror.copied.study) {
        return Ok(());
    }
    std::fs::remove_dir_all(&folder).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(cannot(&folder, "removed", &error)),
    })?;
    create_folder(&folder)?;
    std::fs::write(&mark, &mirror.copied.study).map_err(|error| cannot(&mark, "written", &error))
}

fn create_folder(folder: &Path) -> Result<(), String> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    created.map_err(|error| cannot(folder, "created", &error))
}

fn cannot(path: &Path, what: &str, error: &Error) -> String {
    format!("{} cannot be {what} on the node: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::collections::VecDeque;
    use std::io::Read;

    /// A notebook's machine with two files, and a node.
    struct Machines {
        here: tempfile::TempDir,
        node: tempfile::TempDir,
        /// What is changed in the bytes on the way.
        damage: fn(&mut Vec<u8>),
    }

    /// What the node hears once it has asked.
    #[derive(Default)]
    struct Wire {
        asked: Mutex<Vec<PathBuf>>,
        bytes: Mutex<VecDeque<u8>>,
    }

    impl Read for &Wire {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.bytes.lock().read(buffer)
        }
    }

    impl Machines {
        fn new() -> Self {
            let (here, node) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            std::fs::create_dir_all(here.path().join("data")).unwrap();
            std::fs::write(here.path().join("train.py"), "print(1)").unwrap();
            std::fs::write(here.path().join("data/a.csv"), "1,2").unwrap();
            Self { here, node, damage: |_| {} }
        }

        fn needs(&self) -> (Needs, Copied) {
            let here = self.here.path();
            let names = ["train.py", "data/a.csv"].map(|name| here.join(name));
            let files = names.iter().filter(|path| path.exists()).map(|path| NeededFile::of(path).unwrap()).collect();
            let executable = NeededFile { path: "/x/tunebook".into(), sha256: "0".into(), size: 0 };
            let copied = Copied {
                executable,
                origin: "here".into(),
                study: "1".into(),
                trials: here.join(".tunebook/trials/s"),
                whole: vec![here.join("data")],
                libraries: Some("/x/lib".into()),
                defaults: [("data".to_string(), Value::from(here.join("data").to_str().unwrap()))].into(),
            };
            let folders = vec![here.join("data"), copied.trials.clone()];
            (Needs { folder: here.into(), folders, files, ..Needs::default() }, copied)
        }

        /// Starts a slot. Returns its mirror, and the names of the files that it asked for.
        fn start(&self) -> (Result<Mirror, String>, Vec<String>) {
            let (needs, copied) = self.needs();
            let wire = Wire::default();
            let say = |message: &FromSlot| {
                let FromSlot::SendFiles { paths } = message else { return };
                wire.asked.lock().extend(paths.iter().cloned());
                let mut bytes = vec![];
                for file in needs.files.iter().filter(|file| paths.contains(&file.path)) {
                    let (path, sha256) = (file.path.clone(), file.sha256.clone());
                    let header = ToSlot::File { path, size: file.size, mode: 0o444, sha256 };
                    bytes.extend(serde_json::to_vec(&header).unwrap());
                    bytes.push(b'\n');
                    bytes.extend(std::fs::read(&file.path).unwrap());
                }
                (self.damage)(&mut bytes);
                wire.bytes.lock().extend(bytes);
            };
            let mut input = std::io::BufReader::new(&wire);
            let mirror = receive(&needs, &copied, self.node.path(), &mut input, say);
            let asked =
                wire.asked.lock().iter().map(|path| path.file_name().unwrap().to_str().unwrap().into()).collect();
            (mirror, asked)
        }
    }

    #[test]
    fn what_a_node_lacks_is_copied_once_and_again_when_it_has_changed() {
        let mut machines = Machines::new();
        let path = |name: &str| machines.here.path().join(name);
        let (mirror, asked) = machines.start();
        let mirror = mirror.unwrap();
        assert_eq!(asked, ["train.py", "a.csv"]);
        assert_eq!(std::fs::read_to_string(mirror.of(&path("data/a.csv"))).unwrap(), "1,2");
        assert_eq!(machines.start().1, [""; 0], "a second slot copies nothing");

        // Changes here and there are noticed, also those that keep size and date.
        std::fs::write(path("data/a.csv"), "1,3").unwrap();
        assert_eq!(machines.start().1, ["a.csv"]);
        let copy = mirror.of(&path("train.py"));
        let date = copy.metadata().unwrap().modified().unwrap();
        std::fs::write(&copy, "print(2)").unwrap();
        File::options().write(true).open(&copy).unwrap().set_modified(date).unwrap();
        assert_eq!(machines.start().1, ["train.py"]);
        assert_eq!(std::fs::read_to_string(&copy).unwrap(), "print(1)");

        // What is damaged on the way, or cut off, is not put into its place.
        std::fs::write(path("train.py"), "print(3)").unwrap();
        machines.damage = |bytes| *bytes.last_mut().unwrap() ^= 1;
        assert!(machines.start().0.unwrap_err().contains("arrived with other contents"));
        machines.damage = |bytes| bytes.truncate(bytes.len() - 1);
        assert!(machines.start().0.unwrap_err().contains("the connection ended"));
        assert_eq!(std::fs::read_to_string(&copy).unwrap(), "print(1)");
        machines.damage = |_| {};
        let path = |name: &str| machines.here.path().join(name);
        assert_eq!(machines.start().1, ["train.py"]);

        // A file that is gone from a folder that is copied as a whole is gone on the node too; what trials write stays.
        let written = mirror.of(&path("data/out"));
        std::fs::write(&written, "").unwrap();
        std::fs::remove_file(path("data/a.csv")).unwrap();
        assert_eq!(machines.start().1, [""; 0]);
        assert!(!mirror.of(&path("data/a.csv")).exists() && written.exists());
        let left: Vec<_> = std::fs::read_dir(mirror.of(machines.here.path())).unwrap().flatten().collect();
        assert_eq!(left.len(), 3, "no partial file is left: {left:?}");
    }

    #[test]
    fn paths_of_copied_files_are_mapped_and_others_are_not() {
        let machines = Machines::new();
        let (needs, copied) = machines.needs();
        let mirror = Mirror::new(&needs, &copied, Path::new("/cache"));
        let here = machines.here.path().display();
        let twice = mirror.text(&mirror.text(&format!("{here}/train.py")));
        assert_eq!(twice, format!("/cache/mirror/here{here}/train.py"));
        assert_eq!(mirror.text("/usr/bin/python3"), "/usr/bin/python3");
        assert_eq!(mirror.text("data/a.csv"), "data/a.csv");
        assert_eq!(mirror.of(Path::new("/a/../../b/c")), Path::new("/cache/mirror/here/b/c"));
        assert_eq!(
            mirror.text(&format!("--in={here}/data/a.csv")),
            format!("--in=/cache/mirror/here{here}/data/a.csv")
        );
        assert_eq!(mirror.text(&format!("{here}/new=1")), format!("/cache/mirror/here{here}/new=1"));
        let loaded = |path: &str| Event::Loaded {
            trial: tunebook_study::protocol::TrialId { study: "s".into(), number: 1 },
            data: vec![tunebook_study::protocol::DataSource { path: path.into(), sha256: "0".into() }],
            validation: None,
        };
        assert_eq!(mirror.event(loaded("/cache/mirror/here/a/b")), loaded("/a/b"));
        assert_eq!(mirror.event(loaded("/a/b")), loaded("/a/b"));
        let environment = mirror.environment(&[("LD_LIBRARY_PATH".into(), Some("/own".into()))]);
        assert_eq!(environment[1].1.as_deref(), Some("/cache/mirror/here/x/lib:/own"));
    }
}
