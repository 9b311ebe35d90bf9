//! A worker's connection to its coordinator: dialled or taken, greeted, and from then on frames both ways.
//!
//! It carries what the machine says and reports what arrives; it never decides to dial.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use convoke_core::message::{Hello, ToWorker};
use convoke_wire::CallError;
use convoke_wire::channel::{self, ConnectError, Target};
use convoke_wire::protocol::{MESSAGE_BYTES_MAX, SayVersion};
use convoke_wire::seen::Seen;
use convoke_wire::session::{CoordinatorFrame, WorkerFrame};
use convoke_wire::tls::handshake::Trust;
use convoke_wire::v1;
use convoke_wire::v1::sessions_client::SessionsClient;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::listen::Listener;
use crate::membership::Membership;

/// How many frames may wait to be sent: more than a new session's reports of everything that a worker can hold, two
/// frames each, so that only a coordinator that does not read fills it.
const FRAMES_MAX: usize = 4_096;

/// What a link reports.
pub(crate) enum LinkEvent {
    /// The connection stands; blobs may be fetched.
    Connected(Channel),
    /// The coordinator said something.
    Message(ToWorker),
    /// The journal has come this far.
    Seen(Seen),
    /// A small blob came, ahead of who names it.
    Blob(Bytes),
    /// It is over, or never came about.
    Ended(LinkError),
}

/// Why a link is over.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The coordinator refused the session, or said something that is not understood.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Whoever is there does not speak as a coordinator does.
    #[error("what answers there says nothing that a coordinator would")]
    Silent,
    /// The coordinator ended the session.
    #[error("the coordinator ended the session")]
    Ended,
}

/// How a worker comes by its connection.
#[derive(Clone, Debug)]
pub enum Way {
    /// It dials.
    Dial {
        /// Where the coordinator is.
        target: Target,
        /// For how long a coordinator that was never there is dialled again.
        wait: Duration,
    },
    /// The coordinator does, whenever it likes.
    Listen {
        /// Where.
        listener: Listener,
        /// Whom to believe of those who dial, and what to show.
        trust: Arc<Trust>,
    },
}

impl Way {
    /// Makes a connection, and reports it. Dropped, it ends one that was taken. A certificate that has ended is renewed
    /// first.
    pub(crate) async fn connect(self, membership: Option<Membership>, events: mpsc::Sender<LinkEvent>) {
        let report = async |made: Result<Channel, ConnectError>| {
            let event = made.map_or_else(|error| LinkEvent::Ended(error.into()), LinkEvent::Connected);
            // The worker may have let go of this link.
            drop(events.send(event).await);
        };
        match self {
            Self::Dial { target, .. } => {
                let mut made = target.connect().await;
                if let (Ok(channel), Some(membership)) = (&made, membership)
                    && membership.renew_ended(channel.clone()).await
                {
                    made = target.connect().await;
                }
                report(made).await;
            }
            Self::Listen { listener, trust } => {
                let (stream, peer, _taken) = listener.take().await;
                let made = channel::over(stream, peer, &trust).await;
                if let (Ok(channel), Some(membership)) = (&made, membership)
                    && membership.renew_ended(channel.clone()).await
                {
                    // Whoever dialled does so again.
                    drop(events.send(LinkEvent::Ended(LinkError::Ended)).await);
                    return;
                }
                report(made).await;
                listener.turn_others_away().await;
            }
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial { target, .. } => target.fmt(f),
            Self::Listen { listener, .. } => write!(f, "whoever dials {}", listener.address()),
        }
    }
}

/// The frames on their way to the coordinator.
pub(crate) struct Frames(pub(crate) mpsc::Sender<v1::WorkerFrame>);

impl Frames {
    /// Sends one. False if the coordinator does not keep up and it does not fit. Where the session is over, its end is on its
    /// way as an event, and says why.
    pub(crate) fn send(&self, frame: WorkerFrame) -> bool {
        !matches!(self.0.try_send(frame.into()), Err(TrySendError::Full(_)))
    }
}

/// Opens the session; `events` hears what comes of it, in order, until it is over.
pub(crate) fn open(
    channel: Channel,
    hello: Hello,
    seen: Seen,
    events: mpsc::Sender<LinkEvent>,
) -> (Frames, impl Future<Output = ()> + Send) {
    let (frames, outbound) = mpsc::channel(FRAMES_MAX);
    // The channel is new and has room.
    drop(frames.try_send(WorkerFrame::Hello(hello, seen).into()));
    let session = async move {
        let ended = run(channel, outbound, &events).await.err().unwrap_or(LinkError::Ended);
        // The worker may have let go of this link.
        drop(events.send(LinkEvent::Ended(ended)).await);
    };
    (Frames(frames), session)
}

async fn run(
    channel: Channel,
    outbound: mpsc::Receiver<v1::WorkerFrame>,
    events: &mpsc::Sender<LinkEvent>,
) -> Result<(), LinkError> {
    let mut sessions =
        SessionsClient::with_interceptor(channel, SayVersion).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let opened = sessions.open(ReceiverStream::new(outbound)).await.map_err(CallError::from)?;
    let mut inbound = opened.into_inner();
    while let Some(frame) = inbound.message().await.map_err(CallError::from)? {
        if let Some(seen) = frame.seen
            && events.send(LinkEvent::Seen(seen.into())).await.is_err()
        {
            break;
        }
        let event = match CoordinatorFrame::try_from(frame).map_err(CallError::from)? {
            CoordinatorFrame::Message(message) => LinkEvent::Message(message),
            CoordinatorFrame::Blob(bytes) => LinkEvent::Blob(bytes.into()),
        };
        if events.send(event).await.is_err() {
            break;
        }
    }
    Ok(())
}
