//! `tunebook replay FILE.zip`: unpacks a bundle that `%report --bundle` wrote, runs its studies again there, and says
//! whether the numbers are the same.

use super::cell::{Ended, StopSignals};
use super::kernel_process::KernelProcess;
use super::magic::{line, shown};
use super::terminal::{say, text_columns};
use anyhow::{Context as _, anyhow, bail};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tunebook_magics::TEXT_COLUMNS;
use zip::ZipArchive;

/// The exit status after an interrupt.
const INTERRUPTED: u8 = 130;

/// Whether a word names a bundle.
pub fn is_bundle(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zip"))
}

/// What is replayed.
#[derive(Default)]
struct Request {
    file: PathBuf,
    /// The one study to replay. None for all.
    study: Option<String>,
    /// Where the bundle is unpacked. None for a folder that is removed at the end.
    to: Option<PathBuf>,
    as_json: bool,
    /// Options of `%replay`.
    options: Vec<String>,
}

impl Request {
    fn of(words: &[String]) -> anyhow::Result<Self> {
        let mut request = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (name, joined) =
                word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
            let mut value = || match joined {
                Some(value) => Ok(value.to_string()),
                None => words.next().cloned().with_context(|| format!("`{name}` needs a value")),
            };
            match name {
                "--json" => request.as_json = true,
                "--study" => request.study = Some(value()?),
                "--to" => request.to = Some(value()?.into()),
                _ if is_bundle(Path::new(word)) && request.file.as_os_str().is_empty() => request.file = word.into(),
                _ => request.options.push(word.clone()),
            }
        }
        Ok(request)
    }
}

/// Replays the studies of a bundle. The exit status is 0 if all values are the same, and 1 if not.
pub async fn replay(words: &[String]) -> anyhow::Result<ExitCode> {
    let request = Request::of(words)?;
    let temporary = tempfile::tempdir().context("a temporary folder cannot be made")?;
    let folder = match &request.to {
        Some(folder) => {
            let is_empty = |folder: &Path| folder.read_dir().is_ok_and(|mut entries| entries.next().is_none());
            if folder.exists() && !is_empty(folder) {
                bail!("{} is not an empty folder", folder.display());
            }
            std::path::absolute(folder)?
        }
        None => temporary.path().to_path_buf(),
    };
    let Unpacked { studies, imported } = unpack(&request.file, &folder)?;
    let studies = match request.study {
        Some(name) if !studies.contains(&name) => {
            bail!("the bundle has no study `{name}`; it has {}", studies.join(", "))
        }
        Some(name) => vec![name],
        None => of_here(&request.file, studies, &imported)?,
    };
    let project = folder.join("project");
    std::fs::create_dir_all(&project)?;
    let store = folder.join("studies.db");
    let columns = text_columns();
    let environment =
        [(tunebook_study::store::STUDIES, store.as_os_str()), (TEXT_COLUMNS, OsStr::new(columns.as_str()))];
    let mut kernel = KernelProcess::start(&project, &environment).await?;
    let mut stop = StopSignals::new()?;
    let mut code: u8 = 0;
    for name in &studies {
        let words: Vec<String> = [name.clone()].into_iter().chain(request.options.iter().cloned()).collect();
        let (ended, result) = shown(&mut kernel, &line("%replay", &words)?, request.as_json, &mut stop).await?;
        match (ended, result) {
            (Ended::Interrupted, _) => code = INTERRUPTED,
            (Ended::Done, Some(result)) if result["same"] == true => {}
            (Ended::Done, Some(_)) => code = code.max(1),
            _ => code = code.max(2),
        }
        if code >= 2 {
            break;
        }
    }
    kernel.end().await;
    if let Some(folder) = &request.to {
        say(&format!("The bundle and the store with the new runs are in {}.", folder.display()));
    }
    Ok(ExitCode::from(code))
}

/// The studies of a bundle without the imported ones. An error if there are no others.
fn of_here(file: &Path, studies: Vec<String>, imported: &[String]) -> anyhow::Result<Vec<String>> {
    let (left_out, kept): (Vec<String>, Vec<String>) = studies.into_iter().partition(|name| imported.contains(name));
    if kept.is_empty() {
        bail!(
            "{} has imported studies only ({}): what trained their trials is not recorded, so nothing can run again. \
             Unpack it, and open the record with `%env TUNEBOOK_STUDIES=…/studies.db` in a notebook",
            file.display(),
            left_out.join(", ")
        );
    }
    for name in left_out {
        say(&format!("Left out: {name} was imported, so its trials cannot run again."));
    }
    Ok(kept)
}

/// What a bundle holds.
struct Unpacked {
    /// The names of all studies.
    studies: Vec<String>,
    /// Those that were imported.
    imported: Vec<String>,
}

/// Unpacks a bundle, and returns the names of its studies.
fn unpack(file: &Path, folder: &Path) -> anyhow::Result<Unpacked> {
    let shown = file.display();
    let open = File::open(file).with_context(|| format!("{shown} cannot be read"))?;
    let mut archive = ZipArchive::new(open).map_err(|_| {
        anyhow!(
            "{shown} is not a ZIP file, or is damaged. Copy or download it again, or write it again with `%report NAME \
             --to FILE.html --bundle FILE.zip`"
        )
    })?;
    let manifest: Value = match archive.by_name("manifest.json") {
        Ok(manifest) => serde_json::from_reader(manifest).with_context(|| format!("the manifest of {shown}"))?,
        Err(_) => bail!("{shown} is not a bundle of Tunebook: it has no manifest.json"),
    };
    if manifest["version"] != 1 {
        bail!("{shown} was written by a newer Tunebook; update Tunebook to replay it");
    }
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at)?;
        // A name that leads out of the folder is not followed.
        let Some(name) = entry.enclosed_name().filter(|_| entry.is_file()) else { continue };
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
        let mut to = File::create(&path).with_context(|| format!("{} cannot be written", path.display()))?;
        std::io::copy(&mut entry, &mut to).with_context(|| format!("{} cannot be unpacked", path.display()))?;
    }
    let names = |field: &str| -> Vec<String> {
        let names = manifest[field].as_array().into_iter().flatten().filter_map(Value::as_str);
        names.map(String::from).collect()
    };
    let studies = names("studies");
    if studies.is_empty() {
        bail!("{shown} holds no study");
    }
    Ok(Unpacked { studies, imported: names("imported") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imported_studies_are_not_replayed() {
        let owned = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let of = |studies: &[&str], imported: &[&str]| of_here(Path::new("b.zip"), owned(studies), &owned(imported));
        assert_eq!(of(&["a", "b", "c"], &["b"]).unwrap(), ["a", "c"]);
        let error = of(&["a", "b"], &["a", "b"]).unwrap_err().to_string();
        assert!(error.contains("b.zip has imported studies only (a, b)"), "{error}");
    }

    #[test]
    fn a_damaged_file_is_said_to_be_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("b.zip");
        std::fs::write(&file, "PK").unwrap();
        let error = unpack(&file, folder.path()).map(|unpacked| unpacked.studies).unwrap_err().to_string();
        assert!(error.contains("is damaged. Copy or download it again"), "{error}");
    }
}
