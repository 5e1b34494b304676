//! Files and folders that only their owner can read, and where they are.

use std::path::Path;

/// Makes a folder and those above it, for their owner only.
#[cfg(unix)]
pub fn create_private_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Makes a folder and those above it.
#[cfg(not(unix))]
pub fn create_private_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)
}

/// Makes a file for its owner only, unless it is there; an error where it cannot be written. SQLite gives the files beside
/// the database the mode of the database, so making that one private is enough.
pub fn create_private_file(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// Whether a file is on another machine: a WAL needs shared memory, which machines do not share over a network.
pub fn on_network_file_system(path: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        const NETWORK: [i64; 6] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x6573_5546, 0x0bd0_0bd0];
        nix::sys::statfs::statfs(path).is_ok_and(|stats| NETWORK.contains(&stats.filesystem_type().0))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        false
    }
}
