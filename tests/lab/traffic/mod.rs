//! Real traffic: small servers and clients of the protocols that the sensor dissects. Only TLS
//! needs a program, `openssl`.

mod dns;
mod http;
mod scan;
mod server;
mod ssh;
mod tls;

pub use dns::{DnsType, query as dns_query, query_tcp as dns_query_tcp};
pub use http::{KeepAlive, get as http_get};
pub use scan::connect_all;
pub use server::Servers;
pub use ssh::banner as ssh_banner;
pub use tls::{TlsServer, handshake as tls_handshake};
