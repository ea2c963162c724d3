//! Failures that people reported of other listeners, as `tests/all/lessons.md` lists them, over hours.

use super::*;
use crate::simulator::{Fault, Often, Trouble};

/// ARC#3209, ARC#3351, ARC#4285: "409 already has an active session", and the listener crashed in a loop.
#[tokio::test(start_paused = true)]
async fn a_session_that_others_hold_for_long_is_asked_for_now_and_then_and_had_when_it_is_free() {
    let mut world = World::new().await;
    world.live().await;
    world.stop().await;
    let begun = Instant::now();
    world.start();
    while begun.elapsed() < Duration::from_secs(3_600) {
        // They are alive, and their session does not end.
        world.github.take_session(SET).unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let asked = world.set().conflicts;
    assert!((40..=90).contains(&asked), "{asked} times in an hour");
    assert!(!world.loop_.is_finished() && !world.sets.is_live(&Scope::org("acme")));
    world.github.evict_session(SET).unwrap();
    let free = Instant::now();
    world.told(|last| last.is_some()).await;
    assert!(free.elapsed() < Duration::from_secs(80), "{:?}", free.elapsed());
    world.queue(1);
    world.queued(1).await;
}

/// actions/scaleset#123: every 50 minutes the session was gone when its token was to be renewed, and the
/// 404 ended the listener.
#[tokio::test(start_paused = true)]
async fn sessions_that_are_gone_when_their_token_is_renewed_are_followed_by_new_ones_for_hours() {
    let mut world = World::new().await;
    world.live().await;
    let refresh = "PATCH /_actions/*/sessions/*";
    world.github.inject(Fault::Status(404), refresh, Often::Always).unwrap();
    for hour in 1..=5 {
        world.queue(1);
        world.queued(1).await;
        let (_, process) = world.launch(&format!("runner-{hour}")).await;
        assert_eq!(process.await.unwrap(), 0);
        tokio::time::sleep(Duration::from_secs(3_000)).await;
        // The queue no longer takes the token, and for another one it is too late.
        world.github.revoke_queue_token(SET).unwrap();
        world.until(|world| world.set().sessions == hour + 1).await;
    }
    assert!(world.github.look(|state| state.is_all_done()));
    let gap = world.noted.told.borrow().iter().skip_while(|one| one.is_none()).any(Option::is_none);
    assert!(!gap, "the scope was never without its level");
    // Nothing was told twice: each session went on where the one before was.
    let delivered = world.set().delivered;
    assert!(delivered.windows(2).all(|two| two[0] < two[1]), "{delivered:?}");
}

/// ARC#4370: a set that GitHub had deleted was an outage for ever.
#[tokio::test(start_paused = true)]
async fn a_set_that_was_deleted_while_nobody_listened_is_made_anew() {
    let mut world = World::new().await;
    world.live().await;
    world.queue(1);
    world.queued(1).await;
    world.acknowledged(1).await;
    let before = world.set().id;
    world.crash();
    world.github.delete_scale_set(SET).unwrap();
    world.start();
    world.until(|world| world.github.scale_set(SET).is_some_and(|set| set.id != before)).await;
    world.queued(1).await;
    world.acknowledged(1).await;
}

/// ARC#4370: an empty address of the queue was an outage for ever.
#[tokio::test(start_paused = true)]
async fn after_an_hour_of_empty_queue_addresses_the_set_is_listened_to_again() {
    let mut world = World::new().await;
    world.github.trouble(Trouble::EmptyQueueUrl, 60);
    let begun = Instant::now();
    world.live().await;
    let (lasted, sessions) = (begun.elapsed().as_secs(), world.set().sessions);
    assert!((2_400..=4_600).contains(&lasted), "{lasted} s");
    assert_eq!(sessions, 61, "each was closed, or the next could not be opened");
    world.queue(1);
    world.queued(1).await;
}
