//! The listeners of a run: named once the search for them has ended, and looked at again later, as are
//! the processes of those that began later.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::drop_watch::DropWatch;
use crate::{
    count::drops::{self, DropCounts},
    model::{listener::Listener, ports::PortSet, queues::Queues},
    output::{began_too_late, listening},
    system::{memory, stderr::say},
    trace::listeners::{Search, Survey},
};

/// How long the end of a run waits for a search, before it makes do with what was found.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// When to look again after a search was started: it takes less, unless there are very many processes.
const SEARCH_TIME: Duration = Duration::from_millis(100);

/// When to look again after the kernel did not answer.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// What is known about them. Connections are counted even if that is nothing.
#[derive(Debug)]
pub(super) struct Listeners {
    ports: PortSet,
    /// Whether to name all of them.
    verbose: bool,
    search: Option<Search<Survey>>,
    survey: Option<Survey>,
    /// The search for the processes of listeners that began later.
    later_search: Option<Search<Vec<Listener>>>,
    /// Whether that has ended since the last look.
    has_searched_later: bool,
    /// Whether it was said why the process of such a one is not known.
    has_said_why: bool,
    watch: DropWatch,
    /// What has been dropped until the last row of `--interval`.
    in_rows: DropCounts,
}

impl Listeners {
    /// Lists those of conn-cli's own network namespace, and starts to search for the others and for
    /// the owners. What is dropped from now on is known, here; elsewhere once the search comes there.
    pub(super) fn search(ports: &PortSet, netns: Option<u32>, verbose: bool) -> Self {
        let search = Survey::begin(ports, netns).and_then(|survey| Ok(Search::start(survey)?));
        Self {
            ports: ports.clone(),
            verbose,
            search: said(search),
            survey: None,
            later_search: None,
            has_searched_later: false,
            has_said_why: false,
            watch: DropWatch::begin(Instant::now()),
            in_rows: DropCounts::default(),
        }
    }

    /// Names them, if the search has ended since the last call.
    pub(super) fn name_found(&mut self) {
        if let Some(result) = self.search.as_mut().and_then(Search::try_result) {
            self.end_search(result);
        }
        if let Some(result) = self.later_search.as_mut().and_then(Search::try_result) {
            self.end_later_search(result);
        }
    }

    /// Names them when the search ends, or ends that for the processes of later ones. Cancel safe.
    pub(super) async fn found(&mut self) {
        if let Some(search) = &mut self.search {
            let result = search.result().await;
            self.end_search(result);
        } else if let Some(search) = &mut self.later_search {
            let result = search.result().await;
            self.end_later_search(result);
        } else {
            std::future::pending().await
        }
    }

    /// Ends the search, if it still runs, and searches for the processes of those that began later.
    pub(super) async fn end(&mut self) {
        let mut is_complete = self.end_searches().await;
        self.has_searched_later = false;
        let _ = self.look();
        is_complete &= self.end_searches().await;
        if !is_complete {
            say("not every process was searched for listeners before the end");
        }
    }

    /// Waits for what is being searched, but not too long. Returns whether that was long enough.
    async fn end_searches(&mut self) -> bool {
        if !self.is_searching() || timeout(END_TIMEOUT, self.found()).await.is_ok() {
            return true;
        }
        if let Some(search) = &self.search {
            search.stop();
        }
        if let Some(search) = &self.later_search {
            search.stop();
        }
        self.found().await;
        false
    }

    fn is_searching(&self) -> bool {
        self.search.is_some() || self.later_search.is_some()
    }

    fn end_search(&mut self, result: anyhow::Result<Survey>) {
        self.search = None;
        self.survey = said(result);
        memory::release();
        let Some(survey) = &self.survey else { return };
        for line in listening(
            &self.ports,
            survey.at_start(),
            survey.unseen(),
            self.verbose,
        ) {
            say(line);
        }
    }

    fn end_later_search(&mut self, result: anyhow::Result<Vec<Listener>>) {
        self.later_search = None;
        self.has_searched_later = true;
        if let (Some(found), Some(survey)) = (said(result), &mut self.survey) {
            let too_late = survey.add_later(found);
            if let Some(listener) = too_late.filter(|_| !self.has_said_why) {
                say(began_too_late(listener));
                self.has_said_why = true;
            }
        }
        memory::release();
    }

    /// Their accept queues now, with the processes of new listeners, too.
    ///
    /// # Errors
    /// After which time to look again, if they cannot be had now.
    pub(super) fn look(&mut self) -> Result<Queues, Duration> {
        if self.is_searching() {
            return Err(SEARCH_TIME);
        }
        let survey = self.survey.as_mut().ok_or(RETRY_AFTER)?;
        let queues = survey.queues().map_err(|_| RETRY_AFTER)?;
        // Not again for those that have come while their predecessors were searched for.
        if !std::mem::take(&mut self.has_searched_later) {
            let listeners = queues.listeners.iter().map(|(listener, _)| listener);
            let new = listeners.filter(|listener| survey.is_new(listener));
            let new: Vec<_> = new.cloned().collect();
            if !new.is_empty() {
                self.later_search = said(Search::for_owners(new).map_err(Into::into));
                // Or else it cannot be started.
                self.has_searched_later = self.later_search.is_none();
                return Err(SEARCH_TIME);
            }
        }
        Ok(queues)
    }

    /// Warns about those that drop packets, if it is time to look.
    pub(super) fn warn(&mut self) {
        let now = Instant::now();
        if self.watch.left(now).is_zero() {
            let queues = self.look();
            for line in self.watch.look(now, queues) {
                say(line);
            }
        }
    }

    /// How long until that.
    pub(super) fn left(&self) -> Duration {
        self.watch.left(Instant::now())
    }

    /// How many packets all of them have dropped since the last call, or since the start; None if that
    /// is not known now.
    pub(super) fn dropped(&mut self) -> Option<u64> {
        let queues = self.queues()?;
        Some(drops::sum(&self.in_rows.advance(&queues)))
    }

    /// Their accept queues now, if they can be had.
    pub(super) fn queues(&mut self) -> Option<Queues> {
        self.survey.as_mut()?.queues().ok()
    }
}

/// The value, or nothing and the error on standard error.
fn said<T>(result: anyhow::Result<T>) -> Option<T> {
    result
        .inspect_err(|error| say(format_args!("{error:#}")))
        .ok()
}
