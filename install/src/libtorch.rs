//! Finds libtorch 2.11.0, or fetches it once into the cache folder, and makes the link `.libtorch` to it.
//! `.cargo/config.toml` tells every build to use that link.

use crate::places::{cache, repository};
use crate::python;
use crate::steps::{output_of, run, say};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version of libtorch that tch 0.24 binds to.
const VERSION: &str = "2.11.0";
/// Python packages of CUDA libraries that libtorch_cpu.so is linked to. It cannot be loaded without them, even if there
/// is no GPU.
const CUDA_LIBRARIES: [(&str, &str); 2] = [("nvidia-cuda-runtime", "13.0.96"), ("nvidia-cuda-cupti", "13.0.85")];

/// Makes sure that the link `.libtorch` leads to a libtorch.
pub fn prepare() -> Result<()> {
    let link = repository().join(".libtorch");
    let named = named_by_user(&link)?;
    if is_libtorch(&link) && named.as_ref().is_none_or(|path| same(path, &link)) {
        return Ok(());
    }
    let found = match named {
        Some(path) => {
            say(&format!("Using the libtorch that LIBTORCH names: {}", path.display()));
            path
        }
        None => cached_or_fetched()?,
    };
    if fs::symlink_metadata(&link).is_ok() {
        fs::remove_file(&link).with_context(|| format!("the link {} cannot be replaced", link.display()))?;
    }
    symlink(&found, &link).with_context(|| format!("the link {} cannot be created", link.display()))?;
    Ok(())
}

/// The libtorch that the user named in LIBTORCH, if any. Cargo sets this variable too, to the link itself; that is not
/// the user's choice.
fn named_by_user(link: &Path) -> Result<Option<PathBuf>> {
    let Some(path) = std::env::var_os("LIBTORCH").map(PathBuf::from) else { return Ok(None) };
    if path == link || same(&path, link) {
        return Ok(None);
    }
    if !is_libtorch(&path) {
        bail!(
            "LIBTORCH is {}, and that folder holds no libtorch (lib/libtorch_cpu.so and include/). Unset LIBTORCH, or \
             set it to the folder of a libtorch {VERSION}",
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
        say(&format!("Using the libtorch of the installed PyTorch {VERSION}: {}", torch.display()));
        return linked(&torch, &cached);
    }
    if Path::new("/proc/driver/nvidia/version").exists() {
        say(&format!("Installing PyTorch {VERSION} with CUDA for its libtorch (about 6 GB, once)"));
        let venv = python::environment("venv-torch", &[format!("torch=={VERSION}")])?;
        let torch = installed_torch(&venv).context("PyTorch was installed, but its files cannot be found")?;
        return linked(&torch, &cached);
    }
    say(&format!("Downloading libtorch {VERSION} for the CPU (530 MB, once)"));
    fetch(&cached)?;
    Ok(cached)
}

/// The folder of the PyTorch that this Python has, if it is of the right version.
fn installed_torch(python: &Path) -> Option<PathBuf> {
    let script = "import importlib.metadata as m, importlib.util as u; print(m.version('torch')); \
                  print(u.find_spec('torch').submodule_search_locations[0])";
    let answer = output_of(Command::new(python).args(["-c", script])).ok()?;
    let (version, folder) = answer.trim().split_once('\n')?;
    let folder = PathBuf::from(folder.trim());
    (version.trim().split('+').next() == Some(VERSION) && is_libtorch(&folder)).then_some(folder)
}

/// Creates a folder with links to an installed PyTorch, and the file `build-version`, in which torch-sys reads the
/// version.
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

/// Downloads PyTorch and the CUDA libraries as wheels and unpacks what the CPU needs.
fn fetch(cached: &Path) -> Result<()> {
    let parent = cached.parent().context("the cache has no parent folder")?;
    let wheels = parent.join("wheels");
    fs::create_dir_all(&wheels)?;
    // Debian's Python has no pip of its own; each virtual environment has one.
    let python = python::environment("venv-pip", &[])?;
    let mut packages = vec![format!("torch=={VERSION}")];
    packages.extend(CUDA_LIBRARIES.map(|(name, version)| format!("{name}=={version}")));
    let advice =
        "The Python package index must be reachable and 1.5 GB of disk space free. Run the command again to continue";
    // Any Python version will do, because only C++ libraries and headers are taken out of the wheels.
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--python-version", "3.11", "--dest"]);
    run(
        pip.arg(&wheels)
            .args(["--platform", "manylinux_2_28_x86_64", "--platform", "manylinux_2_17_x86_64"])
            .args(["--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_25_x86_64"])
            .args(&packages),
        advice,
    )?;
    say("Unpacking libtorch");
    let partial = parent.join(format!("libtorch-{VERSION}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(partial.join("lib"))?;
    let script = include_str!("unpack.py");
    run(
        Command::new(&python).args(["-c", script]).arg(&wheels).arg(&partial),
        "Free some disk space and run the command again",
    )?;
    // tch links to libtorch.so. The real one would need all of CUDA, so an empty library takes its place; the linker
    // leaves it out of the executables.
    let empty = partial.join("empty.c");
    fs::write(&empty, "")?;
    let mut cc = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
    cc.args(["-shared", "-Wl,-soname,libtorch.so", "-o"]).arg(partial.join("lib/libtorch.so")).arg(&empty);
    run(&mut cc, "A compiler for C and C++ is needed (Debian: apt install g++)")?;
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
    fn a_folder_is_a_libtorch_if_it_has_the_library_and_the_headers() {
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
    fn links_to_an_installed_pytorch_can_be_created_twice() {
        let folder = tempfile::tempdir().unwrap();
        let (torch, cached) = (folder.path().join("torch"), folder.path().join("cached"));
        fs::create_dir_all(torch.join("lib")).unwrap();
        fs::create_dir_all(torch.join("include")).unwrap();
        linked(&torch, &cached).unwrap();
        linked(&torch, &cached).expect("the links exist already");
        assert_eq!(fs::read_to_string(cached.join("build-version")).unwrap(), VERSION);
        assert!(same(&cached.join("lib"), &torch.join("lib")));
    }
}
