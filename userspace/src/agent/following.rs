//! Services that follow what is wanted: each is there for as long as somebody wants it, and is tried again
//! where it could not be begun or has ended by itself.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// After how long what could not be begun is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Services by their keys, each of which is told something that may change while it is there.
pub(super) struct Following<'s, K, W> {
    begun: BTreeMap<K, Begun<'s, W>>,
    refused: BTreeMap<K, Refused>,
    serving: FuturesUnordered<Pin<Box<dyn Future<Output = Option<K>> + 's>>>,
}

struct Begun<'s, W> {
    told: watch::Sender<W>,
    service: Rc<RefCell<Service<'s>>>,
}

/// A service that can be ended from elsewhere, at once: what it has open is closed then.
struct Service<'s> {
    work: Option<Pin<Box<dyn Future<Output = ()> + 's>>>,
    waker: Option<Waker>,
}

struct Refused {
    why: String,
    again: Instant,
}

impl<'s, K: Ord + Clone + 's, W: PartialEq + Clone> Following<'s, K, W> {
    pub(super) fn new() -> Self {
        Self {
            begun: BTreeMap::new(),
            refused: BTreeMap::new(),
            serving: FuturesUnordered::new(),
        }
    }

    /// Ends what is not wanted any more, and tells all others what they are to be told now.
    pub(super) fn keep(&mut self, wanted: &BTreeMap<K, W>) {
        self.refused.retain(|key, _| wanted.contains_key(key));
        self.begun.retain(|key, begun| {
            let Some(tell) = wanted.get(key) else {
                begun.service.borrow_mut().end();
                return false;
            };
            begun.told.send_if_modified(|told| {
                let is_new = told != tell;
                told.clone_from(tell);
                is_new
            });
            true
        });
    }

    /// Whether a service is to be begun now.
    pub(super) fn lacks(&self, key: &K) -> bool {
        let refused = self.refused.get(key);
        !self.begun.contains_key(key) && refused.is_none_or(|it| it.again <= Instant::now())
    }

    /// Begins a service.
    pub(super) fn begin<F: Future<Output = ()> + 's>(
        &mut self,
        key: K,
        tell: W,
        serve: impl FnOnce(watch::Receiver<W>) -> F,
    ) {
        let (told, hears) = watch::channel(tell);
        let service = Rc::new(RefCell::new(Service {
            work: Some(Box::pin(serve(hears))),
            waker: None,
        }));
        self.refused.remove(&key);
        let begun = Begun {
            told,
            service: Rc::clone(&service),
        };
        self.begun.insert(key.clone(), begun);
        self.serving.push(Box::pin(async move {
            let ended_itself = poll_fn(|cx| service.borrow_mut().poll(cx)).await;
            ended_itself.then_some(key)
        }));
    }

    /// Notes that a service could not be begun, and tells whether that is news.
    pub(super) fn refuse(&mut self, key: K, why: String) -> bool {
        let refused = Refused {
            why: why.clone(),
            again: Instant::now() + AGAIN,
        };
        let former = self.refused.insert(key, refused);
        former.is_none_or(|it| it.why != why)
    }

    /// Serves until something is to be begun again.
    pub(super) async fn serve(&mut self) {
        let again = self.refused.values().map(|it| it.again).min();
        let again = async {
            match again {
                Some(again) => sleep_until(again).await,
                None => pending().await,
            }
        };
        let serving = async {
            loop {
                match self.serving.next().await {
                    Some(Some(key)) => {
                        self.begun.remove(&key);
                        return;
                    }
                    // It was ended.
                    Some(None) => {}
                    None => pending().await,
                }
            }
        };
        tokio::select! {
            () = again => {}
            () = serving => {}
        }
    }
}

impl Service<'_> {
    fn end(&mut self) {
        self.work = None;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether it has ended by itself, when it is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(work) = &mut self.work else {
            return Poll::Ready(false);
        };
        let is_over = work.as_mut().poll(cx).is_ready();
        if is_over {
            return Poll::Ready(true);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::UdpSocket;

    use super::*;

    /// Who is followed: numbers, each of which is told a letter.
    fn wanted(of: &[(u8, char)]) -> BTreeMap<u8, char> {
        of.iter().copied().collect()
    }

    #[tokio::test(start_paused = true)]
    async fn services_come_and_go_with_what_is_wanted() {
        let heard = RefCell::new(String::new());
        let place = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = place.local_addr().unwrap();
        drop(place);
        let mut following = Following::new();
        let serve = async |socket: UdpSocket, mut told: watch::Receiver<char>| {
            let _open = socket;
            loop {
                heard.borrow_mut().push(*told.borrow_and_update());
                if told.changed().await.is_err() {
                    return;
                }
            }
        };
        let poll = async |following: &mut Following<'_, u8, char>| {
            let _none = tokio::time::timeout(Duration::from_millis(1), following.serve()).await;
        };
        for (of, expected) in [
            (&[(1, 'a')][..], "a"),
            (&[(1, 'a')], "a"),
            (&[(1, 'b')], "ab"),
            // Another one has the place at once.
            (&[(2, 'c')], "abc"),
            (&[], "abc"),
            (&[(1, 'd')], "abcd"),
        ] {
            let wanted = wanted(of);
            following.keep(&wanted);
            for (key, tell) in wanted {
                if following.lacks(&key) {
                    let socket = UdpSocket::bind(at).unwrap();
                    following.begin(key, tell, |told| serve(socket, told));
                }
            }
            poll(&mut following).await;
            assert_eq!(*heard.borrow(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_refused_or_has_ended_is_tried_again() {
        let ended = Cell::new(0);
        let mut following = Following::new();
        following.keep(&wanted(&[(1, 'a')]));
        assert!(following.refuse(1, "taken".to_owned()));
        assert!(!following.lacks(&1));
        following.serve().await;
        assert!(following.lacks(&1));
        assert!(!following.refuse(1, "taken".to_owned()));
        assert!(following.refuse(1, "gone".to_owned()));
        following.begin(1, 'a', |_| async { ended.set(ended.get() + 1) });
        assert!(!following.lacks(&1));
        following.serve().await;
        assert!(following.lacks(&1));
        assert_eq!(ended.get(), 1);
    }
}
