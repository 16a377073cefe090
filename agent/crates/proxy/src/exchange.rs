//! An exchange comes to its end, whatever becomes of the connection that it came on: a client that goes away must not stop
//! it between its intent and its outcome.
//!
//! Until it has answered, the connection's own task moves it, because waking another for each request costs more than
//! most requests do. If the connection goes away before, or the answer passes for longer, it goes on in a task of its own.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use http::Response;
use tokio::{runtime::Handle, sync::oneshot};

use crate::answer::Outgoing;

/// Gives the answer of an exchange, or none when the exchange panicked before it had one.
pub(crate) struct Exchange {
    /// None when it is over.
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    inbox: oneshot::Receiver<Response<Outgoing>>,
}

impl Exchange {
    /// An exchange that does `work`, whose answer comes out of `inbox`.
    pub(crate) fn new(
        work: impl Future<Output = ()> + Send + 'static,
        inbox: oneshot::Receiver<Response<Outgoing>>,
    ) -> Self {
        Self { work: Some(Box::pin(work)), inbox }
    }
}

impl Future for Exchange {
    type Output = Option<Response<Outgoing>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(work) = &mut self.work {
            // After a panic it is never looked at again.
            let moved = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
            if !matches!(moved, Ok(Poll::Pending)) {
                self.work = None;
            }
        }
        Pin::new(&mut self.inbox).poll(cx).map(Result::ok)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // Without a runtime the agent is at its end, and what is open is closed in the record at its next start.
        if let (Some(work), Ok(runtime)) = (self.work.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{StatusCode, Version};

    use super::*;
    use crate::answer::{Answer, Outbox};

    fn answer() -> Answer {
        Answer::json(b"{}".to_vec())
    }

    #[tokio::test]
    async fn it_gives_its_answer_and_goes_on_behind_it() {
        let (mut outbox, inbox) = Outbox::new(Version::HTTP_11);
        let (go_on, told) = oneshot::channel::<()>();
        let (ended, end) = oneshot::channel();
        let work = async move {
            answer().give(&mut outbox).await;
            drop(told.await);
            ended.send("ended").unwrap();
        };
        assert_eq!(Exchange::new(work, inbox).await.unwrap().status(), StatusCode::OK);
        go_on.send(()).unwrap();
        assert_eq!(end.await, Ok("ended"));
    }

    #[tokio::test]
    async fn it_comes_to_its_end_without_anybody_to_hear_of_it() {
        let (mut outbox, inbox) = Outbox::new(Version::HTTP_11);
        let (go_on, told) = oneshot::channel::<()>();
        let (ended, end) = oneshot::channel();
        let work = async move {
            drop(told.await);
            answer().give(&mut outbox).await;
            ended.send("ended").unwrap();
        };
        let mut exchange = Exchange::new(work, inbox);
        std::future::poll_fn(|cx| {
            assert!(Pin::new(&mut exchange).poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(exchange);
        go_on.send(()).unwrap();
        assert_eq!(end.await, Ok("ended"));
    }

    #[tokio::test]
    async fn a_panic_is_no_answer() {
        let (outbox, inbox) = Outbox::new(Version::HTTP_11);
        let work = async move {
            let _outbox = outbox;
            panic!("as a test wants it");
        };
        assert!(Exchange::new(work, inbox).await.is_none());
    }
}
