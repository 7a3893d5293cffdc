//! What a connection has to tell that is no answer to anything: warnings of the API server, that it asks to wait, and what a
//! credential plugin says.
//!
//! Owns that nothing is told twice in a row. Must not know who listens.

use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
    time::Duration,
};

use futures::{Stream, stream};
use tokio::{sync::Notify, time::Instant};

use super::{foreign, whole};
use crate::model::Notice;

/// What nobody listens to is kept up to this many, and so many are known to have been told. The oldest goes first.
const MOST: usize = 50;
/// Waiting is told again after this long.
const AGAIN: Duration = Duration::from_secs(60);

/// Notices for whoever listens.
#[derive(Default)]
pub(in crate::cluster) struct News {
    told: Mutex<Told>,
    more: Notify,
}

#[derive(Default)]
struct Told {
    waiting: VecDeque<Notice>,
    /// By headline, and when it was last told.
    known: HashMap<String, Instant>,
}

impl News {
    /// A warning of the API server's: once.
    pub(super) fn warning(&self, words: &str) {
        let headline = format!("the API server warns: {}", foreign(words));
        self.tell(Notice::warning(headline, "", ""), Duration::MAX);
    }

    /// What a credential plugin has said beside its answer: once.
    pub fn said(&self, program: &str, words: &str) {
        let headline = format!("the credential plugin {} says: {}", foreign(program), foreign(words));
        self.tell(Notice::warning(headline, "", ""), Duration::MAX);
    }

    /// A call that is tried again.
    pub(super) fn waiting(&self, why: &str) {
        self.tell(Notice::warning(why.to_owned(), "", "retrying for a while"), AGAIN);
    }

    /// Something that is not as it should be, though the program goes on.
    pub fn note(&self, headline: &str, cause: String) {
        self.tell(Notice::warning(headline, cause, ""), AGAIN);
    }

    fn tell(&self, notice: Notice, again: Duration) {
        let mut told = whole(&self.told);
        if told.known.get(&notice.headline).is_some_and(|at| at.elapsed() <= again) {
            return;
        }
        told.known.insert(notice.headline.clone(), Instant::now());
        if told.known.len() > MOST {
            let others = told.known.iter().filter(|(headline, _)| **headline != notice.headline);
            let oldest = others.min_by_key(|(_, at)| **at).map(|(headline, _)| headline.clone());
            if let Some(oldest) = oldest {
                told.known.remove(&oldest);
            }
        }
        if told.waiting.len() >= MOST {
            told.waiting.pop_front();
        }
        told.waiting.push_back(notice);
        self.more.notify_one();
    }

    pub(super) async fn next(&self) -> Notice {
        loop {
            let more = self.more.notified();
            if let Some(notice) = whole(&self.told).waiting.pop_front() {
                // Another one may wait for somebody else's ear.
                self.more.notify_one();
                return notice;
            }
            more.await;
        }
    }
}

/// What is told, for as long as anybody listens. Each notice goes to one listener.
pub(in crate::cluster) fn listen(shared: std::sync::Arc<super::Shared>) -> impl Stream<Item = Notice> + Send {
    stream::unfold(shared, |shared| async move {
        let notice = shared.news.next().await;
        Some((notice, shared))
    })
}
