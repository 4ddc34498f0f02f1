//! The listeners of a run: named once the search for them has ended, and looked at again later, as are
//! the processes of those that began later. Threads do that, since records are read meanwhile.

use std::{
    collections::BTreeSet,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{Instant, timeout};

use super::{drop_watch::DropWatch, follow::Follow};
use crate::{
    count::{
        drops::{self, DropCounts},
        listener_series::ListenerSeries,
    },
    model::{
        listener::{Listener, Unseen},
        listener_gauges::ListenerGauges,
        ports::PortSet,
        queues::Queues,
    },
    output::{began_too_late, listening},
    system::{memory, stderr::say},
    trace::listeners::{Look, Search, Survey},
};

/// How long a search may have taken at the end of a run before it makes do with what was found.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// What their accept queues are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Want {
    /// Warnings about those that drop packets.
    Warnings,
    /// Those where connections wait while none arrives.
    Waiting,
    /// A row of `--interval`.
    Row,
    /// The totals so far.
    Totals,
    /// The report at the end.
    Report,
}

/// A look at the queues that has ended: what it was for, and what was found, if that can be had.
pub(super) type Seen = (BTreeSet<Want>, Option<Queues>);

/// What is known about them. Connections are counted even if that is nothing.
#[derive(Debug)]
pub(super) struct Listeners {
    ports: PortSet,
    /// Whether to name all of them.
    verbose: bool,
    search: Option<Search<Survey>>,
    /// The searches for further network namespaces.
    follow: Option<Follow>,
    survey: Option<Arc<Mutex<Survey>>>,
    wanted: BTreeSet<Want>,
    look: Option<(BTreeSet<Want>, Search<Look>)>,
    seen: Option<Seen>,
    /// The search for the processes of listeners that began later.
    later_search: Option<Search<Option<Listener>>>,
    /// Whether it has ended since the last look that can begin one.
    has_searched_later: bool,
    /// Whether it was said why the process of such a one is not known.
    has_said_why: bool,
    watch: DropWatch,
    /// What has been dropped until the last row of `--interval`.
    in_rows: DropCounts,
    /// What whoever asks during the run is told.
    series: ListenerSeries,
    unseen: Unseen,
}

impl Want {
    /// Whether the processes are named.
    fn names_processes(self) -> bool {
        matches!(self, Self::Warnings | Self::Waiting | Self::Report)
    }
}

impl Listeners {
    /// Lists those of conn-cli's own network namespace, and starts to search for the others and for
    /// the owners. What is dropped from now on is known, here; elsewhere once the search comes there.
    /// `follows`: whether to search for further namespaces again and again, with privileges that are kept
    /// for that.
    pub(super) fn search(
        ports: &PortSet,
        netns: Option<u32>,
        verbose: bool,
        follows: bool,
    ) -> Self {
        let follow = if follows { Follow::begin() } else { None };
        let worker = follow.as_ref().map(Follow::worker);
        let search =
            Survey::begin(ports, netns).and_then(|survey| Ok(Search::start(survey, worker)?));
        Self {
            search: said(search),
            follow,
            ..Self::unknown(ports, verbose)
        }
    }

    /// Nothing is known of them, nor searched for.
    fn unknown(ports: &PortSet, verbose: bool) -> Self {
        Self {
            ports: ports.clone(),
            verbose,
            search: None,
            follow: None,
            survey: None,
            wanted: BTreeSet::new(),
            look: None,
            seen: None,
            later_search: None,
            has_searched_later: false,
            has_said_why: false,
            watch: DropWatch::begin(Instant::now()),
            in_rows: DropCounts::default(),
            series: ListenerSeries::default(),
            unseen: Unseen::default(),
        }
    }

    /// Takes what was found since the last call, and begins what is due.
    pub(super) fn advance(&mut self) {
        if let Some(result) = self.search.as_mut().and_then(Search::try_result) {
            self.end_search(result);
        }
        if let Some(result) = self.later_search.as_mut().and_then(Search::try_result) {
            self.end_later_search(result);
        }
        if let Some((_, look)) = &mut self.look
            && let Some(result) = look.try_result()
        {
            self.end_look(result);
        }
        if let Some(follow) = &mut self.follow {
            if let Some(result) = follow.search().and_then(Search::try_result) {
                self.end_following(result);
            } else if let Some(survey) = &self.survey {
                follow.begin_if_due(survey, Instant::now());
            }
        }
        if self.watch.begin_look(Instant::now()) {
            self.want(Want::Warnings);
        }
    }

    /// Waits until something was found, and takes it; not if [`Self::seen`] has a result. Cancel safe.
    pub(super) async fn found(&mut self) {
        if self.seen.is_some() {
            return;
        }
        let follow = self.follow.as_mut().and_then(Follow::search);
        tokio::select! {
            result = result(follow) => self.end_following(result),
            result = result(self.search.as_mut()) => self.end_search(result),
            result = result(self.later_search.as_mut()) => self.end_later_search(result),
            result = result(self.look.as_mut().map(|(_, look)| look)) => self.end_look(result),
        }
    }

    /// Has the queues looked at for this, from now on: [`Self::seen`] has the result.
    pub(super) fn want(&mut self, want: Want) {
        self.wanted.insert(want);
        self.begin_look();
    }

    /// Whether the queues are still wanted for this.
    pub(super) fn is_wanted(&self, want: Want) -> bool {
        let look = self.look.as_ref().map(|(wants, _)| wants);
        let seen = self.seen.as_ref().map(|(wants, _)| wants);
        [Some(&self.wanted), look, seen]
            .into_iter()
            .flatten()
            .any(|wants| wants.contains(&want))
    }

    /// The result of the last look, once.
    pub(super) fn seen(&mut self) -> Option<Seen> {
        let seen = self.seen.take();
        self.begin_look();
        seen
    }

    /// Ends the search, if it still runs, and searches for the processes of those that began later. Returns
    /// the accept queues then, if they can be had.
    pub(super) async fn end(&mut self) -> Option<Queues> {
        let mut is_complete = true;
        if let Some(follow) = &mut self.follow {
            follow.stop();
        }
        while self.search.is_some() || self.later_search.is_some() {
            is_complete &= self.found_at_end().await;
        }
        self.has_searched_later = false;
        self.want(Want::Report);
        let queues = loop {
            match self.seen() {
                Some((wants, queues)) if wants.contains(&Want::Report) => break queues,
                Some(_) => (),
                None => is_complete &= self.found_at_end().await,
            }
        };
        if !is_complete {
            say("not every process was searched for listeners before the end");
        }
        queues
    }

    /// Waits for what is being searched, but not too long. Returns whether that was long enough.
    async fn found_at_end(&mut self) -> bool {
        let age = self.search.as_ref().map(Search::age);
        let Some(age) = age.or_else(|| self.later_search.as_ref().map(Search::age)) else {
            self.found().await;
            return true;
        };
        let left = END_TIMEOUT.saturating_sub(age);
        if timeout(left, self.found()).await.is_ok() {
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

    fn end_search(&mut self, result: anyhow::Result<Survey>) {
        self.search = None;
        if let Some(survey) = said(result) {
            let (listeners, unseen) = (survey.at_start(), survey.unseen());
            for line in listening(&self.ports, listeners, unseen, self.verbose) {
                say(line);
            }
            self.survey = Some(Arc::new(Mutex::new(survey)));
        }
        memory::release();
        self.begin_look();
    }

    fn end_following(&mut self, result: anyhow::Result<Vec<Listener>>) {
        if let Some(follow) = &mut self.follow {
            follow.end_search(Instant::now());
        }
        match result {
            Ok(found) if self.verbose => {
                for listener in found {
                    say(format_args!("listening: {}", listener.describe()));
                }
            }
            Ok(_) => (),
            Err(error) => log::debug!("no search for network namespaces: {error:#}"),
        }
        memory::release();
    }

    fn end_later_search(&mut self, result: anyhow::Result<Option<Listener>>) {
        self.later_search = None;
        self.has_searched_later = true;
        let too_late = said(result).flatten();
        if let Some(listener) = too_late.filter(|_| !self.has_said_why) {
            say(began_too_late(&listener));
            self.has_said_why = true;
        }
        memory::release();
        self.begin_look();
    }

    /// Begins a look for what is wanted, unless one is not done with. Until the search has ended, nothing
    /// is known; until that for later ones has, their names are not.
    fn begin_look(&mut self) {
        if self.look.is_some() || self.seen.is_some() {
            return;
        }
        let is_searching = self.search.is_some() || self.later_search.is_some();
        let can_begin = |want: &Want| !(is_searching && want.names_processes());
        let wants: BTreeSet<Want> = self.wanted.iter().copied().filter(can_begin).collect();
        if wants.is_empty() {
            return;
        }
        self.wanted.retain(|want| !wants.contains(want));
        let survey = self.survey.as_ref();
        match survey.map(Search::for_queues) {
            Some(Ok(look)) => self.look = Some((wants, look)),
            Some(Err(_)) | None => self.use_look(wants, None),
        }
    }

    fn end_look(&mut self, result: anyhow::Result<Look>) {
        let Some((mut wants, _)) = self.look.take() else {
            return;
        };
        let Ok(Look {
            queues,
            new,
            unseen,
        }) = result
        else {
            self.use_look(wants, None);
            return;
        };
        self.series.update(&queues);
        self.unseen = unseen;
        if wants.iter().any(|want| want.names_processes()) && self.later_search.is_none() {
            // Not again for those that have come while their predecessors were searched for.
            let has_searched = std::mem::take(&mut self.has_searched_later);
            if !has_searched && !new.is_empty() {
                self.search_later(new);
                if self.later_search.is_some() {
                    // With their names.
                    let (later, now) = wants.into_iter().partition(|want| want.names_processes());
                    self.wanted.extend::<BTreeSet<_>>(later);
                    wants = now;
                }
            }
        }
        self.use_look(wants, Some(queues));
    }

    fn search_later(&mut self, new: Vec<Listener>) {
        if let Some(survey) = &self.survey {
            let worker = self.follow.as_ref().map(Follow::worker);
            let search = Search::for_owners(survey, new, worker);
            self.later_search = said(search.map_err(Into::into));
        }
    }

    /// Warns about those that drop packets, and keeps the queues for what else they are wanted for.
    fn use_look(&mut self, mut wants: BTreeSet<Want>, queues: Option<Queues>) {
        if wants.remove(&Want::Warnings) {
            for line in self.watch.look(Instant::now(), queues.as_ref()) {
                say(line);
            }
        }
        if !wants.is_empty() {
            self.seen = Some((wants, queues));
        }
        self.begin_look();
    }

    /// How long until a look for warnings, or a search for network namespaces, begins.
    pub(super) fn left(&self) -> Duration {
        let now = Instant::now();
        let follow = self.follow.as_ref().filter(|_| self.survey.is_some());
        let until_search = follow.map_or(Duration::MAX, |follow| follow.left(now));
        self.watch.left(now).min(until_search)
    }

    /// Their accept queues at the last look, which is no longer ago than that for warnings, or none yet.
    pub(super) fn gauges(&self) -> ListenerGauges {
        self.series.gauges_now(self.unseen, self.follow.is_some())
    }

    /// How many packets all of them have dropped until this look since the last call, or since the start;
    /// None if that is not known.
    pub(super) fn dropped(&mut self, queues: Option<&Queues>) -> Option<u64> {
        Some(drops::sum(&self.in_rows.advance(queues?)))
    }
}

/// The result of a search, if there is one. Cancel safe.
async fn result<T: Send + 'static>(search: Option<&mut Search<T>>) -> anyhow::Result<T> {
    match search {
        Some(search) => search.result().await,
        None => pending().await,
    }
}

/// The value, or nothing and the error on standard error.
fn said<T>(result: anyhow::Result<T>) -> Option<T> {
    result
        .inspect_err(|error| say(format_args!("{error:#}")))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_wanted_twice_is_waited_for_twice() {
        let mut listeners = Listeners::unknown(&PortSet::all(), false);
        listeners.want(Want::Totals);
        listeners.want(Want::Totals);
        let mut times = 0;
        while listeners.is_wanted(Want::Totals) {
            let found = timeout(END_TIMEOUT, listeners.found()).await;
            found.expect("it is there");
            let (wants, queues) = listeners.seen().unwrap();
            assert_eq!(wants, [Want::Totals].into());
            assert!(queues.is_none());
            times += 1;
        }
        assert_eq!(times, 2);
        assert!(listeners.end().await.is_none());
    }
}
