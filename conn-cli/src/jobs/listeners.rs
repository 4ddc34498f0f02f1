//! The listeners of a run: named once the search for them has ended, and looked at again later.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    model::{listener::Listener, ports::PortSet, queues::Queues},
    output::listening,
    system::{memory, stderr::say},
    trace::listeners::{Search, Survey},
};

/// How long the end of a run waits for the search, before it makes do with what was found.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// What is known about them. Connections are counted even if that is nothing.
#[derive(Debug)]
pub(super) struct Listeners {
    ports: PortSet,
    search: Option<Search>,
    survey: Option<Survey>,
}

impl Listeners {
    /// Lists those of conn-cli's own network namespace, and starts to search for the others and for
    /// the owners. What is dropped from now on is known, here; elsewhere once the search comes there.
    pub(super) fn search(ports: &PortSet, netns: Option<u32>) -> Self {
        let search = Survey::begin(ports, netns).and_then(|survey| Ok(Search::start(survey)?));
        Self {
            ports: ports.clone(),
            search: said(search),
            survey: None,
        }
    }

    /// Names them, if the search has ended since the last call.
    pub(super) fn name_found(&mut self) {
        if let Some(result) = self.search.as_mut().and_then(Search::try_result) {
            self.end_search(result);
        }
    }

    /// Names them when the search ends. Cancel safe.
    pub(super) async fn found(&mut self) {
        let Some(search) = &mut self.search else {
            return std::future::pending().await;
        };
        let result = search.result().await;
        self.end_search(result);
    }

    /// Ends the search, if it still runs.
    pub(super) async fn end(&mut self) {
        if self.search.is_none() || timeout(END_TIMEOUT, self.found()).await.is_ok() {
            return;
        }
        if let Some(search) = &self.search {
            search.stop();
        }
        self.found().await;
        say("not every process was searched for listeners before the end");
    }

    fn end_search(&mut self, result: anyhow::Result<Survey>) {
        self.search = None;
        self.survey = said(result);
        memory::release();
        let Some(survey) = &self.survey else { return };
        let hidden_namespaces = survey.unseen().namespaces;
        for line in listening(&self.ports, survey.at_start(), hidden_namespaces) {
            say(line);
        }
    }

    /// The listeners now, if they can be had.
    pub(super) fn now(&mut self) -> Option<Vec<Listener>> {
        self.survey.as_mut()?.now().ok()
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
