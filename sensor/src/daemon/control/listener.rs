//! The listening end.

use std::{
    fs, io,
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _},
        net::UnixStream as StdStream,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

use super::{ControlError, MAX_REQUEST, Request, lock::Lock};
use crate::daemon::Command;

const CONNECTIONS: usize = 16;
/// For a request to arrive, and for an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(10);

/// A bound control socket; dropping it removes the file.
#[derive(Debug)]
pub(in crate::daemon) struct Listener {
    listener: UnixListener,
    path: PathBuf,
    _lock: Lock,
}

impl Listener {
    /// Creates the socket, in a directory of mode 0750 if that has to be made. A file that a
    /// dead sensor left is replaced.
    pub(in crate::daemon) fn bind(path: &Path) -> Result<Self, ControlError> {
        let failed = |source| ControlError::Create {
            path: path.to_owned(),
            source,
        };
        if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o750)
                .create(directory)
                .map_err(failed)?;
        }
        let running = || ControlError::Running {
            path: path.to_owned(),
        };
        let lock = Lock::take(path).map_err(failed)?.ok_or_else(running)?;
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(failed(io::Error::other(
                    "there is a file that is no socket",
                )));
            }
            Ok(_) => match StdStream::connect(path) {
                Ok(_) => return Err(running()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    fs::remove_file(path).map_err(failed)?;
                }
                Err(error) => return Err(failed(error)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        // Until here the umask decides; whoever gets in early is refused by credentials.
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Serves until the future is dropped.
    pub(in crate::daemon) async fn serve(self, commands: mpsc::Sender<Command>) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(permit) = permits.clone().acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let commands = commands.clone();
                    tokio::spawn(async move {
                        if let Err(error) = converse(stream, &commands).await {
                            tracing::debug!(%error, "A control connection ended early");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: give some time to close.
                    tracing::warn!(%error, "A control connection could not be taken");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // If it is gone already, nothing is left to do.
        let _ = fs::remove_file(&self.path);
    }
}

/// One connection: requests and answers until the peer has no more.
async fn converse(mut stream: UnixStream, commands: &mpsc::Sender<Command>) -> io::Result<()> {
    let peer = stream.peer_cred()?;
    if !may_ask(peer.uid(), peer.gid()) {
        tracing::warn!(
            uid = peer.uid(),
            gid = peer.gid(),
            "A control connection was refused"
        );
        let refusal = json!({ "error": "only root and the sensor's own user or group may ask" });
        return send(&mut stream, &refusal).await;
    }
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut reader).take(MAX_REQUEST);
        timeout(PATIENCE, bounded.read_until(b'\n', &mut line)).await??;
        if line.is_empty() {
            return Ok(());
        }
        let is_whole = line.ends_with(b"\n");
        let answer = if is_whole {
            respond(&line, may_change(peer.uid()), commands).await
        } else {
            too_long()
        };
        send(&mut writer, &answer).await?;
        if !is_whole {
            return Ok(());
        }
    }
}

fn too_long() -> Value {
    json!({ "error": format!("a request is one line of at most {MAX_REQUEST} bytes") })
}

async fn respond(line: &[u8], may_change: bool, commands: &mpsc::Sender<Command>) -> Value {
    let request: Request = match serde_json::from_slice(line) {
        Ok(request) => request,
        Err(error) => return json!({ "error": format!("not a request: {error}") }),
    };
    if request.is_change() && !may_change {
        return json!({ "error": "only root and the sensor's own user may change something" });
    }
    let (reply, answer) = oneshot::channel();
    if commands.try_send(Command::Ask(request, reply)).is_err() {
        return json!({ "error": "the sensor is busy or stopping: try again" });
    }
    match timeout(PATIENCE, answer).await {
        Ok(Ok(Ok(answer))) => json!({ "ok": answer }),
        Ok(Ok(Err(error))) => json!({ "error": error }),
        _ => json!({ "error": "the live loop does not answer" }),
    }
}

async fn send(writer: &mut (impl tokio::io::AsyncWrite + Unpin), answer: &Value) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    timeout(PATIENCE, writer.write_all(&line)).await?
}

fn may_ask(uid: u32, gid: u32) -> bool {
    // SAFETY: these calls take nothing and cannot fail.
    let (own_uid, own_gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    uid == 0 || uid == own_uid || gid == own_gid
}

fn may_change(uid: u32) -> bool {
    // SAFETY: the call takes nothing and cannot fail.
    uid == 0 || uid == unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    async fn talk(path: &Path, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(request).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn requests_are_answered_line_by_line_and_bad_ones_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/sensor.sock");
        let listener = Listener::bind(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o660);
        assert_eq!(mode(path.parent().unwrap()), 0o750);
        let (commands, mut inbox) = mpsc::channel(4);
        let serving = tokio::spawn(listener.serve(commands));
        tokio::spawn(async move {
            while let Some(Command::Ask(request, reply)) = inbox.recv().await {
                reply
                    .send(Ok(serde_json::to_value(request).unwrap()))
                    .unwrap();
            }
        });

        let answer = talk(
            &path,
            b"{\"command\":\"status\"}\n{\"command\":\"stats\"}\n",
        )
        .await;
        assert_eq!(
            answer,
            "{\"ok\":{\"command\":\"status\"}}\n{\"ok\":{\"command\":\"stats\"}}\n"
        );
        let answer = talk(&path, b"{\"command\":\"flows\",\"limit\":3}\n").await;
        assert!(answer.contains("\"limit\":3"), "{answer}");
        for bad in [
            &b"nonsense\n"[..],
            b"{\"command\":\"reboot\"}\n",
            b"{\"command\":\"status\"",
        ] {
            assert!(talk(&path, bad).await.starts_with("{\"error\":"));
        }
        let long = vec![b' '; usize::try_from(MAX_REQUEST).unwrap()];
        assert!(
            talk(&path, &long)
                .await
                .starts_with("{\"error\":\"a request is one line")
        );

        let second = Listener::bind(&path).unwrap_err().to_string();
        assert!(
            second.starts_with("another sensor is running on"),
            "{second}"
        );
        serving.abort();
        assert!(serving.await.unwrap_err().is_cancelled());
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn stale_socket_is_replaced_and_a_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sensor.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(Listener::bind(&path).unwrap());
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        assert!(Listener::bind(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_two_that_start_over_a_stale_socket_one_serves() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sensor.sock");
        for _ in 0..200 {
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            let start = Arc::new(std::sync::Barrier::new(2));
            let racers = [(); 2].map(|()| {
                let (path, start) = (path.clone(), start.clone());
                tokio::task::spawn_blocking(move || {
                    start.wait();
                    Listener::bind(&path)
                })
            });
            let mut served = Vec::new();
            for racer in racers {
                match racer.await.unwrap() {
                    Ok(listener) => served.push(listener),
                    Err(error) => assert!(matches!(error, ControlError::Running { .. }), "{error}"),
                }
            }
            assert_eq!(served.len(), 1);
            StdStream::connect(&path).unwrap();
            drop(served);
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        }
    }

    /// Whoever may only ask gets no further than here.
    #[tokio::test]
    async fn who_may_only_ask_changes_nothing() {
        let (commands, mut inbox) = mpsc::channel(4);
        for change in [
            &br#"{"command":"pass","on":true}"#[..],
            br#"{"command":"lists","list":"block","action":{"add":{"targets":["192.0.2.1"]}}}"#,
            br#"{"command":"lists","list":"allow","action":{"del":{"targets":["192.0.2.1"]}}}"#,
        ] {
            let refusal = respond(change, false, &commands).await;
            assert_eq!(
                refusal["error"],
                "only root and the sensor's own user may change something"
            );
            assert!(inbox.try_recv().is_err());
        }
        tokio::spawn(async move {
            while let Some(Command::Ask(_, reply)) = inbox.recv().await {
                reply.send(Err("asked".to_owned())).unwrap();
            }
        });
        for question in [
            &br#"{"command":"pass"}"#[..],
            br#"{"command":"lists","list":"block","action":{"list":{"limit":1}}}"#,
        ] {
            assert_eq!(respond(question, false, &commands).await["error"], "asked");
        }
    }

    #[test]
    fn strangers_may_not_ask() {
        assert!(may_ask(0, 12345));
        assert!(!may_ask(54321, 54321));
        assert!(may_change(0) && !may_change(54321));
    }
}
