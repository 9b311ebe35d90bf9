//! Strangers: connections of peers that have not shown who they are, so many at a time.
//!
//! Where there are too many, one of those goes that come from where most come from: an address can push out only its own,
//! and a thousand workers behind one address are let in as long as nobody else waits. What they say it does not know.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// How many there may be. Whoever has something to show does so in milliseconds.
const STRANGERS_MAX: usize = 256;

/// Connections of strangers, the oldest first.
#[derive(Default)]
pub(crate) struct Strangers(VecDeque<Stranger>);

struct Stranger {
    origin: IpAddr,
    connection: AbortHandle,
    /// Hears of it once the peer has shown who it is.
    known: oneshot::Receiver<()>,
}

impl Strangers {
    /// Adds a connection; where there are too many, another ends: the oldest of the origin that has the most.
    pub(crate) fn add(&mut self, address: IpAddr, connection: AbortHandle, known: oneshot::Receiver<()>) {
        self.0.push_back(Stranger { origin: origin(address), connection, known });
        if self.0.len() <= STRANGERS_MAX {
            return;
        }
        self.0.retain_mut(|stranger| !stranger.connection.is_finished() && stranger.known.try_recv().is_err());
        if self.0.len() > STRANGERS_MAX
            && let Some(stranger) = self.most().and_then(|place| self.0.remove(place))
        {
            stranger.connection.abort();
        }
    }

    /// The oldest connection of the origin that has the most.
    fn most(&self) -> Option<usize> {
        let mut counts = HashMap::new();
        for stranger in &self.0 {
            *counts.entry(stranger.origin).or_insert(0_usize) += 1;
        }
        let most = counts.values().max().copied()?;
        self.0.iter().position(|stranger| counts.get(&stranger.origin) == Some(&most))
    }
}

/// What counts as one address: of IPv6 the network, for a host has as many addresses there as it likes.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinHandle;

    use super::*;

    /// Connections of so many strangers from an address, the oldest first; nobody shows who it is.
    fn come(strangers: &mut Strangers, address: &str, count: usize) -> Vec<(JoinHandle<()>, oneshot::Sender<()>)> {
        let one = |_| {
            let (known, knows) = oneshot::channel();
            let connection = tokio::spawn(std::future::pending());
            strangers.add(address.parse().unwrap(), connection.abort_handle(), knows);
            (connection, known)
        };
        (0..count).map(one).collect()
    }

    /// How many were ended.
    async fn ended(connections: &[(JoinHandle<()>, oneshot::Sender<()>)]) -> usize {
        // Those that were ended are so once they have had their turns.
        for _ in connections {
            tokio::task::yield_now().await;
        }
        connections.iter().filter(|(connection, _)| connection.is_finished()).count()
    }

    #[tokio::test]
    async fn an_address_pushes_out_only_its_own() {
        let mut strangers = Strangers::default();
        let early = come(&mut strangers, "10.0.0.1", 2);
        let many = come(&mut strangers, "10.0.0.2", 2 * STRANGERS_MAX);
        let late = come(&mut strangers, "10.0.0.3", 3);
        assert_eq!((ended(&early).await, ended(&late).await), (0, 0));
        assert_eq!(ended(&many).await, STRANGERS_MAX + 5);
        assert!(many[0].0.is_finished() && !many[2 * STRANGERS_MAX - 1].0.is_finished(), "the oldest goes");
    }

    #[tokio::test]
    async fn whoever_showed_who_it_is_stays() {
        let mut strangers = Strangers::default();
        let members = come(&mut strangers, "10.0.0.1", STRANGERS_MAX);
        let members: Vec<_> =
            members.into_iter().map(|(connection, known)| known.send(()).map(|()| connection)).collect();
        let others = come(&mut strangers, "10.0.0.1", STRANGERS_MAX);
        assert_eq!(ended(&others).await, 0);
        assert!(members.iter().all(|member| member.as_ref().is_ok_and(|connection| !connection.is_finished())));
    }

    #[test]
    fn a_network_of_ipv6_is_one_origin() {
        let origin = |text: &str| origin(text.parse().unwrap());
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::ffff:0:0:1"));
        assert_ne!(origin("2001:db8::1"), origin("2001:db8:0:1::1"));
        assert_eq!(origin("::ffff:10.0.0.1"), origin("10.0.0.1"));
        assert_ne!(origin("10.0.0.2"), origin("10.0.0.1"));
    }
}
