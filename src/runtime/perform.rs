//! Effects as tasks.
//!
//! Owns one task for each deployment, tunnel and file; ends them all with the program.

mod bundling;
mod looking;
mod writing;

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use nodewatch_protocol::{CaptureFile, CaptureSpec, Orders, ReportState, Request, Response, RingList};
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    task::{AbortHandle, JoinSet},
    time::{MissedTickBehavior, interval},
};

use self::bundling::Bundling;
use super::{
    aiming::Aiming,
    handoff,
    hearing::Hearing,
    metering::Metering,
    outlets::{Outlet, Outlets},
    port_reports::Reporting,
    tailing::Tailing,
    tunnels::{Tunnels, close_tunnels, lock, open_tunnel},
};
use crate::{
    agents::{client::Ask, fetch::Fetch, site::Site},
    captures::manifest,
    model::{DeployProgress, FetchProgress, Group, Keep, Node, NodeName, Notice, Removal, SessionId, StandIn, Summary},
    session::{Effect, Event, ledger::Found},
};

/// Files fetched at once; each is a stream through the API server.
const FETCHES: usize = 4;

pub(super) struct Performer {
    site: Arc<dyn Site>,
    events: mpsc::Sender<Event>,
    outlet: Outlet,
    reporting: Reporting,
    metering: Metering,
    tasks: JoinSet<()>,
    tunnels: Tunnels,
    tunnel_tasks: Arc<tokio::sync::Mutex<JoinSet<()>>>,
    fetches: Arc<Semaphore>,
    bundling: Bundling,
    /// Told when a cleanup has ended: its number, and whether every agent was seen gone.
    cleaned: Arc<watch::Sender<(usize, bool)>>,
    /// Cleanups begun so far.
    cleanups: usize,
    /// Deployments, which are ended before what they made is removed.
    deployments: Vec<AbortHandle>,
    /// Packets that somebody looks at.
    tailing: Tailing,
    /// What follows the targets of captures.
    aiming: Aiming,
    /// What the cluster's changes are heard by.
    hearing: Hearing,
}

impl Performer {
    pub(super) fn start(
        site: Arc<dyn Site>,
        events: mpsc::Sender<Event>,
        outlets: Outlets,
        session: SessionId,
        context: Option<String>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let mut nodes = site.nodes();
        let tell = events.clone();
        tasks.spawn(async move {
            while let Some(change) = nodes.next().await {
                if tell.send(Event::Nodes(change)).await.is_err() {
                    return;
                }
            }
        });
        let tell = events.clone();
        tasks.spawn(async move {
            let mut second = interval(Duration::from_secs(1));
            second.set_missed_tick_behavior(MissedTickBehavior::Skip);
            while tell.send(Event::Tick).await.is_ok() {
                second.tick().await;
            }
        });
        let fetches = Arc::new(Semaphore::new(FETCHES));
        let reporting = Reporting::new(outlets.logs.clone(), session.clone(), Arc::clone(&site));
        if let Some(watching) = reporting.watch(events.clone()) {
            tasks.spawn(watching);
        }
        let (metering, exporting) = Metering::new(outlets.metrics.clone(), events.clone());
        tasks.spawn(exporting);
        Self {
            outlet: Outlet::new(outlets, session, context, Arc::clone(&site), Arc::clone(&fetches)),
            reporting,
            metering,
            site,
            events,
            tasks,
            tunnels: Tunnels::default(),
            tunnel_tasks: Arc::default(),
            fetches,
            bundling: Bundling::default(),
            cleaned: Arc::new(watch::Sender::new((0, true))),
            cleanups: 0,
            deployments: Vec::new(),
            tailing: Tailing::default(),
            aiming: Aiming::default(),
            hearing: Hearing::default(),
        }
    }

    pub(super) fn perform(&mut self, effect: Effect) {
        // Tasks that have ended are let go, so that a long session does not gather them.
        while self.tasks.try_join_next().is_some() {}
        match effect {
            Effect::Deploy(nodes) => self.deploy(nodes),
            Effect::Ask(node, request) => self.ask(node, request),
            Effect::Fetch(node, file) => self.fetch(node, file),
            Effect::TakeBundle(node, of) => self.take_bundle(node, of),
            Effect::LookFor(node, file) => self.look_for(node, file),
            Effect::Resolve(nodes, spec) => self.resolve(nodes, spec),
            Effect::Grant(node) => self.grant(node),
            Effect::ListStored => {
                let outlet = self.outlet.clone();
                self.tell(async move { outlet.list().await });
            }
            Effect::RemoveStored(key) => {
                let outlet = self.outlet.clone();
                self.tell(async move { outlet.remove_one(key).await });
            }
            Effect::Expect(nodes) => self.expect(nodes),
            Effect::FindWorkloads => self.find_workloads(),
            Effect::Aim(targets) => self.aiming.aim(targets, &self.site, &self.events, &mut self.tasks),
            Effect::HearChanges(on) => self.hearing.hear(on, &self.site, &self.events, &mut self.tasks),
            Effect::Report(node, event) => self.reporting.report(&node, event),
            Effect::Measure(snapshot) => self.metering.push(*snapshot),
            Effect::Past(query) => {
                let reporting = self.reporting.clone();
                self.tell(async move { Event::Past(reporting.past(&query).await) });
            }
            Effect::Alarms(nodes) => {
                let reporting = self.reporting.clone();
                self.tell(async move { Event::Alarms(reporting.alarms(&nodes).await) });
            }
            Effect::Stock(group) => self.stock(group),
            Effect::Remove(group) => self.remove(group),
            Effect::Download { key, node, session } => {
                self.tasks.spawn(self.outlet.clone().download(key, node, session, self.events.clone()));
            }
            Effect::Merge(files) => self.tell(self.outlet.clone().merge(files, false, self.events.clone())),
            Effect::MergePairs(files) => self.tell(self.outlet.clone().merge(files, true, self.events.clone())),
            Effect::Follow(nodes) => self.tell(self.outlet.clone().follow(nodes, false, self.events.clone())),
            Effect::FollowPairs(nodes) => self.tell(self.outlet.clone().follow(nodes, true, self.events.clone())),
            Effect::Tail(node) => self.tailing.begin(node, &self.site, &self.events, &mut self.tasks),
            Effect::EndTail => self.tailing.end(),
            Effect::View(file) => self.tell(self.outlet.clone().view(file, None)),
            Effect::ViewOf { file, filter } => self.tell(self.outlet.clone().view(file, Some(filter))),
            Effect::CleanUp { captured, known, keep } => self.clean_up(captured, known, keep),
            Effect::TakeStock => {
                let stock = self.site.inventory();
                self.tell(async move { Event::Stock(stock.await) });
            }
            Effect::NoteEnds(ends) => self.site.note_ends(ends),
            Effect::SetImage(reference) => {
                // At once: what is deployed after it runs from it.
                let set = self.site.set_image(&reference);
                self.tell(async move { Event::ImageSet(reference, set) });
            }
            Effect::SetEnds(ends) => {
                let set = self.site.set_ends(ends);
                self.tell(async move { Event::EndsSet(set.await) });
            }
            Effect::StandIn(what) => self.stand_in(*what),
            Effect::Remember(acts) => {
                let site = Arc::clone(&self.site);
                // It is flushed to a disk, which may be slow.
                self.tasks.spawn_blocking(move || site.remember(acts));
            }
            Effect::Detach => self.site.detach(),
            Effect::Abandon => self.abandon(),
            Effect::FindSessions => self.find_sessions(true),
            Effect::AskHeld(session) => self.ask_held(session),
            Effect::Sweep(session) => self.sweep(session),
            Effect::AllowContents(names) => self.site.allow_contents(names),
            Effect::Trust(session) => self.trust(session),
            Effect::Attach => self.follow(self.site.attach()),
            Effect::Save { name, contents, rows } => self.save(name, contents, rows),
            Effect::WriteReport(summary) => self.write(move |folder| handoff::report_notice(folder, &summary)),
            Effect::FindContexts => self.find_contexts(),
            // The engine's and the terminal's.
            Effect::Quit | Effect::Copy(_) | Effect::Suspend => {}
        }
    }

    /// Looks up the hosts that a filter names.
    fn resolve(&mut self, nodes: Vec<NodeName>, spec: CaptureSpec) {
        self.tell(async move { Event::Resolved(nodes, spec.clone(), super::resolve::resolved(spec).await) });
    }

    fn abandon(&mut self) {
        let made = self.site.made();
        self.tell(async move { Event::Abandon(made) });
    }

    fn trust(&mut self, session: SessionId) {
        let trust = self.site.trust(session.clone());
        self.tell(async move { Event::Trusted(session, trust.await) });
    }

    /// What S3 or CloudWatch has of a group.
    fn stock(&mut self, group: Group) {
        let (outlet, reporting) = (self.outlet.clone(), self.reporting.clone());
        self.tell(async move {
            let found = match group {
                Group::Storage => outlet.stock().await,
                _ => reporting.stock(group).await.map(Found::Text),
            };
            Event::Stocked(group, found)
        });
    }

    /// Removes a group from S3 or CloudWatch, not while agents still deliver or report.
    fn remove(&mut self, group: Group) {
        let (outlet, reporting, cleaned) = (self.outlet.clone(), self.reporting.clone(), self.cleaned());
        self.tell(async move {
            let agents_are_gone = cleaned.await;
            let removed = match group {
                Group::Storage if agents_are_gone => outlet.remove_all().await,
                Group::Storage => outlet.not_removed(),
                Group::Reports if !agents_are_gone => Err(reporting.not_removed()),
                _ => reporting.remove(group).await.map(|()| Found::Text(String::new())),
            };
            Event::Removed(group, removed)
        });
    }

    /// Waits for the end of the cleanup that was begun last; false when an agent may still be there.
    fn cleaned(&self) -> impl Future<Output = bool> + use<> {
        let (mut cleaned, wanted) = (self.cleaned.subscribe(), self.cleanups);
        async move {
            // The sender lives as long as the program.
            cleaned.wait_for(|&(ended, _)| ended >= wanted).await.is_ok_and(|ended| ended.1)
        }
    }

    fn ask_held(&mut self, session: SessionId) {
        let site = Arc::clone(&self.site);
        self.tell(async move { Event::Held(session.clone(), manifest::held_by(&*site, session).await) });
    }

    /// Makes one event of some work.
    pub(super) fn tell(&mut self, work: impl Future<Output = Event> + Send + 'static) {
        let events = self.events.clone();
        // The app being gone ends everything anyway.
        self.tasks.spawn(async move { drop(events.send(work.await).await) });
    }

    pub(super) fn outlet(&self) -> &Outlet {
        &self.outlet
    }

    pub(super) fn check_storage(&mut self) {
        let (outlet, events) = (self.outlet.clone(), self.events.clone());
        self.tasks.spawn(async move {
            if let Some(notice) = outlet.check().await {
                // The app being gone ends everything anyway.
                let _ = events.send(Event::Told(notice)).await;
            }
        });
    }

    pub(super) fn check_reports(&mut self) {
        let (reporting, events) = (self.reporting.clone(), self.events.clone());
        self.tasks.spawn(async move {
            if let Some(notice) = reporting.check().await {
                // The app being gone ends everything anyway.
                let _ = events.send(Event::Told(notice)).await;
            }
        });
    }

    pub(super) fn site(&self) -> Arc<dyn Site> {
        Arc::clone(&self.site)
    }

    pub(super) fn find_sessions(&mut self, asked: bool) {
        let found = self.site.leftovers(asked);
        self.tell(async move { Event::Sessions { found: found.await, asked } });
    }

    fn stand_in(&mut self, what: StandIn) {
        let (site, outlet) = (Arc::clone(&self.site), self.outlet.clone());
        self.tell(async move {
            let orders = Orders { sink: outlet.sink_of_each().await, ..what.orders };
            let what = StandIn { orders, ..what };
            Event::StoodIn(site.stand_in(what).await)
        });
    }

    fn sweep(&mut self, session: SessionId) {
        let (mut removals, events) = (self.site.sweep(session.clone()), self.events.clone());
        self.tasks.spawn(async move {
            while let Some(removal) = removals.next().await {
                if events.send(Event::Sweep(session.clone(), removal)).await.is_err() {
                    return;
                }
            }
        });
    }

    fn deploy(&mut self, nodes: Vec<NodeName>) {
        for node in &nodes {
            // To an agent that was there before.
            lock(&self.tunnels).remove(node);
        }
        self.follow(self.site.deploy(nodes));
    }

    /// Follows a deployment, and opens a tunnel when an agent's container runs.
    fn follow(&mut self, mut progress: BoxStream<'static, (NodeName, DeployProgress)>) {
        let (site, events) = (Arc::clone(&self.site), self.events.clone());
        let (tunnels, tunnel_tasks) = (Arc::clone(&self.tunnels), Arc::clone(&self.tunnel_tasks));
        let task = self.tasks.spawn(async move {
            while let Some((node, progress)) = progress.next().await {
                match &progress {
                    DeployProgress::Running => {
                        let tunnel = open_tunnel(&site, &node, &tunnels, &events);
                        if let Some(tunnel) = tunnel {
                            tunnel_tasks.lock().await.spawn(tunnel);
                        }
                    }
                    // The tunnel's task ends with its sender.
                    DeployProgress::Ended(_) => drop(lock(&tunnels).remove(&node)),
                    DeployProgress::Step(_)
                    | DeployProgress::Image(_)
                    | DeployProgress::Failed(_)
                    | DeployProgress::Ending(_)
                    | DeployProgress::Told(_) => {}
                }
                let event = match progress {
                    DeployProgress::Told(notice) => Event::Told(notice),
                    progress => Event::Deploy(node, progress),
                };
                if events.send(event).await.is_err() {
                    return;
                }
            }
        });
        self.deployments.push(task);
    }

    fn ask(&mut self, node: NodeName, request: Request) {
        let asks = lock(&self.tunnels).get(&node).cloned();
        let events = self.events.clone();
        self.tasks.spawn(async move {
            let (answer, response) = oneshot::channel();
            if let Some(asks) = asks {
                // A closed tunnel drops `answer`, which is the failure that is told.
                let _ = asks.send(Ask { request: request.clone(), answer }).await;
            } else {
                drop(answer);
            }
            // The app being gone ends everything anyway.
            let _ = events.send(Event::Answer(node, request, response.await.ok())).await;
        });
    }

    /// Signs and tells; the answer of the agent is what counts.
    fn grant(&mut self, node: NodeName) {
        let asks = lock(&self.tunnels).get(&node).cloned();
        let outlet = self.outlet.clone();
        self.tell(async move {
            let granted = async {
                let (sink, valid) = outlet.sink(&node).await?;
                let cut = || {
                    let headline = format!("{node} did not get its delivery target");
                    Notice::warning(headline, "its tunnel was cut", "it is sent again when the tunnel is back")
                };
                let (answer, response) = oneshot::channel();
                asks.ok_or_else(cut)?.send(Ask { request: Request::Sink(sink), answer }).await.map_err(|_| cut())?;
                match response.await {
                    Ok(Response::Done) => Ok(valid),
                    Ok(Response::Refused(refusal)) => {
                        let headline = format!("{node} rejected its delivery target");
                        Err(Notice::error(headline, refusal.message, refusal.next_step))
                    }
                    Ok(Response::Checksum { .. } | Response::Probed(_)) | Err(_) => Err(cut()),
                }
            };
            let granted = granted.await;
            Event::Granted(node, granted)
        });
    }

    fn fetch(&mut self, node: NodeName, file: CaptureFile) {
        let Some(asks) = lock(&self.tunnels).get(&node).cloned() else {
            let headline = format!("{} of {node} was not fetched", file.name);
            let notice = Notice::error(headline, "there is no tunnel to its agent", "wait for it to reconnect");
            let event = Event::Fetch(node, file.name, FetchProgress::Failed(notice));
            let events = self.events.clone();
            self.tasks.spawn(async move { drop(events.send(event).await) });
            return;
        };
        let (site, events) = (Arc::clone(&self.site), self.events.clone());
        let (turns, tunnels) = (Arc::clone(&self.fetches), Arc::clone(&self.tunnels));
        let (folder, most) = (self.folder_of(&node), self.outlet.outlets.largest);
        self.tasks.spawn(async move {
            // The semaphore is never closed.
            let _turn = turns.acquire().await;
            let (name, fetched) = (file.name.clone(), node.clone());
            let (progress, mut told) = mpsc::unbounded_channel();
            let (agent, now) = (asks.clone(), (tunnels, node.clone()));
            let is_there = Box::new(move || lock(&now.0).get(&now.1).is_some_and(|tunnel| tunnel.same_channel(&agent)));
            let fetch = Fetch { node, file, folder, most, asks, is_there };
            let work = fetch.run(&*site, move |step| {
                // The receiver lives below until this work is done.
                let _ = progress.send(step);
            });
            let forward = async {
                while let Some(mut step) = told.recv().await {
                    // Of a run of byte counts only the latest is news.
                    while matches!(step, FetchProgress::Bytes(_)) {
                        let Ok(later) = told.try_recv() else { break };
                        step = later;
                    }
                    if events.send(Event::Fetch(fetched.clone(), name.clone(), step)).await.is_err() {
                        return;
                    }
                }
            };
            tokio::join!(work, forward);
        });
    }

    /// Tunnels are closed first, so that no agent's end looks like a fault.
    fn clean_up(&mut self, captured: Vec<Node>, known: Vec<(Node, RingList)>, keep: Keep) {
        for deployment in self.deployments.drain(..) {
            deployment.abort();
        }
        let (site, events) = (Arc::clone(&self.site), self.events.clone());
        let (tunnels, tunnel_tasks) = (Arc::clone(&self.tunnels), Arc::clone(&self.tunnel_tasks));
        self.cleanups += 1;
        let (outlet, cleaned, number) = (self.outlet.clone(), Arc::clone(&self.cleaned), self.cleanups);
        let (reporting, metering) = (self.reporting.clone(), self.metering.clone());
        let bundles_written = self.bundling.end();
        self.tasks.spawn(async move {
            let (reports, metrics) = tokio::join!(reporting.settle(), metering.settle());
            for event in reports.map(Event::Reports).into_iter().chain(metrics.map(Event::Told)) {
                if events.send(event).await.is_err() {
                    return;
                }
            }
            // The manifest has their sums.
            bundles_written.await;
            for notice in outlet.write_manifest(captured, known).await {
                if events.send(Event::NoManifest(notice)).await.is_err() {
                    return;
                }
            }
            close_tunnels(&tunnels, &tunnel_tasks).await;
            let stays = keep.contains(&Group::Storage);
            let mut removals = site.remove(keep);
            let mut agents_gone = true;
            while let Some(removal) = removals.next().await {
                agents_gone &= match &removal {
                    Removal::Refused(_) => false,
                    Removal::Failed(object, _) => object.kind.group() != Group::Agents,
                    _ => true,
                };
                if removal == Removal::Finished {
                    if let Some(found) = if stays { outlet.in_bucket().await } else { None }
                        && events.send(found).await.is_err()
                    {
                        return;
                    }
                    cleaned.send_replace((number, agents_gone));
                }
                if events.send(Event::Removal(removal)).await.is_err() {
                    return;
                }
            }
        });
    }

    /// What is still to be reported gets there, or is counted.
    pub(super) async fn settle_reports(&self) -> Option<ReportState> {
        self.reporting.settle().await
    }

    /// The last metrics get there, or are counted.
    pub(super) async fn settle_metrics(&self) -> Option<Notice> {
        self.metering.settle().await
    }

    pub(super) fn conclude(&self, receipt: serde_json::Value, summary: &Summary) {
        self.site.conclude(receipt, summary);
    }

    pub(super) async fn shut_down(mut self) {
        close_tunnels(&self.tunnels, &self.tunnel_tasks).await;
        self.tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests;
