//! Whose machines are that are taken over, deleted, or left.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_an_unfinished_create_left_is_taken_over_when_it_shows_late_and_nothing_else_is_touched()
 {
    // (how long after this create began it was made, the cloud's window, what this create has in
    // the end)
    for (after, window, left) in [
        (0, 0, &["w-old-0"]),
        (5, 0, &["w-u-0"]),
        // A killed provider's call was carried out after its end.
        (5, 10, &["w-old-0"]),
    ] {
        let memory = Memory {
            window: Duration::from_secs(window),
            ..Memory::default()
        };
        let mark = Mark {
            origin: "here".to_owned(),
            ..mark("2")
        };
        let foreign = Mark {
            uid: "old".to_owned(),
            unsaved: true,
            ..mark.clone()
        };
        let now = SystemTime::now();
        let order = Order {
            mark,
            prefix: "w-u-".to_owned(),
            image: "flatcar",
            shape: &SHAPE,
            user_data: &|_| Vec::new(),
            limits: Limits::new(1, Share::Count(1), Share::Count(0), false),
            creates: vec!["w-u-0".to_owned()],
            deletes: Vec::new(),
            next_ordinal: 1,
            pace: TEST.pace,
            timeout: "1h".to_owned(),
            window_closes: None,
            leftovers: Leftovers::TakeFrom(
                now + Duration::from_secs(1),
                Rolls {
                    user_data: true,
                    image: true,
                    shape: true,
                    triggers: true,
                },
            ),
            gives_way: true,
            secret: Secret::default(),
            ignored_ids: BTreeSet::new(),
        };
        let roll = run_order(&memory, order, Vec::new());
        let late = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let created = now + Duration::from_secs(after);
            memory.put_created("w-old-0", &foreign, created);
            let other = Mark {
                generation: "3".to_owned(),
                ..foreign.clone()
            };
            memory.put_created("w-other-0", &other, created);
        };
        let (ended, ()) = tokio::join!(roll, late);
        assert!(ended.problems.is_empty(), "{:?}", ended.problems);
        assert_eq!(names(&ended), left, "{after} {window}");
        let ours = memory.machines().into_iter().filter(|m| m.mark.uid == "u");
        let ours: Vec<String> = ours.map(|machine| machine.name).collect();
        assert_eq!(
            ours, left,
            "as many as are wanted: the one that never ran goes"
        );
        let others = memory
            .machines()
            .into_iter()
            .filter(|m| m.mark.uid == "old");
        assert_eq!(others.count(), 2 - usize::from(left[0] == "w-old-0"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_state_adopts_before_its_delete_is_left() {
    // (how long after the apply began it is adopted, how long each machine takes to drain, what is
    // deleted)
    for (adopted_after, drain_takes, left) in [
        (0, 0, &["w-u-1"] as &[&str]),
        (10, 30, &["w-u-1"]),
        (10, 0, &[]),
    ] {
        let memory = with(0..3);
        let test = Test {
            replicas: 0,
            deletes: &[0, 1, 2],
            ..TEST
        };
        let cluster = Arc::new(Cluster {
            drain_takes: Duration::from_secs(drain_takes),
            ..Cluster::default()
        });
        let cancel = CancellationToken::new();
        let listed = memory.machines();
        if adopted_after == 0 {
            memory.adopt("w-u-1", "other");
        }
        let adopts = async {
            tokio::time::sleep(Duration::from_secs(adopted_after)).await;
            memory.adopt("w-u-1", "other");
        };
        let (ended, ()) = tokio::join!(
            run_over(&test, &memory, Some(&cluster), &cancel, listed),
            adopts
        );
        assert!(ended.problems.is_empty(), "{:?}", ended.problems);
        assert_eq!(memory.names(), left, "{adopted_after} {drain_takes}");
        let adopted: Vec<&str> = ended.adopted.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(adopted, left);
        assert!(ended.machines.is_empty(), "it is in this state no more");
    }
}

#[tokio::test(start_paused = true)]
async fn one_list_tells_whose_all_machines_are_that_are_deleted_at_once() {
    let memory = with(0..9);
    let deletes = &[0, 1, 2, 3, 4, 5, 6, 7, 8];
    let test = Test {
        replicas: 0,
        deletes,
        ..TEST
    };
    let before = memory.calls(Call::List);
    let ended = run(&test, &memory).await;
    assert!(ended.problems.is_empty() && memory.names().is_empty());
    assert_eq!(memory.calls(Call::List) - before, 1);
    assert_eq!(memory.calls(Call::Find), 0);
}

#[tokio::test(start_paused = true)]
async fn what_this_apply_made_twice_is_deleted_and_what_others_copied_is_not() {
    for (copied, left) in [(false, 1), (true, 2)] {
        let memory = with(0..1);
        let created = SystemTime::now() - Duration::from_secs(if copied { 3600 } else { 0 });
        let test = Test {
            replicas: 2,
            creates: &[1],
            ..TEST
        };
        let cancel = CancellationToken::new();
        let listed = memory.machines();
        let doubles = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            memory.put_created("w-u-1", &mark("2"), created);
        };
        let run = run_over(&test, &memory, None, &cancel, listed);
        let (ended, ()) = tokio::join!(run, doubles);
        assert!(ended.problems.is_empty(), "{:?}", ended.problems);
        assert_eq!(names(&ended), ["w-u-0", "w-u-1"]);
        let named = memory.names();
        let named = named.iter().filter(|name| *name == "w-u-1");
        assert_eq!(named.count(), left, "copied: {copied}");
    }
}
