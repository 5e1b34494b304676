//! libtorch 2.11.0: found, or fetched once into the user's cache, and linked as `.libtorch`, which is where
//! `.cargo/config.toml` points every build.

use crate::places::{cache, repository};
use crate::python;
use crate::steps::{output_of, run, say};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version that tch 0.24 is made for.
pub const VERSION: &str = "2.11.0";
/// What libtorch_cpu.so needs beside itself, even where there is no GPU.
const CUDA_STUBS: [(&str, &str); 2] = [("nvidia-cuda-runtime", "13.0.96"), ("nvidia-cuda-cupti", "13.0.85")];

/// Makes sure that `.libtorch` leads to a libtorch. Does nothing where it does already.
pub fn prepare() -> Result<()> {
    let link = repository().join(".libtorch");
    let wanted = wanted(&link)?;
    if is_libtorch(&link) && wanted.as_ref().is_none_or(|path| same(path, &link)) {
        return Ok(());
    }
    let found = match wanted {
        Some(path) => {
            say(&format!("libtorch: using LIBTORCH ({})", path.display()));
            path
        }
        None => cached_or_fetched()?,
    };
    if fs::symlink_metadata(&link).is_ok() {
        fs::remove_file(&link).with_context(|| format!("the link {} cannot be replaced", link.display()))?;
    }
    symlink(&found, &link).with_context(|| format!("the link {} cannot be made", link.display()))?;
    Ok(())
}

/// A libtorch that the user named in LIBTORCH. Cargo sets it too, to the link itself, which names nothing.
fn wanted(link: &Path) -> Result<Option<PathBuf>> {
    let Some(path) = std::env::var_os("LIBTORCH").map(PathBuf::from) else { return Ok(None) };
    if path == link || same(&path, link) {
        return Ok(None);
    }
    if !is_libtorch(&path) {
        bail!(
            "LIBTORCH is {}, and there is no lib/libtorch_cpu.so in it; unset it, or name a libtorch {VERSION}",
            path.display()
        );
    }
    Ok(Some(path))
}

fn same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn is_libtorch(path: &Path) -> bool {
    path.join("lib/libtorch_cpu.so").exists() && path.join("include/torch/csrc/api/include/torch/torch.h").exists()
}

fn cached_or_fetched() -> Result<PathBuf> {
    let cached = cache()?.join(format!("libtorch-{VERSION}"));
    if is_libtorch(&cached) {
        return Ok(cached);
    }
    if let Some(torch) = installed_torch(&python::system()?) {
        say(&format!("libtorch: using the PyTorch {VERSION} in {}", torch.display()));
        return linked(&torch, &cached);
    }
    if Path::new("/proc/driver/nvidia/version").exists() {
        say(&format!("libtorch: installing PyTorch {VERSION} with CUDA (about 6 GB; once)"));
        let venv = python::environment("venv-torch", &[format!("torch=={VERSION}")])?;
        let torch = installed_torch(&venv).context("PyTorch was installed, but cannot be found")?;
        return linked(&torch, &cached);
    }
    say(&format!("libtorch: fetching {VERSION} for the CPU (530 MB; once)"));
    fetch(&cached)?;
    Ok(cached)
}

/// The folder of an installed PyTorch of the right version.
fn installed_torch(python: &Path) -> Option<PathBuf> {
    let script = "import importlib.metadata as m, importlib.util as u; print(m.version('torch')); \
                  print(u.find_spec('torch').submodule_search_locations[0])";
    let answer = output_of(Command::new(python).args(["-c", script])).ok()?;
    let (version, folder) = answer.trim().split_once('\n')?;
    let folder = PathBuf::from(folder.trim());
    (version.trim().split('+').next() == Some(VERSION) && is_libtorch(&folder)).then_some(folder)
}

/// A folder that leads to an installed PyTorch and says its version, as torch-sys wants it.
fn linked(torch: &Path, cached: &Path) -> Result<PathBuf> {
    fs::create_dir_all(cached)?;
    for part in ["lib", "include"] {
        let link = cached.join(part);
        if fs::symlink_metadata(&link).is_err() {
            symlink(torch.join(part), link)?;
        }
    }
    fs::write(cached.join("build-version"), VERSION)?;
    Ok(cached.to_path_buf())
}

/// Fetches the wheels and takes out of them what the CPU needs.
fn fetch(cached: &Path) -> Result<()> {
    let parent = cached.parent().context("the cache has no parent folder")?;
    let wheels = parent.join("wheels");
    fs::create_dir_all(&wheels)?;
    let python = python::system()?;
    let mut packages = vec![format!("torch=={VERSION}")];
    packages.extend(CUDA_STUBS.map(|(name, version)| format!("{name}=={version}")));
    let advice =
        "It needs a connection to the Python package index and 1.5 GB of free space; run the command again to go on";
    // The wheel of another Python serves as well: nothing of it is Python.
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--python-version", "3.11", "--dest"]);
    run(
        pip.arg(&wheels)
            .args(["--platform", "manylinux_2_28_x86_64", "--platform", "manylinux_2_17_x86_64"])
            .args(["--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_25_x86_64"])
            .args(&packages),
        advice,
    )?;
    say("libtorch: unpacking");
    let partial = parent.join(format!("libtorch-{VERSION}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(partial.join("lib"))?;
    let script = include_str!("unpack.py");
    run(
        Command::new(&python).args(["-c", script]).arg(&wheels).arg(&partial),
        "Free some space and run the command again",
    )?;
    // tch's link line asks for libtorch.so; the real one drags in CUDA, and an empty one is dropped again by the linker.
    let empty = partial.join("empty.c");
    fs::write(&empty, "")?;
    let mut cc = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
    cc.args(["-shared", "-Wl,-soname,libtorch.so", "-o"]).arg(partial.join("lib/libtorch.so")).arg(&empty);
    run(&mut cc, "A C and C++ compiler is needed: install g++ (or clang)")?;
    fs::remove_file(&empty)?;
    fs::write(partial.join("build-version"), VERSION)?;
    if cached.exists() {
        fs::remove_dir_all(cached)?;
    }
    fs::rename(&partial, cached)?;
    fs::remove_dir_all(&wheels).context("the downloaded wheels cannot be removed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_the_library_is_no_libtorch() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_libtorch(folder.path()));
        for file in ["lib/libtorch_cpu.so", "include/torch/csrc/api/include/torch/torch.h"] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        assert!(is_libtorch(folder.path()));
    }

    #[test]
    fn an_installed_pytorch_is_linked_with_its_version() {
        let folder = tempfile::tempdir().unwrap();
        let (torch, cached) = (folder.path().join("torch"), folder.path().join("cached"));
        fs::create_dir_all(torch.join("lib")).unwrap();
        fs::create_dir_all(torch.join("include")).unwrap();
        linked(&torch, &cached).unwrap();
        linked(&torch, &cached).expect("a second call finds the links there");
        assert_eq!(fs::read_to_string(cached.join("build-version")).unwrap(), VERSION);
        assert!(same(&cached.join("lib"), &torch.join("lib")));
    }
}
