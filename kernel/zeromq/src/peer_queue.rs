//! The messages that wait to be written to one peer, bounded in bytes.

use crate::codec::Message;

use futures::channel::mpsc::{self, UnboundedReceiver, UnboundedSender};
use futures::future::poll_fn;
use futures::lock::Mutex as AsyncMutex;
use futures::task::AtomicWaker;
use futures::Stream;

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::{ready, Context, Poll};

/// About what a frame takes in memory beside its bytes.
const FRAME_BYTES: usize = 64;

/// The sending end of the queue. Clones share one queue.
#[derive(Clone)]
pub(crate) struct PeerQueue {
    messages: UnboundedSender<Message>,
    room: Arc<Room>,
}

/// The receiving end of the queue, for the task that writes to the peer.
pub(crate) struct PeerQueueReceiver {
    messages: UnboundedReceiver<Message>,
    room: Arc<Room>,
}

struct Room {
    /// The number of bytes from which on a send waits.
    limit: usize,
    /// The number of bytes that wait in the queue.
    queued: AtomicUsize,
    /// Held by the one task that waits for room, so that one waker is enough.
    turn: AsyncMutex<()>,
    waker: AtomicWaker,
    closed: AtomicBool,
}

impl Room {
    fn is_open(&self) -> bool {
        self.queued.load(Ordering::Acquire) < self.limit || self.closed.load(Ordering::Acquire)
    }
}

fn size(message: &Message) -> usize {
    match message {
        Message::Message(message) => message.iter().map(|frame| frame.len() + FRAME_BYTES).sum(),
        _ => FRAME_BYTES,
    }
}

impl PeerQueue {
    /// Returns both ends of a queue for `limit` bytes. One message beyond that fits as well, so that a
    /// message of any size can be sent.
    pub(crate) fn new(limit: usize) -> (Self, PeerQueueReceiver) {
        let (sender, receiver) = mpsc::unbounded();
        let room = Arc::new(Room {
            limit,
            queued: AtomicUsize::new(0),
            turn: AsyncMutex::new(()),
            waker: AtomicWaker::new(),
            closed: AtomicBool::new(false),
        });
        let receiver = PeerQueueReceiver {
            messages: receiver,
            room: room.clone(),
        };
        (
            Self {
                messages: sender,
                room,
            },
            receiver,
        )
    }

    /// Puts a message into the queue, or returns it as the outer error if there is no room for it.
    pub(crate) fn try_send(
        &self,
        message: Message,
    ) -> Result<Result<(), mpsc::SendError>, Message> {
        if self.room.is_open() {
            Ok(self.push(message))
        } else {
            Err(message)
        }
    }

    /// Waits until there is room, and puts a message into the queue.
    pub(crate) async fn send(&self, message: Message) -> Result<(), mpsc::SendError> {
        let _turn = self.room.turn.lock().await;
        poll_fn(|cx| {
            if self.room.is_open() {
                return Poll::Ready(());
            }
            self.room.waker.register(cx.waker());
            if self.room.is_open() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        self.push(message)
    }

    fn push(&self, message: Message) -> Result<(), mpsc::SendError> {
        self.room.queued.fetch_add(size(&message), Ordering::AcqRel);
        self.messages
            .unbounded_send(message)
            .map_err(|error| error.into_send_error())
    }
}

impl Stream for PeerQueueReceiver {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let message = ready!(Pin::new(&mut self.messages).poll_next(cx));
        if let Some(message) = &message {
            self.room.queued.fetch_sub(size(message), Ordering::AcqRel);
            self.room.waker.wake();
        }
        Poll::Ready(message)
    }
}

impl Drop for PeerQueueReceiver {
    fn drop(&mut self) {
        self.messages.close();
        self.room.closed.store(true, Ordering::Release);
        self.room.waker.wake();
    }
}
