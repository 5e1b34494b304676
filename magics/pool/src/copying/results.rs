//! The files of a trial on their way back from a node: the log, checkpoints, series. Each is a line that announces it,
//! and then its bytes.

use super::{CHUNK, megabytes, read_some};
use crate::node::FromSlot;
use crate::slot_process::Said;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufRead, Error, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};
use tunebook_study::protocol::TrialId;

/// A larger file stays on the node.
const SMALL: u64 = 10 << 20;
/// A larger checkpoint stays on the node.
const LARGE: u64 = 4 << 30;
/// At most so many files of a trial come back.
const FILES: usize = 1000;
/// While a file comes in, the slot is known to be alive. That is said this often.
const ALIVE: Duration = Duration::from_secs(5);

const LOG: &str = "log.txt";

/// Sends the files of a trial, whose copies are in `folder`. If the trial was `cancelled`, somebody waits for its end,
/// and checkpoints come back only if they are small. What stays is named in the log, which comes last.
pub(crate) fn send_back(trial: &TrialId, folder: &Path, cancelled: bool) {
    let mut files = vec![];
    collect(folder, Path::new(""), &mut files);
    files.sort();
    let all = files.len();
    files.truncate(FILES);
    let mut stays = vec![];
    if all > FILES {
        stays.push(format!("{} of its {all} files", all - FILES));
    }
    for (name, size) in files {
        let is_checkpoint = name.extension().is_some_and(|extension| extension == "safetensors");
        let most = if is_checkpoint && !cancelled { LARGE } else { SMALL };
        if size > most {
            stays.push(format!("{} ({} MB)", name.display(), megabytes(size)));
        } else {
            send_file(trial, folder, &name, size);
        }
    }
    let log = folder.join(LOG);
    if !stays.is_empty()
        && let Ok(mut file) = OpenOptions::new().append(true).open(&log)
    {
        let limits = "files of up to 10 MiB are copied back, and checkpoints (.safetensors) of up to 4 GiB";
        let _ = writeln!(file, "[tunebook: {} stayed in {}; {limits}]", stays.join(", "), folder.display());
    }
    if let Ok(metadata) = log.metadata() {
        send_file(trial, folder, Path::new(LOG), metadata.len());
    }
}

/// The files below a folder with their sizes, without the log and what only a trial that runs again needs.
fn collect(folder: &Path, below: &Path, files: &mut Vec<(PathBuf, u64)>) {
    for entry in std::fs::read_dir(folder.join(below)).into_iter().flatten().flatten() {
        let name = below.join(entry.file_name());
        let Ok(metadata) = entry.metadata() else { continue };
        let is_own = name == Path::new(LOG) || name == Path::new("resume.safetensors");
        let is_partial = name.extension().is_some_and(|extension| extension == "partial");
        if metadata.is_dir() {
            collect(folder, &name, files);
        } else if metadata.is_file() && !is_own && !is_partial && name.to_str().is_some() {
            files.push((name, metadata.len()));
        }
    }
}

fn send_file(trial: &TrialId, folder: &Path, name: &Path, size: u64) {
    let Ok(file) = File::open(folder.join(name)) else { return };
    let announced = FromSlot::File { trial: trial.clone(), name: name.into(), size };
    let Ok(mut line) = serde_json::to_vec(&announced) else { return };
    line.push(b'\n');
    // Locked, so that no other message comes between the bytes. If a write fails, the pool is gone.
    let mut stdout = std::io::stdout().lock();
    // A file that was cut off meanwhile is filled up: the pool waits for so many bytes.
    let mut bytes = file.chain(std::io::repeat(0)).take(size);
    let sent = stdout.write_all(&line).and_then(|()| std::io::copy(&mut bytes, &mut stdout));
    let _ = sent.and_then(|_| stdout.flush());
}

/// Receives a file that a slot has announced, and puts it into the folder `trial_folder` here. An outer error means
/// that the slot cannot be understood any more; an inner one, that the file could not be kept. `say` passes on that the
/// slot is there.
pub(crate) fn receive(
    trial_folder: &Path,
    name: &Path,
    size: u64,
    input: &mut impl BufRead,
    mut say: impl FnMut(Said),
) -> Result<Result<(), String>, String> {
    let is_inside = name.components().all(|part| matches!(part, Component::Normal(_))) && name.file_name().is_some();
    if !is_inside || size > LARGE {
        return Err(format!("it sent {} ({size} bytes), which is no file of its trial", name.display()));
    }
    let path = trial_folder.join(name);
    let mut partial = path.clone().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut file = create(&partial);
    let (mut chunk, mut left, mut said) = (vec![0; CHUNK], size, Instant::now());
    while left > 0 {
        let Ok(Some(read)) = read_some(input, &mut chunk, left) else {
            drop(std::fs::remove_file(&partial));
            return Err(format!("it ended while it sent {}", name.display()));
        };
        left -= read as u64;
        // If it cannot be written, the rest is read all the same: messages follow.
        file = file.and_then(|mut file| file.write_all(&chunk[..read]).map(|()| file));
        if said.elapsed() > ALIVE {
            say(Said::Node(FromSlot::Alive));
            said = Instant::now();
        }
    }
    let kept = file.and_then(|_| std::fs::rename(&partial, &path));
    Ok(kept.map_err(|error: Error| {
        let _ = std::fs::remove_file(&partial);
        format!("{} cannot be written: {error}", path.display())
    }))
}

/// Creates a file with its folder. Only their owner can read them.
fn create(path: &Path) -> std::io::Result<File> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_into_the_folder_of_their_trial_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let trial = folder.path().join("3");
        let take = |name: &str, size, mut bytes: &[u8]| receive(&trial, Path::new(name), size, &mut bytes, |_| {});
        assert_eq!(take("sub/a.txt", 3, b"abcd"), Ok(Ok(())));
        assert_eq!(std::fs::read(trial.join("sub/a.txt")).unwrap(), b"abc");
        for name in ["../x", "/x", "a/../../x", ""] {
            assert!(take(name, 1, b"x").unwrap_err().contains("no file of its trial"), "{name}");
        }
        assert!(take("a", LARGE + 1, b"x").is_err());
        assert!(take("cut.txt", 3, b"ab").unwrap_err().contains("ended while it sent"));
        assert!(take("sub", 1, b"x").unwrap().unwrap_err().contains("cannot be written"), "a folder has this name");
        assert_eq!(std::fs::read_dir(&trial).unwrap().count(), 1, "nothing else is left");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_only_a_trial_that_runs_again_needs_stays() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        for name in ["log.txt", "resume.safetensors", "best.safetensors", "x.partial", "sub/y.npy"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let mut files = vec![];
        collect(folder.path(), Path::new(""), &mut files);
        files.sort();
        assert_eq!(files, [("best.safetensors".into(), 16), ("sub/y.npy".into(), 9)]);
    }
}
