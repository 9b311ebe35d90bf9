//! TLS in front of a server that speaks none, as a coordinator of a cluster of its own: for servers that only pretend.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use convoke_node::authority::Authority;
use convoke_wire::core::{Identity, Role, TokenId};
use convoke_wire::tls::Book;
use time::OffsetDateTime;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::cluster::Home;

/// The authority of a cluster that has nothing else.
pub struct Front(Arc<Authority>);

impl Front {
    /// With its files in a folder.
    pub fn new(folder: &Path) -> Self {
        Self(Arc::new(Authority::open(folder).expect("an authority")))
    }

    /// Lets the user of a home in, who knows it by these addresses.
    pub fn admit(&self, home: &Home, addresses: &[String]) {
        let user =
            Identity { role: Role::Admin, commands: false, token: TokenId::LOCAL, serial: 0, name: "ann".to_owned() };
        let credentials = self.0.credentials(&user, OffsetDateTime::now_utc()).expect("credentials");
        book(home).record(&credentials, addresses).expect("it is kept");
    }

    /// Speaks TLS on a stream that somebody else begins to speak on, and hands on what comes to a server.
    pub async fn serve(&self, stream: TcpStream, server: SocketAddr) {
        let (config, _) = self.0.server_config(OffsetDateTime::now_utc()).expect("a configuration");
        // Whoever is there may find that it is at the wrong place.
        let Ok(mut outer) = TlsAcceptor::from(config).accept(stream).await else { return };
        let mut inner = TcpStream::connect(server).await.expect("the server is there");
        drop(copy_bidirectional(&mut outer, &mut inner).await);
    }

    /// The same for everybody who dials, for ever.
    pub async fn listen(self, listener: TcpListener, server: SocketAddr) {
        let front = Arc::new(self);
        loop {
            let (stream, _) = listener.accept().await.expect("somebody dials");
            let front = front.clone();
            tokio::spawn(async move { front.serve(stream, server).await });
        }
    }
}

/// The book of the user of a home.
pub fn book(home: &Home) -> Book {
    Book::new(&home.path("config/convoke/clusters"))
}
