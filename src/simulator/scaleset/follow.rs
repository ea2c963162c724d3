//! How the sets follow the jobs, and the jobs' way to the sets.

use std::collections::{HashMap, HashSet};

use super::{
    ScaleSetOptions,
    sets::{Assignment, ScaleSet, Sets, Stage, Time, Vain},
    shapes,
};
use crate::simulator::{model::JobStatus, state::State};

/// A job is assigned so often, and then no more.
const ASSIGNMENTS: u32 = 3;

/// Brings the sets into line with the jobs: what began or ended is told, what nobody picked up is
/// taken back, what waits is assigned. To be called after every change; tells whether it was one.
pub(in crate::simulator) fn follow(state: &mut State, now: Time) -> bool {
    if state.sets.sets.is_empty() {
        return false;
    }
    let events = |sets: &Sets| sets.all().map(|set| set.events.len()).sum::<usize>();
    let before = events(&state.sets);
    let mut sets = std::mem::take(&mut state.sets);
    let gone: Vec<_> = sets.all().filter(|set| set.deleted).map(|set| set.id).collect();
    for id in gone {
        sets.sets.remove(&id);
        state.forget_runners_of(id, now);
    }
    let options = state.options.scale_sets.clone();
    let mut all = std::mem::take(&mut sets.sets);
    for set in all.values_mut() {
        set.tell(state, &mut sets.vain, &options, now);
    }
    for (_, until) in sets.vain.values_mut() {
        *until = until.filter(|until| now < *until);
    }
    let with_runners = state.runners().filter_map(|runner| runner.job);
    let mut taken: HashSet<_> = with_runners.collect();
    taken.extend(all.values().flat_map(|set| set.book.keys()));
    for set in all.values_mut() {
        assign(set, state, &mut sets, &mut taken, now);
    }
    sets.sets = all;
    state.sets = sets;
    events(&state.sets) != before
}

impl ScaleSet {
    fn tell(
        &mut self,
        state: &State,
        vain: &mut HashMap<u64, Vain>,
        options: &ScaleSetOptions,
        now: Time,
    ) {
        let events = &mut self.events;
        self.book.retain(|id, one| {
            let Some(job) = state.job(*id) else { return false };
            if one.stage != Stage::Started && job.started_at.is_some() {
                one.stage = Stage::Started;
                events.push_back(shapes::job("JobStarted", job, one.request, one.at));
            }
            let ended = job.status == JobStatus::Completed;
            let lost = one.stage == Stage::Started && job.status == JobStatus::Queued;
            let unclaimed = one.stage == Stage::Assigned && now >= one.at + options.pickup;
            // Its runner may have it already and is about to begin.
            let unclaimed = unclaimed && !state.runners().any(|runner| runner.job == Some(*id));
            if unclaimed {
                let (tries, until) = vain.entry(*id).or_default();
                *until = Some(now + options.requeue * 2_u32.pow(*tries));
                *tries += 1;
            }
            if ended || lost || unclaimed {
                events.push_back(shapes::job("JobCompleted", job, one.request, one.at));
                return false;
            }
            true
        });
    }
}

fn assign(set: &mut ScaleSet, state: &State, sets: &mut Sets, taken: &mut HashSet<u64>, now: Time) {
    let options = &state.options.scale_sets;
    if !set.is_attended(now, options) {
        return;
    }
    let mut waiting: Vec<_> = state
        .jobs()
        .filter(|job| job.status == JobStatus::Queued && !job.is_hosted() && set.covers(job))
        .filter(|job| !taken.contains(&job.id))
        .filter(|job| {
            let vain = sets.vain.get(&job.id);
            vain.is_none_or(|(tries, until)| *tries < ASSIGNMENTS && until.is_none())
        })
        .collect();
    waiting.sort_by_key(|job| (job.queued_at, job.id));
    for job in waiting {
        if set.book.len() as u64 >= set.capacity.unwrap_or(u64::MAX) {
            return;
        }
        let request = sets.request(job.id);
        let (stage, kind) = match options.offers {
            true => (Stage::Offered, "JobAvailable"),
            false => (Stage::Assigned, "JobAssigned"),
        };
        taken.insert(job.id);
        set.book.insert(job.id, Assignment { request, stage, at: now });
        set.events.push_back(shapes::job(kind, job, request, now));
    }
}

/// When [`follow`] next has something to do by itself.
pub(in crate::simulator) fn next_deadline(state: &State) -> Option<Time> {
    let options = &state.options.scale_sets;
    let pickups = state.sets.all().flat_map(|set| {
        let unclaimed = |job: &u64| !state.runners().any(|runner| runner.job == Some(*job));
        let assigned = set
            .book
            .iter()
            .filter(move |(job, one)| one.stage == Stage::Assigned && unclaimed(job));
        assigned.map(|(_, one)| one.at + options.pickup)
    });
    pickups.chain(state.sets.vain.values().filter_map(|(_, until)| *until)).min()
}
