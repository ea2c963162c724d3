use super::*;

fn sample(at: i64) -> Sample {
    Sample {
        at,
        queued_jobs: 3,
        active_runners: 2,
        busy_runners: 1,
        capacity: 10,
        api_remaining: Some(4_821),
    }
}

fn times(samples: &Samples, now: i64) -> Vec<i64> {
    samples.series(now).rows.iter().map(|sample| sample.at).collect()
}

/// A place for a file that is not there yet.
fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state/default.samples.jsonl");
    (directory, file)
}

fn lines(file: &Path) -> usize {
    fs::read_to_string(file).unwrap().lines().count()
}

#[test]
fn they_are_told_as_rows_of_named_columns_and_what_is_unknown_as_null() {
    let samples = Samples::in_memory();
    samples.record(sample(1_764_110_400));
    samples.record(Sample { api_remaining: None, ..sample(1_764_110_460) });
    let told = serde_json::to_string(&samples.series(1_764_110_460)).unwrap();
    assert_eq!(
        told,
        r#"{"interval_s":60,"columns":["at","queued_jobs","active_runners","busy_runners","capacity","api_remaining"],"rows":[[1764110400,3,2,1,10,4821],[1764110460,3,2,1,10,null]]}"#
    );
}

#[test]
fn a_day_is_kept_and_no_more_however_close_they_are() {
    let samples = Samples::in_memory();
    for second in 0..2_000 {
        samples.record(sample(second));
    }
    assert_eq!(times(&samples, 2_000), (560..2_000).collect::<Vec<_>>());
    samples.record(sample(1_999 + OLDEST));
    assert_eq!(times(&samples, 1_999 + OLDEST), [1_999 + OLDEST]);
    assert!(times(&samples, 1_999 + 2 * OLDEST).is_empty(), "after a day without another");
}

#[test]
fn after_a_clock_was_set_back_times_grow_all_the_same() {
    let samples = Samples::in_memory();
    for at in [60, 120, 180, 130] {
        samples.record(sample(at));
    }
    assert_eq!(times(&samples, 200), [60, 120, 130]);
}

#[test]
fn a_restart_shows_what_was_before_it_but_nothing_older_than_a_day_or_to_come() {
    let (_directory, file) = place();
    let samples = Samples::open(file.clone(), 0);
    for at in [100, 160, OLDEST, OLDEST + 60] {
        samples.record(sample(at));
    }
    let again = Samples::open(file.clone(), 100 + OLDEST);
    assert_eq!(times(&again, 100 + OLDEST), [160, OLDEST, OLDEST + 60]);
    assert_eq!(*again.subscribe().borrow(), OLDEST + 60);
    again.record(sample(300 + OLDEST));
    let third = Samples::open(file.clone(), 300 + OLDEST);
    assert_eq!(times(&third, 300 + OLDEST), [OLDEST, OLDEST + 60, 300 + OLDEST]);
    assert_eq!(times(&Samples::open(file, OLDEST + 1), OLDEST + 1), [100, 160, OLDEST]);
}

#[test]
fn a_damaged_line_costs_itself_only_and_the_next_sample_mends_the_file() {
    let (_directory, file) = place();
    fs::create_dir(file.parent().unwrap()).unwrap();
    let damaged =
        b"[60,3,2,1,10,4821]\n\xff\xfe not JSON\n[1]\n[120,3,2,1,10,null]\n[180,3,2,".as_slice();
    fs::write(&file, damaged).unwrap();
    let samples = Samples::open(file.clone(), 200);
    assert_eq!(times(&samples, 200), [60, 120]);
    samples.record(sample(240));
    let expected = "[60,3,2,1,10,4821]\n[120,3,2,1,10,null]\n[240,3,2,1,10,4821]\n";
    assert_eq!(fs::read_to_string(&file).unwrap(), expected);
}

#[test]
fn the_file_is_bounded_and_nobody_elses_to_read() {
    let (_directory, file) = place();
    let samples = Samples::open(file.clone(), 0);
    let count = 3 * MOST as i64;
    for minute in 0..count {
        samples.record(sample(minute * 60));
        if minute % 97 == 0 {
            assert!(lines(&file) <= 2 * MOST, "{}", lines(&file));
        }
    }
    let all = times(&samples, (count - 1) * 60);
    assert_eq!(all.len(), MOST);
    assert_eq!(times(&Samples::open(file.clone(), count * 60 - 60), count * 60 - 60), all);
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn where_nothing_can_be_written_samples_are_kept_in_memory_and_written_when_it_can_be() {
    let (directory, file) = place();
    // A file where the directory should be.
    fs::write(directory.path().join("state"), "").unwrap();
    let samples = Samples::open(file.clone(), 0);
    samples.record(sample(60));
    samples.record(sample(120));
    assert_eq!(times(&samples, 120), [60, 120]);
    fs::remove_file(directory.path().join("state")).unwrap();
    samples.record(sample(180));
    assert_eq!(times(&Samples::open(file.clone(), 180), 180), [60, 120, 180]);
    // Somebody tidies up: the next sample brings all of them back.
    fs::remove_file(&file).unwrap();
    samples.record(sample(240));
    samples.record(sample(300));
    assert_eq!(times(&Samples::open(file, 300), 300), [60, 120, 180, 240, 300]);
}
