//! `/metrics`, `/healthz`, `/readyz` and a landing page, over plain HTTP.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use super::{Exporter, health::Health, listener::Limited};

/// How long a scrape waits for fresh counters; Prometheus itself gives up after 10 s.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(5);

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(
        "{address} is in use, perhaps by another sensor: stop it, or set `metrics.listen` to \
         another address (`ss -ltnp` names the owner)"
    )]
    InUse { address: SocketAddr },
    #[error("cannot listen on {address}: {source}; set `metrics.listen` to another address")]
    Bind {
        address: SocketAddr,
        source: io::Error,
    },
}

/// Asks the live loop to close a generation now, so that a scrape shows fresh counters.
#[derive(Clone, Debug)]
pub struct Refresh(mpsc::Sender<oneshot::Sender<()>>);

impl Refresh {
    /// A way to ask, and the end at which the live loop takes the questions. Questions that come
    /// while one is answered are answered together.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<oneshot::Sender<()>>) {
        let (sender, receiver) = mpsc::channel(64);
        (Self(sender), receiver)
    }

    /// Waits until a generation was closed and published; `false` if the loop did not answer.
    async fn request(&self) -> bool {
        let (reply, answered) = oneshot::channel();
        self.0.try_send(reply).is_ok()
            && matches!(
                tokio::time::timeout(REFRESH_TIMEOUT, answered).await,
                Ok(Ok(()))
            )
    }
}

/// Bound listeners that do not serve yet.
#[derive(Debug)]
pub struct Server(Vec<TcpListener>);

#[derive(Clone)]
struct App {
    exporter: Exporter,
    refresh: Refresh,
    health: Arc<Health>,
}

impl Server {
    /// Binds all addresses, or none.
    ///
    /// # Errors
    /// [`ListenError`] with the address.
    pub async fn bind(addresses: &[SocketAddr]) -> Result<Self, ListenError> {
        let mut listeners = Vec::new();
        for &address in addresses {
            let listener = TcpListener::bind(address).await.map_err(|source| {
                if source.kind() == io::ErrorKind::AddrInUse {
                    ListenError::InUse { address }
                } else {
                    ListenError::Bind { address, source }
                }
            })?;
            listeners.push(listener);
        }
        Ok(Self(listeners))
    }

    /// The addresses, with the ports that the system chose for port 0.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
    }

    /// Serves until the future is dropped.
    pub async fn serve(self, exporter: Exporter, refresh: Refresh, health: Arc<Health>) {
        let router = router(App {
            exporter,
            refresh,
            health,
        });
        let mut servers = JoinSet::new();
        for listener in self.0 {
            // People look from this host; others may scrape.
            let is_local = listener.local_addr().is_ok_and(|at| at.ip().is_loopback());
            let router = if is_local {
                router.clone().route("/", get(landing))
            } else {
                router.clone()
            };
            // `axum::serve` never returns an error: it sleeps over those of `accept`.
            servers.spawn(async move { axum::serve(Limited::new(listener), router).await });
        }
        while servers.join_next().await.is_some() {}
    }
}

fn router(app: App) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(app)
}

async fn metrics(State(app): State<App>) -> Response {
    // A dead loop must not look alive: no old counters, so that `up` becomes 0.
    if !app.refresh.request().await {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "the live loop does not answer\n",
        )
            .into_response();
    }
    match app.exporter.text() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn healthz(State(app): State<App>) -> Response {
    if app.health.is_alive() {
        "ok\n".into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the live loop does not turn\n",
        )
            .into_response()
    }
}

async fn readyz(State(app): State<App>) -> Response {
    match app.health.unready() {
        None => "ok\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn landing() -> Html<String> {
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>sensor</title>\
         <h1>sensor {}</h1><p>A network sensor: XDP counts every flow exactly.</p>\
         <ul><li><a href=\"/metrics\">/metrics</a>: for Prometheus</li>\
         <li><a href=\"/healthz\">/healthz</a>: does it live?</li>\
         <li><a href=\"/readyz\">/readyz</a>: is it attached and draining?</li></ul></html>\n",
        env!("CARGO_PKG_VERSION")
    ))
}

#[cfg(test)]
mod tests;
