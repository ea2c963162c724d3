//! What went wrong with others, and must not stop us.

use super::*;
use crate::simulator::{Fault, Often, Trouble};

#[tokio::test(start_paused = true)]
async fn a_refused_queue_token_is_renewed_and_nothing_is_lost() {
    let mut world = World::new().await;
    world.live().await;
    world.github.revoke_queue_token(SET).unwrap();
    world.github.revoke_admin_tokens();
    world.queue(1);
    world.queued(1).await;
    world.acknowledged(1).await;
    assert_eq!(world.set().sessions, 1, "the session went on");
}

/// actions/scaleset#123: a session that was gone ended the listener.
#[tokio::test(start_paused = true)]
async fn a_session_that_the_service_forgot_is_replaced_at_its_place_in_the_queue() {
    let mut world = World::new().await;
    world.live().await;
    world.queue(1);
    world.queued(1).await;
    world.acknowledged(1).await;
    world.github.evict_session(SET).unwrap();
    world.queue(1);
    world.queued(2).await;
    world.acknowledged(2).await;
    let set = world.set();
    assert_eq!((set.sessions, set.delivered), (2, vec![1, 2]));
    let gap = world.noted.told.borrow().iter().skip_while(|one| one.is_none()).any(Option::is_none);
    assert!(!gap, "the scope was never without its level");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_not_there_any_more_means_a_new_session_at_once() {
    let mut world = World::new().await;
    world.live().await;
    world.github.inject(Fault::Status(404), "GET /_queue/*", Often::Times(1)).unwrap();
    world.queue(1);
    world.until(|world| world.set().sessions == 2).await;
    world.queued(1).await;
    world.acknowledged(1).await;
    let gap = world.noted.told.borrow().iter().skip_while(|one| one.is_none()).any(Option::is_none);
    assert!(!gap, "the scope was never without its level");
}

/// ARC#3209, ARC#3351, ARC#4285: "409 already has an active session", in a loop of crashes.
#[tokio::test(start_paused = true)]
async fn a_set_that_somebody_else_listens_to_is_left_to_them_and_taken_when_they_are_gone() {
    let mut world = World::new().await;
    world.live().await;
    world.stop().await;
    world.github.take_session(SET).unwrap();
    let begun = Instant::now();
    world.start();
    let conflict = |text: &String| text.contains("active session");
    world.until(|world| world.sets.warnings().iter().any(conflict)).await;
    assert!(!world.sets.is_live(&Scope::org("acme")));
    assert!(world.noted.told.borrow().last().unwrap().is_none(), "the others decide meanwhile");
    // The other one has died: the service forgets it after some minutes.
    world.told(|last| last.is_some()).await;
    assert!(begun.elapsed() < Duration::from_secs(300 + 90), "{:?}", begun.elapsed());
    assert_eq!(world.sets.warnings(), Vec::<String>::new());
}

/// ARC#3209, ARC#3351, ARC#4285: "409 already has an active session", in a loop of crashes.
#[tokio::test(start_paused = true)]
async fn after_a_crash_our_own_session_is_ended_and_the_place_in_the_queue_is_kept() {
    let mut world = World::new().await;
    world.live().await;
    world.queue(1);
    world.queued(1).await;
    world.acknowledged(1).await;
    let stale = world.set().session.unwrap().id;
    world.crash();
    let begun = Instant::now();
    world.start();
    // Acknowledged messages are not told again: the numbers tell of their jobs.
    let told = world.told(|last| last.is_some_and(|last| last.more == 1)).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "no conflict was waited for");
    let set = world.set();
    assert_eq!((told.queued.len(), set.delivered), (0, vec![1]));
    assert_ne!(set.session.unwrap().id, stale);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_not_acknowledged_before_a_crash_is_told_again() {
    let mut world = World::new().await;
    world.live().await;
    world.noted.room.send_replace(None);
    world.queue(1);
    world.queued(1).await;
    world.crash();
    world.noted.room.send_replace(Some(5));
    world.start();
    world.acknowledged(1).await;
    assert_eq!(world.queued(1).await.more, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_session_and_leaves_the_scope_to_the_others() {
    let mut world = World::new().await;
    world.live().await;
    let begun = Instant::now();
    world.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(world.set().session, None);
    assert!(world.noted.told.borrow().last().unwrap().is_none());
    assert!(world.sets.register(&world.runner("one")).await.is_none());
    world.live().await;
    assert_eq!(world.set().sessions, 2);
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_is_broken_off_leaves_the_scope_to_the_others_too() {
    let mut world = World::new().await;
    world.start();
    world.live().await;
    world.loop_.abort();
    drop(world.sets.running().take());
    assert!(!world.sets.is_live(world.scope()));
    assert_eq!(world.board.assigned(world.scope()), None);
}

/// ARC#4370: a set that GitHub had deleted was an outage for ever.
#[tokio::test(start_paused = true)]
async fn a_set_that_was_deleted_is_made_anew_and_its_jobs_come_again() {
    let mut world = World::new().await;
    world.live().await;
    world.queue(1);
    world.queued(1).await;
    world.acknowledged(1).await;
    let before = world.set().id;
    world.github.delete_scale_set(SET).unwrap();
    world.until(|world| world.github.scale_set(SET).is_some_and(|set| set.id != before)).await;
    world.queued(1).await;
    world.acknowledged(1).await;
    let (_, process) = world.launch("one").await;
    assert_eq!(process.await.unwrap(), 0);
}

/// ARC#4370: an empty address of the queue was an outage for ever.
#[tokio::test(start_paused = true)]
async fn an_empty_queue_address_is_an_outage_that_passes() {
    let mut world = World::new().await;
    world.github.trouble(Trouble::EmptyQueueUrl, 2);
    world.live().await;
    assert_eq!(world.set().sessions, 3);
    world.queue(1);
    world.queued(1).await;
}

/// ARC#3649, ARC#3420, ARC#3204: jobs waited for ever while the statistics said zero.
#[tokio::test(start_paused = true)]
async fn jobs_of_a_message_count_though_its_statistics_say_there_are_none() {
    let mut world = World::new().await;
    world.live().await;
    world.github.trouble(Trouble::ZeroStatistics, 1);
    world.queue(2);
    let told = world.queued(2).await;
    assert_eq!(told.more, 0);
    world.acknowledged(1).await;
    // Nor are they forgotten when the queue falls silent.
    let before = world.noted.told.borrow().len();
    let later = |told: &Vec<_>| told.len() >= before + 2;
    world.noted.told.subscribe().wait_for(later).await.unwrap();
    assert_eq!(world.queued(2).await.more, 0);
}

/// ARC#4285: the queue answered 200 with nothing.
#[tokio::test(start_paused = true)]
async fn empty_answers_byte_order_marks_and_unknown_messages_are_got_over() {
    let mut world = World::new().await;
    world.github.trouble(Trouble::Bom, 3);
    world.live().await;
    world.github.send_unknown_message(SET).unwrap();
    world.acknowledged(1).await;
    world.github.trouble(Trouble::EmptyBody, 1);
    world.queue(1);
    world.queued(1).await;
    world.acknowledged(2).await;
    assert_eq!(world.set().sessions, 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_the_queue_that_was_lost_loses_no_job() {
    let mut world = World::new().await;
    world.live().await;
    world.queue(1);
    let acknowledge = "DELETE /_queue/scalesets/message/*";
    world.github.inject(Fault::LostAfterEffect, acknowledge, Often::Times(1)).unwrap();
    world.github.inject(Fault::Truncated, "GET /_queue/*", Often::Times(1)).unwrap();
    world.queued(1).await;
    world.acknowledged(1).await;
    world.queue(1);
    world.queued(2).await;
    world.acknowledged(2).await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_down_leaves_the_scope_to_the_others_until_it_is_back() {
    let mut world = World::new().await;
    world.live().await;
    world.github.inject(Fault::Status(503), "* /_queue/*", Often::Times(4)).unwrap();
    world.github.evict_session(SET).unwrap();
    world.told(|last| last.is_none()).await;
    world.queue(1);
    world.queued(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_never_answers_holds_up_nobody_who_registers() {
    let mut world = World::new().await;
    world.github.inject(Fault::Hang, "* /actions/runner-registration", Often::Always).unwrap();
    world.start();
    let begun = Instant::now();
    assert!(world.sets.register(&world.runner("one")).await.is_none());
    assert!(world.sets.deregister(&Scope::org("acme"), 1).await.is_none());
    assert_eq!(begun.elapsed(), Duration::ZERO);
    world.told(|last| last.is_none()).await;
    world.github.clear_faults();
    world.told(|last| last.is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn one_repositorys_outage_leaves_the_others_sets_alone() {
    let mut world = World::with(ScaleSetOptions::default(), |config| {
        config.scope = ScopeKind::Repo;
        config.repos = vec![REPO.to_owned(), "acme/unknown".to_owned()];
    })
    .await;
    world.live().await;
    world.queue(1);
    let had = |told: &Vec<Option<Assigned>>| told.iter().flatten().any(|one| one.queued.len() == 1);
    world.noted.told.subscribe().wait_for(had).await.unwrap();
    let missing = |_: &Vec<_>| world.sets.warnings().iter().any(|one| one.contains("acme/unknown"));
    world.noted.told.subscribe().wait_for(missing).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_registration_whose_answer_was_lost_is_taken_back() {
    let mut world = World::new().await;
    world.live().await;
    let jit = "POST /_actions/*/generatejitconfig";
    world.github.inject(Fault::LostAfterEffect, jit, Often::Times(1)).unwrap();
    let failed = world.sets.register(&world.runner("one")).await.unwrap().unwrap_err();
    assert_eq!(failed.code, crate::error::Code::GithubUnreachable);
    assert!(world.github.runners().is_empty());
    assert!(world.sets.register(&world.runner("one")).await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn labels_that_were_dropped_are_told_loudly_and_no_runner_claims_them() {
    let mut world = World::new().await;
    world.github.trouble(Trouble::DroppedLabels, 1);
    world.live().await;
    let warnings = world.sets.warnings().join(" ");
    assert!(
        warnings.contains("lacks the labels") && warnings.contains("self-hosted"),
        "{warnings}"
    );
    let told = world.told(|last| last.is_some()).await.unwrap();
    assert!(told.labels.contains(SET) && !told.labels.contains("self-hosted"), "{told:?}");
}
