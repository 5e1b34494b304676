//! Sends files to a slot, on the thread that reads what the slot says. Until the slot is ready, this thread owns its
//! standard input.

use super::{CHUNK, Copied, megabytes, read_some, results, script};
use crate::node::{FromSlot, NeededFile, Needs, ToSlot};
use crate::slot_process::{Line, Said};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ChildStdin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tunebook_study::protocol::{Event, TrialId, VERSION};

/// How often it is said how far the copying is.
const PROGRESS: Duration = Duration::from_millis(500);

/// The side of the pool in the copying for one slot.
pub(crate) struct Copier {
    needs: Arc<Needs>,
    copied: Copied,
    /// The standard input of the slot, until it is ready or does not read any more.
    stdin: Option<ChildStdin>,
    /// Where it goes then.
    line: Arc<Mutex<Line>>,
    /// The number of the trial that the slot runs, or 0.
    trial: Arc<AtomicU32>,
    /// Why files of that trial could not be kept here.
    not_kept: Option<String>,
    /// Why the slot cannot go on.
    pub(crate) trouble: Option<String>,
}

/// Why sending ends.
enum Stopped {
    /// The slot does not read any more, or is not wanted any more. If there is more to know, it says so itself.
    Gone,
    /// Something is wrong here.
    Here(String),
}

/// How far the copying for one slot is.
struct Progress {
    files: (usize, usize),
    bytes: (u64, u64),
    shown: Option<Instant>,
}

impl Progress {
    fn new(files: &[&NeededFile]) -> Self {
        Self { files: (0, files.len()), bytes: (0, files.iter().map(|file| file.size).sum()), shown: None }
    }

    /// In words, if that is due.
    fn words(&mut self) -> Option<String> {
        if self.shown.is_some_and(|shown| shown.elapsed() < PROGRESS) {
            return None;
        }
        self.shown = Some(Instant::now());
        let ((file, files), (sent, bytes)) = (self.files, self.bytes);
        let what = if files == 1 { "file" } else { "files" };
        Some(format!("copying {file} of {files} {what} ({} of {} MB)", megabytes(sent), megabytes(bytes)))
    }
}

impl Copier {
    pub(crate) fn new(
        needs: Arc<Needs>,
        copied: Copied,
        mut stdin: ChildStdin,
        line: Arc<Mutex<Line>>,
        trial: Arc<AtomicU32>,
    ) -> Self {
        // If this fails, the process has ended, which is noticed elsewhere.
        let _ = stdin.write_all(script::GO);
        Self { needs, copied, stdin: Some(stdin), line, trial, not_kept: None, trouble: None }
    }

    /// Does what the slot asks for. Returns what else its message means. `output` is what the slot says next, and `say`
    /// tells the pool how things stand.
    pub(crate) fn hear(&mut self, said: Said, output: &mut impl BufRead, mut say: impl FnMut(Said)) -> Option<Said> {
        match said {
            Said::Node(FromSlot::SendExecutable) => {
                let executable = self.copied.executable.clone();
                self.send(&[&executable], false, &mut say);
                None
            }
            Said::Event(Event::Hello { protocol: VERSION, .. }) => {
                let needs = Box::new(Needs::clone(&self.needs));
                let begun = self.write_line(&ToSlot::Begin(needs));
                self.finish_sending(begun);
                Some(said)
            }
            Said::Node(FromSlot::SendFiles { paths }) => {
                self.send_files(&paths, &mut say);
                None
            }
            Said::Node(FromSlot::Ready { .. }) => {
                let mut line = self.line.lock();
                if let (Line::Lent, Some(stdin)) = (&*line, self.stdin.take()) {
                    *line = Line::Open(stdin);
                }
                drop(line);
                Some(said)
            }
            Said::Node(FromSlot::File { trial, name, size }) => {
                self.receive(&trial, &name, size, output, say);
                None
            }
            Said::Event(Event::Ended { trial, state, reason, seconds, unreported }) => {
                let reason = match (reason, self.not_kept.take()) {
                    (Some(reason), Some(not_kept)) => Some(format!("{reason}; {not_kept}")),
                    (reason, not_kept) => reason.or(not_kept),
                };
                Some(Said::Event(Event::Ended { trial, state, reason, seconds, unreported }))
            }
            other => Some(other),
        }
    }

    /// Sends files that the slot has asked for. It gets none but those that it was told of.
    fn send_files(&mut self, paths: &[PathBuf], say: &mut impl FnMut(Said)) {
        let needs = self.needs.clone();
        let known: HashMap<&Path, &NeededFile> = needs.files.iter().map(|file| (file.path.as_path(), file)).collect();
        let mut files = vec![];
        for path in paths {
            match known.get(path.as_path()) {
                Some(file) => files.push(*file),
                None => {
                    let trouble = format!("it asked for {}, which it does not need", path.display());
                    return self.finish_sending(Err(Stopped::Here(trouble)));
                }
            }
        }
        self.send(&files, true, say);
    }

    /// Sends files one after the other, each after a line about it if `announced`.
    fn send(&mut self, files: &[&NeededFile], announced: bool, say: &mut impl FnMut(Said)) {
        let mut progress = Progress::new(files);
        let sent = files.iter().try_for_each(|file| {
            progress.files.0 += 1;
            self.send_file(file, announced, &mut progress, say)
        });
        self.finish_sending(sent);
    }

    fn send_file(
        &mut self,
        needed: &NeededFile,
        announced: bool,
        progress: &mut Progress,
        say: &mut impl FnMut(Said),
    ) -> Result<(), Stopped> {
        let shown = needed.path.display();
        let unreadable = |error: std::io::Error| Stopped::Here(format!("{shown} cannot be read here: {error}"));
        let mut file = File::open(&needed.path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        let changed = || {
            let advice = "run the sweep again with `--resume`";
            Stopped::Here(format!("{shown} has changed here since the sweep began; {advice}"))
        };
        if metadata.len() != needed.size {
            return Err(changed());
        }
        if announced {
            let (path, sha256) = (needed.path.clone(), needed.sha256.clone());
            let mode = metadata.permissions().mode() & 0o777;
            self.write_line(&ToSlot::File { path, size: needed.size, mode, sha256 })?;
        }
        let (mut chunk, mut left) = (vec![0; CHUNK], needed.size);
        while left > 0 {
            if let Some(words) = progress.words() {
                say(Said::Copying(words));
            }
            let read = read_some(&mut file, &mut chunk, left).map_err(unreadable)?.ok_or_else(changed)?;
            self.write(&chunk[..read])?;
            left -= read as u64;
            progress.bytes.0 += read as u64;
        }
        Ok(())
    }

    fn write_line(&mut self, message: &ToSlot) -> Result<(), Stopped> {
        let mut line = serde_json::to_vec(message).map_err(|error| Stopped::Here(error.to_string()))?;
        line.push(b'\n');
        self.write(&line)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Stopped> {
        // The pool may have ended the slot meanwhile.
        let is_wanted = matches!(&*self.line.lock(), Line::Lent);
        let stdin = self.stdin.as_mut().filter(|_| is_wanted).ok_or(Stopped::Gone)?;
        stdin.write_all(bytes).and_then(|()| stdin.flush()).map_err(|_| Stopped::Gone)
    }

    /// After an error, the slot reads the end of its standard input, and ends.
    fn finish_sending(&mut self, sent: Result<(), Stopped>) {
        let Err(stopped) = sent else { return };
        if self.stdin.take().is_some() {
            *self.line.lock() = Line::Closed;
        }
        if let Stopped::Here(trouble) = stopped {
            self.trouble.get_or_insert(trouble);
        }
    }

    fn receive(&mut self, trial: &TrialId, name: &Path, size: u64, output: &mut impl BufRead, say: impl FnMut(Said)) {
        let running = self.trial.load(Ordering::Acquire);
        let received = if trial.number == running {
            let folder = self.copied.trials.join(running.to_string());
            results::receive(&folder, name, size, output, say)
        } else {
            Err(format!("it sent a file of trial {}, which it does not run", trial.number))
        };
        match received {
            Ok(Ok(())) => {}
            Ok(Err(not_kept)) => drop(self.not_kept.get_or_insert(not_kept)),
            // The bytes that follow are no messages.
            Err(trouble) => self.finish_sending(Err(Stopped::Here(trouble))),
        }
    }
}
