//! A file of lines that rotates by size and age.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{EveSettings, Sink};

/// A file that is put aside as `FILE.1`, `FILE.2`, ... at a size or an age.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    file: File,
    size: u64,
    opened: Instant,
    max_size: Option<u64>,
    max_age: Option<Duration>,
    keep: u32,
    /// When to try again after a rotation that failed.
    retry: Option<Instant>,
}

/// Between attempts to rotate.
const RETRY: Duration = Duration::from_secs(60);

impl RotatingFile {
    /// Opens `path` to append to it, by what `settings` say about rotation.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(path: &Path, settings: &EveSettings) -> io::Result<Self> {
        let (file, size) = open(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            size,
            opened: Instant::now(),
            max_size: (settings.rotate_bytes > 0).then_some(settings.rotate_bytes),
            max_age: (settings.rotate_seconds > 0)
                .then_some(Duration::from_secs(settings.rotate_seconds)),
            keep: settings.keep,
            retry: None,
        })
    }

    fn is_due(&self, more: u64) -> bool {
        let full = self
            .max_size
            .is_some_and(|max| self.size.saturating_add(more) > max);
        let old = self.max_age.is_some_and(|max| self.opened.elapsed() >= max);
        let waits = self.retry.is_some_and(|retry| Instant::now() < retry);
        self.size > 0 && (full || old) && !waits
    }

    /// Whatever fails, the open file can be written on.
    fn rotate(&mut self) -> io::Result<()> {
        if !self.path.exists() {
            // Moved already, by us before opening failed or by others: there is nothing to shift.
        } else if self.keep == 0 {
            remove(&self.path)?;
        } else {
            remove(&self.numbered(self.keep))?;
            for number in (1..self.keep).rev() {
                rename(&self.numbered(number), &self.numbered(number + 1))?;
            }
            rename(&self.path, &self.numbered(1))?;
        }
        self.reopen()
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }
}

impl Sink for RotatingFile {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let length = lines.len() as u64;
        if self.is_due(length)
            && let Err(error) = self.rotate()
        {
            tracing::error!(
                "{} is not rotated, and written on: {error}",
                self.path.display()
            );
            self.retry = Some(Instant::now() + RETRY);
        }
        if let Err(error) = self.file.write_all(lines) {
            // A full disk takes half a line: take it back, so that the next line is a line.
            self.file.set_len(self.size)?;
            return Err(error);
        }
        self.size += length;
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        (self.file, self.size) = open(&self.path)?;
        self.opened = Instant::now();
        self.retry = None;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    // Readable by the group only: names and addresses are nobody else's business.
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

fn remove(path: &Path) -> io::Result<()> {
    missing_is_fine(fs::remove_file(path))
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    missing_is_fine(fs::rename(from, to))
}

fn missing_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(rotate_bytes: u64, keep: u32) -> EveSettings {
        EveSettings {
            rotate_bytes,
            keep,
            ..EveSettings::default()
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_youngest_files_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve.json");
        let mut file = RotatingFile::open(&path, &settings(10, 3)).unwrap();
        for number in 0..6 {
            file.append(format!("line {number}\n").as_bytes()).unwrap();
        }
        assert_eq!(
            names(folder.path()),
            ["eve.json", "eve.json.1", "eve.json.2", "eve.json.3"]
        );
        assert_eq!(fs::read(&path).unwrap(), b"line 5\n");
        assert_eq!(
            fs::read(folder.path().join("eve.json.3")).unwrap(),
            b"line 2\n"
        );
        assert_eq!(
            fs::read(folder.path().join("eve.json.1")).unwrap(),
            b"line 4\n"
        );
        assert_eq!(
            fs::read(folder.path().join("eve.json.2")).unwrap(),
            b"line 3\n"
        );
    }

    #[test]
    fn a_file_grows_over_restarts_and_keeps_none_if_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve.json");
        for _ in 0..2 {
            RotatingFile::open(&path, &settings(0, 0))
                .unwrap()
                .append(b"line\n")
                .unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), b"line\nline\n");
        RotatingFile::open(&path, &settings(12, 0))
            .unwrap()
            .append(b"next\n")
            .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"next\n");
        assert_eq!(names(folder.path()), ["eve.json"]);
    }

    #[test]
    fn age_counts_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve.json");
        let settings = EveSettings {
            rotate_seconds: 1,
            ..settings(0, 1)
        };
        let mut file = RotatingFile::open(&path, &settings).unwrap();
        file.append(b"old\n").unwrap();
        file.opened = Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
        file.append(b"new\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new\n");
    }

    #[test]
    fn reopening_follows_a_moved_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve.json");
        let mut file = RotatingFile::open(&path, &settings(0, 0)).unwrap();
        file.append(b"one\n").unwrap();
        fs::rename(&path, folder.path().join("moved")).unwrap();
        file.append(b"two\n").unwrap();
        file.reopen().unwrap();
        file.append(b"three\n").unwrap();
        assert_eq!(
            fs::read(folder.path().join("moved")).unwrap(),
            b"one\ntwo\n"
        );
        assert_eq!(fs::read(&path).unwrap(), b"three\n");
    }
}
