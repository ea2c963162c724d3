//! Shares over many rounds: runners take a job each, end, and are replaced.

use super::world::*;
use crate::plan::*;

/// Repositories that always want more than there is room for, each with as many jobs waiting.
struct Rounds {
    world: World,
    names: Vec<String>,
    /// When the runner of this index ends, and whose it is.
    live: Vec<(i64, usize)>,
    remembers: bool,
    now: i64,
    next: u64,
    launches: u64,
    /// What each repository had: jobs begun, rounds of a runner, the launches when it was last its turn,
    /// and the most launches between two turns.
    begun: Vec<u64>,
    worked: Vec<u64>,
    last: Vec<u64>,
    gap: Vec<u64>,
}

impl Rounds {
    fn new(max: usize, depths: &[usize]) -> Self {
        let names: Vec<String> = (0..depths.len()).map(|index| format!("r{index:04}")).collect();
        let none = vec![0; depths.len()];
        let mut rounds = Self {
            world: world().max(max).at(0),
            names,
            live: vec![],
            remembers: true,
            now: 0,
            next: 0,
            launches: 0,
            begun: none.clone(),
            worked: none.clone(),
            last: none.clone(),
            gap: none,
        };
        for (index, depth) in depths.iter().enumerate() {
            // Whoever has more has also waited for longer.
            (0..*depth).for_each(|job| rounds.queue(index, -((depth - job) as i64)));
        }
        rounds
    }

    /// Without a memory of whose turn it was.
    fn forgetful(self) -> Self {
        Self { remembers: false, ..self }
    }

    fn queue(&mut self, index: usize, second: i64) {
        self.next += 1;
        let (id, name) = (self.next, repo(&self.names[index]));
        let one = world().job(&self.names[index], id, second).demand.unwrap().repos.remove(0);
        let repos = &mut self.world.demand.as_mut().unwrap().repos;
        match repos.get_mut(index) {
            Some(seen) => {
                assert_eq!(seen.repo, name);
                seen.queued.extend(one.queued);
            }
            None => repos.push(one),
        }
    }

    /// Jobs take `takes(id)` rounds; each that is begun is followed by another of its repository.
    fn run(mut self, rounds: i64, takes: impl Fn(u64) -> i64) -> Self {
        for now in self.now..self.now + rounds {
            self.world.now = at(now);
            let ended: Vec<bool> = self.live.iter().map(|(end, _)| *end <= now).collect();
            let (mut runners, mut live) = (ended.iter(), ended.iter());
            self.world.runners.retain(|_| !runners.next().unwrap());
            self.live.retain(|_| !live.next().unwrap());
            for order in launched(&self.world.plan()) {
                self.launch(order, now, &takes);
            }
            assert!(self.live.len() <= self.world.limits.max_runners);
            self.live.iter().for_each(|(_, index)| self.worked[*index] += 1);
        }
        self.now += rounds;
        for (gap, last) in self.gap.iter_mut().zip(&self.last) {
            *gap = (*gap).max(self.launches - last);
        }
        self
    }

    /// From now on it counts: everybody began at once, with whoever has waited for longest.
    fn settled(mut self) -> Self {
        self.worked.fill(0);
        self.begun.fill(0);
        self
    }

    fn launch(&mut self, order: &Order, now: i64, takes: impl Fn(u64) -> i64) {
        let (name, job) = (order.repo.as_ref().unwrap().name(), order.job.unwrap());
        let index = self.names.iter().position(|one| one == name).unwrap();
        if self.remembers {
            self.world.turns.take(order.repo.as_ref());
        }
        self.launches += 1;
        self.gap[index] = self.gap[index].max(self.launches - self.last[index]);
        (self.last[index], self.begun[index]) = (self.launches, self.begun[index] + 1);
        let queued = &mut self.world.demand.as_mut().unwrap().repos[index].queued;
        queued.retain(|waiting| waiting.id != job);
        self.queue(index, now);
        let runner = format!("ipfs-{}", self.launches);
        let empty = world().at(now);
        self.world.runners.extend(empty.runner(&runner, name, Phase::Busy).runners);
        self.live.push((now + takes(job), index));
    }

    /// By how much of the mean the shares of these repositories lie apart.
    fn apart(&self, of: &[u64]) -> f64 {
        let (least, most) = (of.iter().min().unwrap(), of.iter().max().unwrap());
        (most - least) as f64 / (of.iter().sum::<u64>() as f64 / of.len() as f64)
    }
}

/// Some are short, some long, whoever's they are.
fn mixed(job: u64) -> i64 {
    1 + (job.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as i64 % 5
}

#[test]
fn at_ten_times_the_demand_of_others_a_repository_has_no_more_of_the_room_within_5_percent() {
    for max in [1, 3, 20] {
        for depths in [&[5, 50][..], &[50, 50, 5, 5, 5]] {
            let rounds = Rounds::new(max, depths).run(1_000, mixed);
            // With less room than repositories they share turns, whatever each makes of its own.
            let has_room = max >= depths.len();
            let shares = if has_room { &rounds.worked } else { &rounds.begun };
            assert!(rounds.apart(shares) <= 0.05, "{max} {depths:?}: {shares:?}");
            let total: u64 = rounds.worked.iter().sum();
            assert_eq!(total, max as u64 * 1_000, "no room is left empty");
        }
    }
}

#[test]
fn what_some_do_not_want_the_others_share_alike() {
    let mut world = world().max(9).job("little", 1, 0);
    for (name, first) in [("a", 100), ("b", 200)] {
        for job in 0..20 {
            world = world.job(name, first + job, 10);
        }
    }
    let orders = world.plan();
    let of = |name: &str| {
        launched(&orders).iter().filter(|order| order.repo == Some(repo(name))).count()
    };
    assert_eq!((of("little"), of("a"), of("b")), (1, 4, 4));
}

/// 1,000 repositories, of which half have ten times as many jobs waiting, and room for 500 runners.
fn crowd() -> Rounds {
    let depths: Vec<usize> = (0..1_000).map(|index| if index % 2 == 0 { 10 } else { 1 }).collect();
    Rounds::new(500, &depths)
}

#[test]
fn among_more_repositories_than_there_is_room_for_each_has_its_turn() {
    let rounds = crowd().run(6, mixed).settled().run(24, mixed);
    let half = |odd: usize| -> u64 { rounds.worked.iter().skip(odd).step_by(2).sum() };
    let apart = rounds.apart(&[half(0), half(1)]);
    assert!(apart <= 0.05, "{} to {}", half(0), half(1));
    let (least, most) = (rounds.begun.iter().min().unwrap(), rounds.begun.iter().max().unwrap());
    assert!(*least >= 2 && most - least <= 2, "{least} to {most} jobs");
    let gap = rounds.gap.iter().max().unwrap();
    assert!(*gap <= 2_000, "one waited for {gap} launches of others");
}

#[test]
fn without_a_memory_of_turns_those_with_old_jobs_would_have_all() {
    let rounds = crowd().forgetful().run(12, mixed);
    assert!(rounds.begun.contains(&0), "what the test before it asserts can fail");
}
