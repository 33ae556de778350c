use std::path::{Path, PathBuf};
use std::sync::Once;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

/// Start of the names of all directories; the id of their process follows.
const PREFIX: &str = "sensor-lab-";

/// A directory for sockets, keys and configurations of this process, gone when dropped. What a
/// killed process left is removed when the next one makes its first directory.
///
/// # Errors
/// If the place for temporary files is full or not writable.
pub fn scratch() -> Result<TempDir> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for left in left_behind(&std::env::temp_dir()) {
            crate::pins::unmount(&left);
            // Somebody else's stays; a symbolic link is removed and not followed.
            let _ = std::fs::remove_dir_all(left);
        }
    });
    tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{}-", std::process::id()))
        .tempdir()
        .context("cannot make a temporary directory")
}

/// Directories whose process is gone.
fn left_behind(place: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            let name = entry.file_name();
            let id = name
                .to_str()
                .and_then(|name| name.strip_prefix(PREFIX)?.split_once('-'))
                .and_then(|(id, _)| id.parse::<u32>().ok());
            id.is_some_and(|id| !Path::new("/proc").join(id.to_string()).exists())
        })
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::left_behind;

    #[test]
    fn directories_of_dead_processes_are_left_behind() {
        let place = tempfile::tempdir().expect("a directory");
        let own = format!("sensor-lab-{}-a", std::process::id());
        // Process ids end at 2^22.
        for name in [
            own.as_str(),
            "sensor-lab-4194305-b",
            "sensor-labels",
            "other-4194305-c",
        ] {
            std::fs::create_dir(place.path().join(name)).expect("a directory");
        }
        let dead = place.path().join("sensor-lab-4194305-b");
        assert_eq!(left_behind(place.path()), [dead]);
    }
}
