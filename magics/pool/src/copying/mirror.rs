//! The copied files on a node.
//!
//! The contents of all of them lie in the store, a folder in which each file is named by its hash, so that they are
//! copied to the node once. Each study has a mirror of its own, which holds the files of this study and no others,
//! under their absolute paths on the notebook's machine. So the path of a copy is the mirror with that path behind it.
//!
//! A large file of a mirror is a link to that of the store. A small one is a copy, which programs can write without
//! changing the store.

use super::cleaning::{self, Cleaner};
use super::known::Known;
use super::{CHUNK, Copied, read_some};
use crate::node::{FromSlot, NeededFile, Needs, ToSlot};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{BufRead, Error, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;
use tunebook_study::Value;
use tunebook_study::protocol::{Event, TrialRequest};

/// A file with more bytes is linked into a mirror, and a smaller one is copied.
const LINKED: u64 = 1 << 20;
/// The name of the store.
const STORE: &str = "files";
/// The ending of a file that is being received.
const PARTIAL: &str = "partial";

/// The copied files of a study on a node.
#[derive(Debug)]
pub(crate) struct Mirror {
    root: PathBuf,
    /// The paths on the notebook's machine: the files that are copied, and the folders that hold them.
    files: BTreeSet<PathBuf>,
    folders: Vec<PathBuf>,
    /// The folder of the notebook, in which programs run.
    folder: PathBuf,
    copied: Copied,
    /// The executable of the slot.
    executable: PathBuf,
    /// Locked for as long as the slot lives, so that no other one removes the mirror.
    lock: Option<File>,
}

impl Mirror {
    /// The mirror below `base` of what a slot needs. Nothing is copied yet.
    fn new(needs: &Needs, copied: &Copied, base: &Path) -> Self {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let origin: String = copied.origin.chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
        let files = needs.files.iter().map(|file| file.path.clone()).collect();
        let folders = needs.folders.iter().chain([&needs.folder]).cloned().collect();
        // Two studies of one name, one after the other or in two stores, have two mirrors.
        let study = Sha256::digest(format!("{} {}", copied.study, copied.trials.display()));
        let study: String = in_hexadecimal(&study).chars().take(16).collect();
        let (root, folder) = (base.join("mirror").join(origin).join(study), needs.folder.clone());
        let executable = cleaning::executable(base, &copied.executable.sha256);
        Self { root, files, folders, folder, copied: copied.clone(), executable, lock: None }
    }

    /// Keeps others from removing it. False if the file system has no locks.
    fn hold(&mut self) -> bool {
        self.lock = cleaning::lock_of(&self.root).ok().filter(|lock| lock.try_lock_shared().is_ok());
        self.touch();
        self.lock.is_some()
    }

    /// Notes that it is used now.
    pub(crate) fn touch(&self) {
        let now = SystemTime::now();
        for file in [self.lock.as_ref(), File::open(&self.executable).ok().as_ref()].into_iter().flatten() {
            let _ = file.set_modified(now);
        }
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
    let mut mirror = Mirror::new(needs, copied, base);
    let store = base.join(STORE);
    create_folder(&store)?;
    // One slot at a time: those that start together find what the first one has received.
    let lock = store.with_extension("lock");
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
        remove_partial(&store);
    }
    create_folder(&mirror.root)?;
    let can_clean = locked && mirror.hold();
    let needed = needs.files.iter().map(|file| stored(&store, file)).collect();
    let (own, executable) = (&mirror.root, &mirror.executable);
    let cleaner = Cleaner { base, store: &store, mirror: own, executable, needed };
    let cleaner = Some(cleaner).filter(|_| can_clean);
    // Outside of the mirror, so that no trial takes a part of a file for a file.
    let partial = store.with_extension(format!("{}.{PARTIAL}", std::process::id()));
    let mut known = Known::read(store.with_extension("json"));
    let filled = fill_store(needs, &store, &partial, &mut known, cleaner.as_ref(), input, say);
    let filled = filled.and_then(|()| fill_mirror(needs, &mirror, &store, &partial, &mut known));
    if let (Ok(()), Some(cleaner)) = (&filled, &cleaner) {
        cleaner.clean(&mut known);
    }
    known.write();
    filled?;
    drop(lock);
    if can_clean {
        let base = base.to_path_buf();
        std::thread::spawn(move || cleaning::empty_trash(&base));
    }
    Ok(mirror)
}

/// The path of a file in the store. Of two files with the same contents, one may be a program.
fn stored(store: &Path, file: &NeededFile) -> PathBuf {
    store.join(format!("{}{}", file.sha256, if file.executable { "-x" } else { "" }))
}

/// Asks for the files that the store lacks, or has with other contents, and receives them.
fn fill_store(
    needs: &Needs,
    store: &Path,
    partial: &Path,
    known: &mut Known,
    mut cleaner: Option<&Cleaner>,
    input: &mut impl BufRead,
    say: impl Fn(&FromSlot),
) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    let new = |file: &&NeededFile| seen.insert(stored(store, file));
    let is_missing = |file: &&NeededFile| known.hash(&stored(store, file)).as_ref() != Some(&file.sha256);
    let missing: Vec<&NeededFile> = needs.files.iter().filter(new).filter(is_missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    say(&FromSlot::SendFiles { paths: missing.iter().map(|file| file.path.clone()).collect() });
    missing.iter().try_for_each(|file| {
        let stored = stored(store, file);
        // This is done once: what it leaves is in use.
        let make_room = || cleaner.take().map(|cleaner| cleaner.make_room(known, SystemTime::now())).is_some();
        receive_file(file, &stored, partial, make_room, input)?;
        known.copied(&stored, &file.sha256);
        Ok(())
    })
}

/// Brings the files of the mirror to the contents that the store has. Copied files that the study does not need any
/// more are removed. What trials have written stays.
fn fill_mirror(
    needs: &Needs,
    mirror: &Mirror,
    store: &Path,
    partial: &Path,
    of_store: &mut Known,
) -> Result<(), String> {
    for folder in needs.folders.iter().chain([&needs.folder]) {
        create_folder(&mirror.of(folder))?;
    }
    let mut known = Known::read(mirror.root.with_extension("json"));
    let copies: BTreeSet<PathBuf> = needs.files.iter().map(|file| mirror.of(&file.path)).collect();
    known.remove_from(&mirror.root, |path| copies.contains(path));
    let placed = needs.files.iter().try_for_each(|file| {
        let (stored, copy) = (stored(store, file), mirror.of(&file.path));
        if is_same_file(&stored, &copy) || known.hash(&copy).as_ref() == Some(&file.sha256) {
            return Ok(());
        }
        if let Some(folder) = copy.parent() {
            create_folder(folder)?;
        }
        let placed = place(file, &stored, partial).and_then(|()| std::fs::rename(partial, &copy));
        if let Err(error) = placed {
            let _ = std::fs::remove_file(partial);
            return Err(cannot(&copy, "written", &error));
        }
        // A link has changed the stamp of the file in the store.
        of_store.copied(&stored, &file.sha256);
        known.copied(&copy, &file.sha256);
        Ok(())
    });
    known.write();
    placed
}

/// Puts a file of the store under the name `partial`: as a link or as a copy, with its permissions.
fn place(file: &NeededFile, stored: &Path, partial: &Path) -> std::io::Result<()> {
    // What a slot has left that was ended, where the file system has no locks.
    let _ = std::fs::remove_file(partial);
    // Some file systems have no links.
    if file.size > LINKED && std::fs::hard_link(stored, partial).is_ok() {
        return Ok(());
    }
    std::fs::copy(stored, partial).map(drop)
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    let identity = |path: &Path| path.metadata().ok().map(|file| (file.dev(), file.ino()));
    identity(a).is_some_and(|a| identity(b) == Some(a))
}

/// Receives one file, and puts it into its place once its hash is right. `make_room` says whether a full disk may have
/// room afterwards.
fn receive_file(
    file: &NeededFile,
    copy: &Path,
    partial: &Path,
    make_room: impl FnMut() -> bool,
    input: &mut impl BufRead,
) -> Result<(), String> {
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
    let received = receive_bytes(size, partial, make_room, input).map_err(|error| cannot(copy, "written", &error));
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
fn receive_bytes(
    size: u64,
    partial: &Path,
    make_room: impl FnMut() -> bool,
    input: &mut impl BufRead,
) -> std::io::Result<String> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(partial)?;
    write_bytes(size, file, make_room, input)
}

fn write_bytes(
    size: u64,
    mut file: impl Write + Seek,
    mut make_room: impl FnMut() -> bool,
    input: &mut impl BufRead,
) -> std::io::Result<String> {
    let (mut hash, mut chunk, mut left) = (Sha256::new(), vec![0; CHUNK], size);
    while left > 0 {
        let ended = || Error::new(ErrorKind::UnexpectedEof, "the connection ended");
        let read = read_some(input, &mut chunk, left)?.ok_or_else(ended)?;
        hash.update(&chunk[..read]);
        if let Err(error) = file.write_all(&chunk[..read]) {
            let is_full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
            if !is_full || !make_room() {
                return Err(error);
            }
            // A part of these bytes may have been written.
            file.seek(SeekFrom::Start(size - left))?;
            file.write_all(&chunk[..read])?;
        }
        left -= read as u64;
    }
    Ok(in_hexadecimal(&hash.finalize()))
}

fn in_hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Removes what slots have left that were ended while they received a file. This one is the only one that receives now.
fn remove_partial(store: &Path) {
    let of_store = |name: &str| {
        let rest = store.file_name().and_then(|store| name.strip_prefix(store.to_str()?));
        rest.is_some_and(|rest| rest.starts_with('.') && rest.ends_with(PARTIAL))
    };
    for entry in store.parent().and_then(|folder| folder.read_dir().ok()).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(of_store) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
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
        /// What distinguishes the study.
        study: &'static str,
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
            Self { here, node, damage: |_| {}, study: "1" }
        }

        fn needs(&self) -> (Needs, Copied) {
            let here = self.here.path();
            let names = ["train.py", "data/a.csv"].map(|name| here.join(name));
            let files = names.iter().filter(|path| path.exists()).map(|path| NeededFile::of(path).unwrap()).collect();
            let executable = NeededFile { path: "/x/tunebook".into(), sha256: "0".into(), size: 0, executable: true };
            let copied = Copied {
                executable,
                origin: "here".into(),
                study: self.study.into(),
                trials: here.join(".tunebook/trials/s"),
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

        // Changes here and there are noticed, also those that keep size and date. A small file that was changed in the
        // mirror is mended from the store.
        std::fs::write(path("data/a.csv"), "1,3").unwrap();
        assert_eq!(machines.start().1, ["a.csv"]);
        assert_eq!(std::fs::read_to_string(mirror.of(&path("data/a.csv"))).unwrap(), "1,3");
        let overwrite = |path: &Path| {
            let date = path.metadata().unwrap().modified().unwrap();
            std::fs::write(path, "print(2)").unwrap();
            File::options().write(true).open(path).unwrap().set_modified(date).unwrap();
        };
        let copy = mirror.of(&path("train.py"));
        overwrite(&copy);
        assert_eq!(machines.start().1, [""; 0]);
        assert_eq!(std::fs::read_to_string(&copy).unwrap(), "print(1)");
        overwrite(&stored(&machines.node.path().join(STORE), &NeededFile::of(&path("train.py")).unwrap()));
        overwrite(&copy);
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

        // A file that the study does not need any more is gone on the node too; what trials write stays.
        let written = mirror.of(&path("data/out"));
        std::fs::write(&written, "").unwrap();
        std::fs::remove_file(path("data/a.csv")).unwrap();
        assert_eq!(machines.start().1, [""; 0]);
        assert!(!mirror.of(&path("data/a.csv")).exists() && written.exists());
        let left: Vec<_> = std::fs::read_dir(mirror.of(machines.here.path())).unwrap().flatten().collect();
        assert_eq!(left.len(), 3, "no partial file is left: {left:?}");
    }

    #[test]
    fn each_study_sees_its_own_files_and_large_ones_are_there_once() {
        let mut machines = Machines::new();
        std::fs::write(machines.here.path().join("data/a.csv"), vec![7; LINKED as usize + 1]).unwrap();
        let (first, asked) = machines.start();
        assert_eq!(asked, ["train.py", "a.csv"]);
        let first = first.unwrap();
        let path = |name: &str| machines.here.path().join(name);
        let (data, program) = (path("data/a.csv"), path("train.py"));
        machines.study = "2";
        let (second, asked) = machines.start();
        let second = second.unwrap();
        assert_eq!(asked, [""; 0], "the contents are on the node");
        assert!(is_same_file(&first.of(&data), &second.of(&data)), "a large file is linked");
        assert!(!is_same_file(&first.of(&program), &second.of(&program)), "a small one is copied");
        // What a program writes over a small input stays in its study.
        std::fs::write(first.of(&program), "print(2)").unwrap();
        assert_eq!(std::fs::read_to_string(second.of(&program)).unwrap(), "print(1)");
        assert_eq!(machines.start().1, [""; 0]);
        // A file that one study has and the other does not.
        std::fs::remove_file(&data).unwrap();
        machines.study = "3";
        let third = machines.start().0.unwrap();
        assert!(!third.of(&data).exists() && first.of(&data).exists());
        // A large file that was damaged on the node is copied again, and each study gets the right one.
        let (node, here) = (machines.node.path().join(STORE), machines.here.path());
        std::fs::write(here.join("data/a.csv"), vec![7; LINKED as usize + 1]).unwrap();
        std::fs::write(stored(&node, &NeededFile::of(&data).unwrap()), "damaged").unwrap();
        assert_eq!(machines.start().1, ["a.csv"]);
        machines.study = "1";
        assert_eq!(std::fs::metadata(first.of(&data)).unwrap().len(), 7);
        assert_eq!(machines.start().1, [""; 0]);
        assert_eq!(std::fs::metadata(first.of(&data)).unwrap().len(), LINKED + 1);
    }

    #[test]
    fn two_files_with_the_same_contents_are_copied_once_unless_one_is_a_program() {
        let machines = Machines::new();
        let path = |name: &str| machines.here.path().join(name);
        std::fs::write(path("data/a.csv"), "print(1)").unwrap();
        assert_eq!(machines.start().1, ["train.py"]);
        std::fs::set_permissions(path("data/a.csv"), Permissions::from_mode(0o755)).unwrap();
        let (mirror, asked) = machines.start();
        assert_eq!(asked, ["a.csv"]);
        drop(mirror.unwrap());
    }

    #[test]
    fn paths_of_copied_files_are_mapped_and_others_are_not() {
        let machines = Machines::new();
        let (needs, copied) = machines.needs();
        let mirror = Mirror::new(&needs, &copied, Path::new("/cache"));
        let here = machines.here.path().display();
        let root = mirror.root.display().to_string();
        assert!(root.starts_with("/cache/mirror/here/"), "{root}");
        let twice = mirror.text(&mirror.text(&format!("{here}/train.py")));
        assert_eq!(twice, format!("{root}{here}/train.py"));
        assert_eq!(mirror.text("/usr/bin/python3"), "/usr/bin/python3");
        assert_eq!(mirror.text("data/a.csv"), "data/a.csv");
        assert_eq!(mirror.of(Path::new("/a/../../b/c")), mirror.root.join("b/c"));
        assert_eq!(mirror.text(&format!("--in={here}/data/a.csv")), format!("--in={root}{here}/data/a.csv"));
        assert_eq!(mirror.text(&format!("{here}/new=1")), format!("{root}{here}/new=1"));
        let loaded = |path: &str| Event::Loaded {
            trial: tunebook_study::protocol::TrialId { study: "s".into(), number: 1 },
            data: vec![tunebook_study::protocol::DataSource { path: path.into(), sha256: "0".into() }],
            validation: None,
        };
        assert_eq!(mirror.event(loaded(&format!("{root}/a/b"))), loaded("/a/b"));
        assert_eq!(mirror.event(loaded("/a/b")), loaded("/a/b"));
        let environment = mirror.environment(&[("LD_LIBRARY_PATH".into(), Some("/own".into()))]);
        assert_eq!(environment[1].1.as_deref(), Some(format!("{root}/x/lib:/own").as_str()));
    }

    /// Gives a file the date that it had so many days ago.
    fn make_older(path: &Path, days: u64) {
        let date = SystemTime::now() - std::time::Duration::from_secs(days * 86_400 + 60);
        File::open(path).unwrap().set_modified(date).unwrap();
    }

    /// Waits until the trash is empty, which another thread does.
    fn until_deleted(base: &Path) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while base.join("trash").read_dir().is_ok_and(|mut left| left.next().is_some()) {
            assert!(std::time::Instant::now() < deadline, "the trash is not empty");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    #[test]
    fn a_mirror_that_nobody_uses_is_removed_after_two_weeks() {
        let mut machines = Machines::new();
        let base = machines.node.path().to_path_buf();
        let used = machines.start().0.unwrap();
        machines.study = "2";
        let first = machines.start().0.unwrap();
        let (root, lock) = (first.root.clone(), first.root.with_extension("lock"));
        let (needs, copied) = machines.needs();
        let clean = || {
            // As if the last cleaning were long ago.
            make_older(&base.join("cleaned"), 2);
            let mut input = std::io::empty();
            drop(receive(&needs, &Copied { study: "3".into(), ..copied.clone() }, &base, &mut input, |_| ()).unwrap());
            until_deleted(&base);
        };
        // A slot uses it.
        make_older(&lock, 15);
        make_older(&used.root.with_extension("lock"), 15);
        clean();
        assert!(root.exists());
        drop(first);
        // It has a checkpoint.
        let trial = root.join("trial");
        std::fs::create_dir_all(&trial).unwrap();
        std::fs::write(trial.join("resume.safetensors"), "").unwrap();
        make_older(&trial.join("resume.safetensors"), 80);
        clean();
        assert!(root.exists());
        // The checkpoint is too old, and the mirror was used lately.
        make_older(&trial.join("resume.safetensors"), 91);
        make_older(&lock, 13);
        clean();
        assert!(root.exists());
        make_older(&lock, 15);
        // Only once a day.
        let other = Copied { study: "4".into(), ..copied.clone() };
        drop(receive(&needs, &other, &base, &mut std::io::empty(), |_| ()).unwrap());
        assert!(root.exists());
        clean();
        assert!(!root.exists() && !lock.exists() && !root.with_extension("json").exists());
        assert!(used.root.exists(), "a slot that runs keeps its mirror");
    }

    #[test]
    fn contents_and_executables_that_nobody_needs_are_removed_after_two_weeks() {
        let machines = Machines::new();
        let base = machines.node.path().to_path_buf();
        let (needs, mut copied) = machines.needs();
        machines.start().0.unwrap();
        let [own, other] = ["0", "f"].map(|digit| cleaning::executable(&base, &digit.repeat(64)));
        copied.executable.sha256 = "0".repeat(64);
        for (path, days) in [(&own, 15), (&other, 13)] {
            std::fs::write(path, "").unwrap();
            make_older(path, days);
        }
        let store = base.join(STORE);
        let index = store.with_extension("json");
        let [program, data] = [0, 1].map(|i| stored(&store, &needs.files[i]));
        // Only the program is needed, and both were used long ago.
        let few = Needs { files: vec![needs.files[0].clone()], ..needs };
        let clean = || {
            make_older(&base.join("cleaned"), 2);
            drop(receive(&few, &copied, &base, &mut std::io::empty(), |_| ()).unwrap());
        };
        clean();
        assert!(data.exists() && other.exists());
        let mut known: serde_json::Value = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
        for (path, entry) in known.as_object_mut().unwrap() {
            let days = if Path::new(path) == data { 13 } else { 15 };
            entry[0]["used"] = (cleaning::seconds(SystemTime::now()) - days * 86_400).into();
        }
        std::fs::write(&index, known.to_string()).unwrap();
        clean();
        assert!(data.exists(), "it was needed 13 days ago");
        make_older(&other, 15);
        known[data.to_str().unwrap()][0]["used"] = 1.into();
        std::fs::write(&index, known.to_string()).unwrap();
        clean();
        assert!(!data.exists() && program.exists());
        assert!(!other.exists() && own.exists());
        // What another version has written has no dates. Then they are counted from now on.
        std::fs::write(&data, "1,2").unwrap();
        std::fs::write(&index, "{}").unwrap();
        clean();
        assert!(data.exists());
    }

    #[test]
    fn a_full_disk_gets_room_once_and_the_file_is_whole() {
        /// A file on a disk that is full after ten bytes, until there is room.
        struct Full<'a>(std::io::Cursor<Vec<u8>>, &'a std::cell::Cell<bool>);
        impl Write for Full<'_> {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                let room = if self.1.get() { usize::MAX } else { 10 - self.0.position() as usize };
                match bytes.len().min(room) {
                    0 => Err(ErrorKind::StorageFull.into()),
                    most => self.0.write(&bytes[..most]),
                }
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        impl Seek for Full<'_> {
            fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
                self.0.seek(to)
            }
        }
        let bytes = b"0123456789abcdef";
        for helps in [true, false] {
            let (mut written, mut asked, room) = (vec![], 0, std::cell::Cell::new(false));
            let mut full = Full(std::io::Cursor::new(vec![]), &room);
            let make_room = || {
                asked += 1;
                room.set(helps);
                true
            };
            let received = write_bytes(16, &mut full, make_room, &mut bytes.as_slice());
            written.extend(full.0.into_inner());
            assert_eq!((received.is_ok(), asked), (helps, 1));
            assert!(!helps || written == bytes);
        }

        // Room is what nobody uses, also if it is less than two weeks old.
        let mut machines = Machines::new();
        std::fs::write(machines.here.path().join("data/a.csv"), vec![7; LINKED as usize + 1]).unwrap();
        let base = machines.node.path().to_path_buf();
        let first = machines.start().0.unwrap();
        let (needs, _) = machines.needs();
        machines.study = "2";
        let second = machines.start().0.unwrap();
        let store = base.join(STORE);
        let mut known = Known::read(store.with_extension("json"));
        let needed = BTreeSet::from([stored(&store, &needs.files[0])]);
        let (mirror, executable) = (&second.root, &second.executable);
        let cleaner = Cleaner { base: &base, store: &store, mirror, executable, needed };
        let large = stored(&store, &needs.files[1]);
        let later = SystemTime::now() + std::time::Duration::from_secs(2 * 60 * 60);
        cleaner.make_room(&mut known, later);
        assert!(first.root.exists() && large.exists(), "a slot uses them");
        let root = first.root.clone();
        drop(first);
        std::fs::remove_file(second.of(&needs.files[1].path)).unwrap();
        cleaner.make_room(&mut known, SystemTime::now());
        assert!(root.exists(), "it may be used on another machine, whose locks are not seen here");
        cleaner.make_room(&mut known, later);
        assert!(!root.exists() && !large.exists());
        assert!(stored(&store, &needs.files[0]).exists() && second.root.exists());
    }
}
