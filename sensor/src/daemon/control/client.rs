//! The asking end.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use super::Request;

const PATIENCE: Duration = Duration::from_secs(15);
/// An answer is no longer than this, bytes: 10,000 flows take a few MB.
const MAX_ANSWER: u64 = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "no sensor answers on {}: start one with `sensor run`, or name its socket with --socket",
        path.display()
    )]
    NotRunning { path: PathBuf },
    #[error("{} may not be opened: run as root, or as the sensor's user", path.display())]
    Forbidden { path: PathBuf },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the sensor answers: {0}")]
    Refused(String),
}

/// Asks the sensor that listens on `path`.
///
/// # Errors
/// [`ClientError`] with the remedy.
pub fn ask(path: &Path, request: &Request) -> Result<Value, ClientError> {
    let answer = exchange(path, request).map_err(|source| {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning { path }
            }
            io::ErrorKind::PermissionDenied => ClientError::Forbidden { path },
            _ => ClientError::Io { path, source },
        }
    })?;
    match answer {
        Value::Object(mut answer) => match (answer.remove("ok"), answer.remove("error")) {
            (Some(ok), _) => Ok(ok),
            (None, Some(Value::String(error))) => Err(ClientError::Refused(error)),
            _ => Err(ClientError::Refused(
                "with neither a result nor an error".to_owned(),
            )),
        },
        _ => Err(ClientError::Refused(
            "with something else than an object".to_owned(),
        )),
    }
}

fn exchange(path: &Path, request: &Request) -> io::Result<Value> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(MAX_ANSWER)).read_until(b'\n', &mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}
