//! The behaviours. Each one is a sentence that holds for every cloud.

use std::collections::BTreeSet;

use flatcar::provider::{Diagnostics, Severity, Value};
use flatcar::worker_group::cloud::{Deletion, Growth, Kind, Machine, Mark, Phase, Spec};
use futures::FutureExt as _;
use futures::future::join_all;
use serde_json::json;

use super::{Act, Behaviour, Bench, Shown, Trouble, configured, connect};

macro_rules! behaviours {
    ($($says:literal => $show:ident,)*) => {
        /// The list.
        pub(crate) const BEHAVIOURS: &[Behaviour] = &[
            $(Behaviour { says: $says, show: |bench| $show(bench).boxed() },)*
        ];
    };
}

behaviours! {
    "a created machine is listed, with name, image, mark and id" => created_is_listed,
    "a second create of one spec answers the same machine" => second_create,
    "eight creates of one spec at once make one machine" => eight_at_once,
    "twelve creates at once make twelve machines" => twelve_at_once,
    "a name that is taken by another spec is refused, and makes nothing" => taken_name,
    "a raised attempt makes another machine once the first one is gone" => raised_attempt,
    "a repeat after the deletion never answers a machine that lives and is not listed" => repeat_after_deletion,
    "a machine is pending before it runs" => pending_before_running,
    "a machine runs" => runs,
    "deleting twice is no error, and leaves nothing" => delete_twice,
    "deleting what never existed is gone" => delete_unknown,
    "a machine that is going is listed as such" => going_is_listed,
    "deleting one machine leaves the others" => delete_one,
    "marks are rewritten, and a null shape leaves tags alone" => marks_round_trip,
    "`unsaved` comes off many machines in one call" => unsaved_comes_off,
    "tags change in place, and those that left the configuration come off" => tags_in_place,
    "tags of others stay, and are no drift" => strangers_tags,
    "marking a machine that is gone is no error, and marks the others" => mark_gone,
    "a list is of one cluster and group, whatever the uid" => list_is_of_the_group,
    "a list of a group without machines is empty" => list_of_nothing,
    "a list takes names as they are, not as patterns" => list_of_patterns,
    "a proof stays on a machine whose mark is rewritten without one" => proof_stays,
    "a list may be late, and asking by id is not" => late_lists,
    "find answers those that exist and leaves out the others" => find_is_definite,
    "a machine that has lost its mark, or a part of it, is found by its id with the rest, and not listed" => unmarked_behind,
    "a machine that somebody removed is gone from the list and not alive when asked for" => removed_behind,
    "a machine that somebody stopped is stopped" => stopped_behind,
    "a machine that somebody stopped is started, and one that runs or is gone is passed over" => started_again,
    "what is observed of a new machine is what was wanted" => observed_is_wanted,
    "drift of a tag is visible" => drift_is_visible,
    "a change of the shape is visible as a difference from what is observed" => change_is_visible,
    "user data over the limit is refused on `user_data`, and makes nothing" => user_data_limit,
    "user data that fits when it is packed is packed" => user_data_is_packed,
    "an image that does not exist is refused on `image`" => bad_image,
    "a place that does not exist is refused on its attribute" => bad_place,
    "quota is told as quota, and makes nothing" => quota,
    "a create whose answer is lost is found again, and not doubled" => answer_lost,
    "a create whose request is lost is made by the next try" => request_lost,
    "throttling is told as such" => throttled,
    "expired credentials are told as such" => expired,
    "a missing permission is told as such" => forbidden,
    "a cloud in trouble is no empty group" => down,
    "the scope is the same each time, and another scope is refused" => scope,
    "a group without a shape can be listed and deleted" => without_a_shape,
    "a configuration that is not known yet is told, with its attribute" => unknown_configuration,
    "the preflight has nothing against a good group, and makes nothing" => preflight_good,
    "the preflight refuses an image and a place that do not exist, each on its attribute" => preflight_bad,
    "the console of a machine is text, and of one that never was an error" => console,
    // The last one: a stand-in with a thousand machines is slow.
    "a list is whole beyond one page" => pages,
}

async fn created_is_listed(bench: &Bench<'_>) -> Shown {
    let created = bench.create(0).await.expect("creates");
    let listed = bench.list().await;
    let [machine] = &listed[..] else {
        panic!("one machine, not {listed:?}")
    };
    assert_eq!(machine.id, created.id);
    assert_eq!(machine.name, bench.name(0));
    assert_eq!(machine.image, bench.image());
    assert_eq!(machine.mark, bench.mark);
    assert_eq!(created.mark, bench.mark);
    assert!(is_alive(machine), "{machine:?}");
    assert!(machine.created.is_some(), "{machine:?}");
    Ok(())
}

async fn second_create(bench: &Bench<'_>) -> Shown {
    let first = bench.create(0).await.expect("creates");
    let second = bench.create(0).await.expect("creates again");
    assert_eq!(first.id, second.id);
    // Another process knows nothing of the first create.
    let other = bench.plainly().await;
    let third = bench
        .create_on(other.as_ref(), 0, 0)
        .await
        .expect("creates once more");
    assert_eq!(first.id, third.id);
    assert_eq!(bench.list().await.len(), 1);
    Ok(())
}

async fn eight_at_once(bench: &Bench<'_>) -> Shown {
    let created = join_all((0..8).map(|_| bench.create(0))).await;
    let ids: BTreeSet<String> = created
        .into_iter()
        .map(|created| created.expect("creates").id)
        .collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(bench.list().await.len(), 1);
    Ok(())
}

async fn twelve_at_once(bench: &Bench<'_>) -> Shown {
    let created = join_all((0..12).map(|ordinal| bench.create(ordinal))).await;
    let ids: BTreeSet<String> = created
        .into_iter()
        .map(|created| created.expect("creates").id)
        .collect();
    assert_eq!(ids.len(), 12, "{ids:?}");
    let names: BTreeSet<String> = bench
        .list()
        .await
        .into_iter()
        .map(|machine| machine.name)
        .collect();
    assert_eq!(names, (0..12).map(|ordinal| bench.name(ordinal)).collect());
    Ok(())
}

async fn taken_name(bench: &Bench<'_>) -> Shown {
    bench.create(0).await.expect("creates");
    let name = bench.name(0);
    let other = Spec {
        image: bench.subject.images()[1],
        ..bench.spec(&name, 0)
    };
    let error = bench
        .cloud
        .create(&other)
        .await
        .expect_err("the name is taken");
    assert_eq!(error.kind, Kind::AlreadyExists, "{error}");
    let listed = bench.list().await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].image, bench.image());
    Ok(())
}

async fn raised_attempt(bench: &Bench<'_>) -> Shown {
    let first = bench.create(0).await.expect("creates");
    bench.delete(&first).await;
    let second = bench
        .create_on(bench.cloud.as_ref(), 0, 1)
        .await
        .expect("creates another one");
    assert_ne!(first.id, second.id);
    assert!(is_alive(&second), "{second:?}");
    assert_eq!(bench.list().await.len(), 1);
    Ok(())
}

async fn repeat_after_deletion(bench: &Bench<'_>) -> Shown {
    let first = bench.create(0).await.expect("creates");
    bench.delete(&first).await;
    let second = bench.create(0).await.expect("answers");
    let listed = bench.list().await;
    if is_alive(&second) {
        assert_eq!(listed.len(), 1, "{second:?}");
    } else {
        assert!(listed.is_empty(), "{listed:?}");
    }
    Ok(())
}

async fn pending_before_running(bench: &Bench<'_>) -> Shown {
    bench.subject.trouble(Trouble::SlowBoot).await?;
    // A cloud whose shape says the boot time has it there.
    let shape = bench.shape_with(&slow(bench));
    let name = bench.name(0);
    let spec = Spec {
        shape: &shape,
        ..bench.spec(&name, 0)
    };
    let created = bench.cloud.create(&spec).await.expect("creates");
    assert_eq!(created.phase, Phase::Pending);
    assert_eq!(bench.list().await[0].phase, Phase::Pending);
    Ok(())
}

async fn runs(bench: &Bench<'_>) -> Shown {
    bench.create(0).await.expect("creates");
    let listed = bench.list().await;
    assert_eq!(listed[0].phase, Phase::Running, "{listed:?}");
    assert!(!listed[0].addresses.is_empty(), "{listed:?}");
    Ok(())
}

async fn delete_twice(bench: &Bench<'_>) -> Shown {
    let machine = bench.create(0).await.expect("creates");
    bench.delete(&machine).await;
    bench.deleted(&machine).await;
    assert!(bench.list().await.is_empty());
    Ok(())
}

async fn delete_unknown(bench: &Bench<'_>) -> Shown {
    let machine = bench.create(0).await.expect("creates");
    let unknown = Machine {
        id: bench.subject.unknown_id(),
        created: None,
        ..machine
    };
    assert_eq!(
        bench.cloud.delete(&unknown).await.expect("is gone"),
        Deletion::Gone
    );
    assert_eq!(bench.list().await.len(), 1);
    Ok(())
}

async fn going_is_listed(bench: &Bench<'_>) -> Shown {
    bench.subject.trouble(Trouble::SlowDelete).await?;
    let machine = bench.create(0).await.expect("creates");
    assert_eq!(
        bench.cloud.delete(&machine).await.expect("deletes"),
        Deletion::Going
    );
    assert_eq!(bench.list().await[0].phase, Phase::Deleting);
    assert_eq!(
        bench.cloud.delete(&machine).await.expect("deletes again"),
        Deletion::Going
    );
    Ok(())
}

async fn delete_one(bench: &Bench<'_>) -> Shown {
    let machines = three(bench).await;
    bench.delete(&machines[1]).await;
    let left: BTreeSet<String> = bench
        .list()
        .await
        .into_iter()
        .map(|machine| machine.id)
        .collect();
    assert_eq!(
        left,
        [machines[0].id.clone(), machines[2].id.clone()].into()
    );
    Ok(())
}

async fn marks_round_trip(bench: &Bench<'_>) -> Shown {
    let machine = bench.create(0).await.expect("creates");
    let mark = Mark {
        uid: "b7q2".to_owned(),
        generation: "fedcba9876543210-2".to_owned(),
        unsaved: false,
        ..bench.mark.clone()
    };
    bench
        .cloud
        .mark(std::slice::from_ref(&machine), &mark, &Value::Null)
        .await
        .expect("marks");
    let listed = bench.list().await;
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0].mark, mark);
    assert_eq!(listed[0].name, machine.name);
    assert_eq!(listed[0].observed, machine.observed);
    Ok(())
}

async fn list_of_patterns(bench: &Bench<'_>) -> Shown {
    bench.create(0).await.expect("creates");
    let Mark { cluster, group, .. } = &bench.mark;
    let part = &cluster[..cluster.len() - 1];
    for (cluster, group) in [
        ("*", "*"),
        (cluster.as_str(), "w*"),
        (&cluster[..7], group.as_str()),
        (&format!("{part}?"), group.as_str()),
        (&format!("{part}*"), group.as_str()),
        (&cluster.to_uppercase(), group.as_str()),
    ] {
        // A name that the cloud refuses is as good as one that it does not find.
        let listed = bench.cloud.list(cluster, group).await.unwrap_or_default();
        assert!(listed.is_empty(), "{cluster}/{group}: {listed:?}");
    }
    assert_eq!(bench.list().await.len(), 1);
    Ok(())
}

async fn proof_stays(bench: &Bench<'_>) -> Shown {
    let machine = bench.create(0).await.expect("creates");
    assert!(!bench.mark.proof.is_empty());
    let without = Mark {
        proof: String::new(),
        unsaved: false,
        ..bench.mark.clone()
    };
    let machines = std::slice::from_ref(&machine);
    for shape in [&Value::Null, &bench.shape] {
        let marked = bench.cloud.mark(machines, &without, shape).await;
        marked.expect("marks");
        let listed = bench.list().await;
        assert_eq!(listed[0].mark.proof, bench.mark.proof, "{listed:?}");
        assert_eq!(listed[0].mark.origin, bench.mark.origin, "{listed:?}");
    }
    Ok(())
}

async fn unsaved_comes_off(bench: &Bench<'_>) -> Shown {
    let machines = three(bench).await;
    assert!(
        bench
            .list()
            .await
            .iter()
            .all(|machine| machine.mark.unsaved)
    );
    let saved = Mark {
        unsaved: false,
        ..bench.mark.clone()
    };
    bench
        .cloud
        .mark(&machines, &saved, &Value::Null)
        .await
        .expect("marks");
    assert!(
        bench
            .list()
            .await
            .iter()
            .all(|machine| machine.mark == saved)
    );
    Ok(())
}

async fn tags_in_place(bench: &Bench<'_>) -> Shown {
    let machine = bench.create(0).await.expect("creates");
    assert_eq!(tag(bench, &machine, "team").as_deref(), Some("a"));
    assert_eq!(tag(bench, &machine, "cost").as_deref(), Some("1"));
    let shape = bench.shape_with(&[(bench.subject.tags(), json!({"team": "b", "tier": "2"}))]);
    bench
        .cloud
        .mark(&[machine], &bench.mark, &shape)
        .await
        .expect("marks");
    let listed = bench.list().await;
    assert_eq!(tag(bench, &listed[0], "team").as_deref(), Some("b"));
    assert_eq!(tag(bench, &listed[0], "tier").as_deref(), Some("2"));
    assert_eq!(tag(bench, &listed[0], "cost"), None);
    assert_eq!(listed[0].mark, bench.mark);
    Ok(())
}

async fn strangers_tags(bench: &Bench<'_>) -> Shown {
    let machine = bench.create(0).await.expect("creates");
    bench.subject.behind(&machine, Act::TagAsStranger).await?;
    let before = bench.list().await;
    assert_eq!(tag(bench, &before[0], "stranger"), None, "{before:?}");
    let shape = bench.shape_with(&[(bench.subject.tags(), json!({}))]);
    bench
        .cloud
        .mark(&before, &bench.mark, &shape)
        .await
        .expect("marks");
    assert_eq!(tag(bench, &bench.list().await[0], "team"), None);
    // It is still there: the same act would otherwise be needed again.
    bench.subject.behind(&machine, Act::TagAsStranger).await
}

async fn mark_gone(bench: &Bench<'_>) -> Shown {
    let mut machines = three(bench).await;
    bench.delete(&machines[1]).await;
    machines.push(Machine {
        id: bench.subject.unknown_id(),
        created: None,
        ..machines[0].clone()
    });
    let saved = Mark {
        unsaved: false,
        ..bench.mark.clone()
    };
    for shape in [&Value::Null, &bench.shape] {
        bench
            .cloud
            .mark(&machines, &saved, shape)
            .await
            .expect("marks");
    }
    let listed = bench.list().await;
    assert_eq!(listed.len(), 2);
    assert!(
        listed.iter().all(|machine| !machine.mark.unsaved),
        "{listed:?}"
    );
    Ok(())
}

async fn list_is_of_the_group(bench: &Bench<'_>) -> Shown {
    bench.create(0).await.expect("creates");
    let others = [
        Mark {
            uid: "b7q2".to_owned(),
            ..bench.mark.clone()
        },
        Mark {
            group: "others".to_owned(),
            ..bench.mark.clone()
        },
        Mark {
            cluster: format!("{}-b", bench.mark.cluster),
            ..bench.mark.clone()
        },
    ];
    for (ordinal, mark) in (1..).zip(&others) {
        let name = bench.name(ordinal);
        bench
            .cloud
            .create(&Spec {
                mark,
                ..bench.spec(&name, ordinal)
            })
            .await
            .expect("creates");
    }
    let uids: BTreeSet<String> = bench
        .list()
        .await
        .into_iter()
        .map(|machine| machine.mark.uid)
        .collect();
    assert_eq!(uids, ["b7q2".to_owned(), "k3x9".to_owned()].into());
    assert_eq!(bench.list().await.len(), 2);
    Ok(())
}

async fn list_of_nothing(bench: &Bench<'_>) -> Shown {
    assert!(bench.list().await.is_empty());
    Ok(())
}

async fn pages(bench: &Bench<'_>) -> Shown {
    bench.subject.small_pages().await?;
    let mut made = BTreeSet::new();
    for ordinal in 0..12 {
        made.insert(bench.create(ordinal).await.expect("creates").id);
    }
    let listed = |machines: Vec<Machine>| {
        let ids = machines.into_iter().map(|machine| machine.id);
        ids.collect::<BTreeSet<String>>()
    };
    let before = bench.subject.pages().await;
    assert_eq!(listed(bench.list().await), made);
    let between = bench.subject.pages().await;
    assert!(between >= before + 2, "{before} pages, then {between}");
    let ids: Vec<String> = made.iter().cloned().collect();
    assert_eq!(listed(bench.cloud.find(&ids).await.expect("finds")), made);
    // One by one they have no pages.
    if !bench.cloud.finds_one_by_one() {
        assert!(bench.subject.pages().await >= between + 2);
    }
    Ok(())
}

async fn late_lists(bench: &Bench<'_>) -> Shown {
    bench.subject.trouble(Trouble::LateLists).await?;
    let machine = bench.create(0).await.expect("creates");
    assert!(bench.list().await.is_empty());
    let found = bench
        .cloud
        .find(std::slice::from_ref(&machine.id))
        .await
        .expect("finds");
    assert_eq!(found.len(), 1);
    Ok(())
}

async fn find_is_definite(bench: &Bench<'_>) -> Shown {
    let machines = three(bench).await;
    bench.delete(&machines[1]).await;
    let mut ids: Vec<String> = machines.iter().map(|machine| machine.id.clone()).collect();
    ids.push(bench.subject.unknown_id());
    let found = bench.cloud.find(&ids).await.expect("finds");
    let found: BTreeSet<String> = found.into_iter().map(|machine| machine.id).collect();
    assert_eq!(found, [ids[0].clone(), ids[2].clone()].into());
    assert!(
        bench
            .cloud
            .find(&[])
            .await
            .expect("finds nothing")
            .is_empty()
    );
    Ok(())
}

async fn unmarked_behind(bench: &Bench<'_>) -> Shown {
    let machines = three(bench).await;
    bench.subject.behind(&machines[0], Act::TakeUid).await?;
    bench.subject.behind(&machines[1], Act::Unmark).await?;
    let without_uid = Mark {
        uid: String::new(),
        ..bench.mark.clone()
    };
    let without = Mark {
        cluster: String::new(),
        group: String::new(),
        uid: String::new(),
        generation: String::new(),
        unsaved: false,
        origin: String::new(),
        proof: String::new(),
    };
    let ids: Vec<String> = machines.iter().map(|machine| machine.id.clone()).collect();
    let found = bench.cloud.find(&ids).await.expect("finds");
    assert_eq!(found.len(), machines.len(), "{found:?}");
    for (machine, mark) in machines.iter().zip([&without_uid, &without, &bench.mark]) {
        let found = found.iter().find(|found| found.id == machine.id);
        let found = found.expect("is found by its id");
        assert_eq!(&found.mark, mark);
        assert_eq!(found.name, machine.name, "taken off was the mark alone");
        assert!(is_alive(found), "{found:?}");
    }
    let listed = bench.list().await;
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0].id, machines[2].id);
    // What was found is marked like any other, and is of the group again.
    bench
        .cloud
        .mark(&found, &bench.mark, &Value::Null)
        .await
        .expect("marks");
    let listed = bench.list().await;
    assert_eq!(listed.len(), machines.len(), "{listed:?}");
    assert!(
        listed.iter().all(|machine| machine.mark == bench.mark),
        "{listed:?}"
    );
    Ok(())
}

async fn removed_behind(bench: &Bench<'_>) -> Shown {
    let machines = three(bench).await;
    bench.subject.behind(&machines[0], Act::Remove).await?;
    bench.gone(&machines[0]).await;
    assert_eq!(bench.list().await.len(), 2);
    // A cloud that still remembers it may say so; it must not say that it lives.
    let found = bench
        .cloud
        .find(std::slice::from_ref(&machines[0].id))
        .await
        .expect("finds");
    assert!(!found.iter().any(is_alive), "{found:?}");
    bench.deleted(&machines[0]).await;
    assert!(
        bench
            .cloud
            .find(std::slice::from_ref(&machines[0].id))
            .await
            .expect("finds")
            .is_empty()
    );
    Ok(())
}

async fn stopped_behind(bench: &Bench<'_>) -> Shown {
    let machine = bench.create(0).await.expect("creates");
    bench.subject.behind(&machine, Act::Stop).await?;
    let listed = bench.list().await;
    assert_eq!(listed[0].phase, Phase::Stopped);
    assert!(listed[0].message.is_some(), "{listed:?}");
    Ok(())
}

async fn started_again(bench: &Bench<'_>) -> Shown {
    let machines = three(bench).await;
    bench.subject.behind(&machines[0], Act::Stop).await?;
    bench.subject.behind(&machines[1], Act::Remove).await?;
    bench.gone(&machines[1]).await;
    bench.cloud.start(&machines).await.expect("starts");
    let machine = bench.booted(&machines[0].id).await;
    assert_eq!(machine.phase, Phase::Running, "{machine:?}");
    assert_eq!(bench.list().await.len(), 2);
    Ok(())
}

async fn observed_is_wanted(bench: &Bench<'_>) -> Shown {
    bench.create(0).await.expect("creates");
    let observed = &bench.list().await[0].observed;
    let wanted = bench.cloud.wanted(&bench.shape);
    assert!(wanted.len() >= 3, "{wanted:?}");
    for (key, value) in &wanted {
        assert_eq!(observed.get(key), Some(value), "{key} of {observed:?}");
    }
    Ok(())
}

async fn drift_is_visible(bench: &Bench<'_>) -> Shown {
    let machine = bench.create(0).await.expect("creates");
    bench.subject.behind(&machine, Act::Retag).await?;
    let wanted = bench.cloud.wanted(&bench.shape);
    let team = format!("{}.team", bench.subject.tags());
    assert_ne!(bench.list().await[0].observed.get(&team), wanted.get(&team));
    Ok(())
}

async fn change_is_visible(bench: &Bench<'_>) -> Shown {
    bench.create(0).await.expect("creates");
    let observed = &bench.list().await[0].observed;
    let shape = bench.shape_with(&[(bench.subject.tags(), json!({"team": "b"}))]);
    let team = format!("{}.team", bench.subject.tags());
    assert_ne!(observed.get(&team), bench.cloud.wanted(&shape).get(&team));
    Ok(())
}

async fn user_data_limit(bench: &Bench<'_>) -> Shown {
    // Does not compress: no wrapper helps. More than any cloud takes.
    let mut noise = String::new();
    let mut state = 1_u64;
    while noise.len() < 1_536 * 1024 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        noise.push(char::from(b'!' + u8::try_from(state >> 58).unwrap_or(0)));
    }
    let noise = noise.replace(['"', '\\'], "_");
    let text = format!(
        r#"{{"ignition":{{"version":"3.4.0"}},"storage":{{"files":[{{"path":"/a","contents":{{"source":"data:,{noise}"}}}}]}}}}"#
    );
    let name = bench.name(0);
    let spec = Spec {
        user_data: text.as_bytes(),
        ..bench.spec(&name, 0)
    };
    let error = bench
        .cloud
        .create(&spec)
        .await
        .expect_err("it does not fit");
    assert_eq!(
        (error.kind, error.attribute),
        (Kind::BadRequest, Some("user_data")),
        "{error}"
    );
    assert!(
        !error.to_string().contains(&noise[..32]),
        "user data must not be told"
    );
    assert!(bench.list().await.is_empty());
    Ok(())
}

async fn user_data_is_packed(bench: &Bench<'_>) -> Shown {
    let text = format!(
        r#"{{"ignition":{{"version":"3.4.0"}},"storage":{{"files":[{{"path":"/a","contents":{{"source":"data:,{}"}}}}]}}}}"#,
        "a".repeat(40_000)
    );
    let name = bench.name(0);
    let spec = Spec {
        user_data: text.as_bytes(),
        ..bench.spec(&name, 0)
    };
    bench
        .cloud
        .create(&spec)
        .await
        .expect("fits when it is packed");
    Ok(())
}

async fn bad_image(bench: &Bench<'_>) -> Shown {
    let name = bench.name(0);
    let spec = Spec {
        image: bench.subject.unknown_image(),
        ..bench.spec(&name, 0)
    };
    let error = bench
        .cloud
        .create(&spec)
        .await
        .expect_err("there is no such image");
    assert_eq!(
        (error.kind, error.attribute),
        (Kind::BadRequest, Some("image")),
        "{error}"
    );
    assert!(bench.list().await.is_empty());
    Ok(())
}

async fn bad_place(bench: &Bench<'_>) -> Shown {
    let (attribute, value) = bench.subject.nowhere();
    let shape = bench.shape_with(&[(attribute, value)]);
    let name = bench.name(0);
    let spec = Spec {
        shape: &shape,
        ..bench.spec(&name, 0)
    };
    let error = bench
        .cloud
        .create(&spec)
        .await
        .expect_err("there is no such place");
    assert_eq!(error.kind, Kind::BadRequest, "{error}");
    let blamed = format!("{}.{attribute}", bench.subject.entry().name);
    assert_eq!(error.attribute, Some(blamed.as_str()), "{error}");
    assert!(bench.list().await.is_empty());
    Ok(())
}

async fn quota(bench: &Bench<'_>) -> Shown {
    bench.subject.trouble(Trouble::Quota).await?;
    let error = bench.create(0).await.expect_err("the quota is used up");
    assert_eq!(error.kind, Kind::Quota, "{error}");
    assert!(!error.is_retryable());
    assert!(bench.list().await.is_empty());
    Ok(())
}

async fn answer_lost(bench: &Bench<'_>) -> Shown {
    bench.subject.trouble(Trouble::AnswerLost).await?;
    let cloud = bench.plainly().await;
    let error = bench
        .create_on(cloud.as_ref(), 0, 0)
        .await
        .expect_err("the answer is lost");
    assert_eq!(error.kind, Kind::Ambiguous, "{error}");
    bench.subject.calm().await;
    let listed = bench.list().await;
    assert_eq!(listed.len(), 1, "carried out");
    let again = bench
        .create_on(cloud.as_ref(), 0, 0)
        .await
        .expect("answers");
    assert_eq!(again.id, listed[0].id);
    assert_eq!(bench.list().await.len(), 1);
    Ok(())
}

async fn request_lost(bench: &Bench<'_>) -> Shown {
    bench.subject.trouble(Trouble::RequestLost).await?;
    let cloud = bench.plainly().await;
    let error = bench
        .create_on(cloud.as_ref(), 0, 0)
        .await
        .expect_err("nobody answers");
    assert_eq!(error.kind, Kind::Ambiguous, "{error}");
    bench.subject.calm().await;
    assert!(bench.list().await.is_empty());
    bench
        .create_on(cloud.as_ref(), 0, 0)
        .await
        .expect("creates");
    assert_eq!(bench.list().await.len(), 1);
    Ok(())
}

async fn throttled(bench: &Bench<'_>) -> Shown {
    refused(bench, Trouble::Throttled, Kind::RateLimit).await
}

async fn expired(bench: &Bench<'_>) -> Shown {
    refused(bench, Trouble::Expired, Kind::Unauthenticated).await
}

async fn forbidden(bench: &Bench<'_>) -> Shown {
    refused(bench, Trouble::Forbidden, Kind::Forbidden).await
}

async fn refused(bench: &Bench<'_>, trouble: Trouble, kind: Kind) -> Shown {
    bench.subject.trouble(trouble).await?;
    let cloud = bench.plainly().await;
    let error = bench
        .create_on(cloud.as_ref(), 0, 0)
        .await
        .expect_err("refused");
    assert_eq!(error.kind, kind, "{error}");
    bench.subject.calm().await;
    assert!(bench.list().await.is_empty());
    bench
        .create_on(cloud.as_ref(), 0, 0)
        .await
        .expect("creates when the trouble is over");
    Ok(())
}

async fn down(bench: &Bench<'_>) -> Shown {
    bench.create(0).await.expect("creates");
    bench.subject.trouble(Trouble::Down).await?;
    let cloud = bench.plainly().await;
    let error = cloud
        .list(&bench.mark.cluster, &bench.mark.group)
        .await
        .expect_err("no answer");
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
    assert!(error.is_retryable());
    Ok(())
}

async fn scope(bench: &Bench<'_>) -> Shown {
    let scope = bench.cloud.scope().await.expect("has a scope");
    assert!(!scope.is_empty());
    let configuration = bench.subject.configuration(2);
    let again = connect(bench.subject, &configuration, &bench.shape, Some(&scope)).await;
    let again = again.unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(again.scope().await.expect("has a scope"), scope);
    let mut other: Vec<char> = scope.chars().rev().collect();
    other.push('x');
    let other: String = other.into_iter().collect();
    let refused = connect(bench.subject, &configuration, &bench.shape, Some(&other)).await;
    let Err(problems) = refused else {
        panic!("another scope is an error")
    };
    assert!(problems.0[0].detail.contains(&other), "{problems:?}");
    Ok(())
}

async fn without_a_shape(bench: &Bench<'_>) -> Shown {
    let machine = bench.create(0).await.expect("creates");
    let configuration = bench.subject.configuration(2);
    let cloud = connect(bench.subject, &configuration, &Value::Null, None).await;
    let cloud = cloud.unwrap_or_else(|problems| panic!("{problems:?}"));
    let listed = cloud
        .list(&bench.mark.cluster, &bench.mark.group)
        .await
        .expect("lists");
    assert_eq!(listed[0].id, machine.id);
    let saved = Mark {
        unsaved: false,
        ..bench.mark.clone()
    };
    cloud
        .mark(&listed, &saved, &Value::Null)
        .await
        .expect("marks");
    cloud.delete(&machine).await.expect("deletes");
    bench.gone(&machine).await;
    assert!(bench.list().await.is_empty());
    Ok(())
}

async fn unknown_configuration(bench: &Bench<'_>) -> Shown {
    let name = bench.subject.entry().name;
    let configuration = configured(bench.subject, &bench.subject.configuration(2));
    let Value::Map(mut blocks) = configuration else {
        panic!("a provider block is an object")
    };
    let Some(Value::Map(fields)) = blocks.get_mut(name) else {
        panic!("with an object for the cloud")
    };
    let attribute = fields.keys().next().cloned().expect("an attribute");
    fields.insert(
        attribute.clone(),
        Value::Unknown(flatcar::protocol::value::Refinement::default()),
    );
    let context = flatcar::provider::Context::of(Value::Map(blocks));
    let connected = (bench.subject.entry().connect)(flatcar::worker_group::cloud::Connect {
        context: &context,
        shape: &bench.shape,
        scope: None,
    })
    .await;
    let Err(problems) = connected else {
        panic!("it cannot be connected to yet")
    };
    assert!(
        problems.0[0]
            .detail
            .contains(&format!("{name}.{attribute}")),
        "{problems:?}"
    );
    Ok(())
}

async fn preflight_good(bench: &Bench<'_>) -> Shown {
    let problems = bench
        .cloud
        .preflight(bench.image(), &bench.shape, Growth::by(3))
        .await
        .expect("asks");
    assert!(problems.is_empty(), "{problems:?}");
    assert!(bench.list().await.is_empty());
    Ok(())
}

async fn preflight_bad(bench: &Bench<'_>) -> Shown {
    let (attribute, value) = bench.subject.nowhere();
    let shape = bench.shape_with(&[(attribute, value)]);
    let problems = bench
        .cloud
        .preflight(bench.subject.unknown_image(), &shape, Growth::by(3))
        .await
        .expect("asks");
    let blamed = errors_at(&problems);
    assert!(blamed.contains("image"), "{problems:?}");
    let place = format!("{}.{attribute}", bench.subject.entry().name);
    assert!(
        blamed.iter().any(|path| path.starts_with(&place)),
        "{problems:?}"
    );
    assert_eq!(
        blamed.len(),
        problems.0.len(),
        "one problem a fault: {problems:?}"
    );
    Ok(())
}

async fn console(bench: &Bench<'_>) -> Shown {
    let machine = bench.create(0).await.expect("creates");
    let text = bench.cloud.console(&machine).await.expect("asks");
    assert!(text.is_some_and(|text| !text.trim().is_empty()));
    let unknown = Machine {
        id: bench.subject.unknown_id(),
        ..machine
    };
    let error = bench.cloud.console(&unknown).await;
    let error = error.expect_err("there is no such machine");
    assert_eq!(error.kind, Kind::NotFound, "{error}");
    Ok(())
}

async fn three(bench: &Bench<'_>) -> Vec<Machine> {
    join_all((0..3).map(|ordinal| bench.create(ordinal)))
        .await
        .into_iter()
        .map(|created| created.expect("creates"))
        .collect()
}

fn slow(bench: &Bench<'_>) -> Vec<(&'static str, serde_json::Value)> {
    if bench.subject.shape().get("boot_time").is_some() {
        vec![("boot_time", json!("1h"))]
    } else {
        Vec::new()
    }
}

fn is_alive(machine: &Machine) -> bool {
    matches!(machine.phase, Phase::Pending | Phase::Running)
}

fn tag(bench: &Bench<'_>, machine: &Machine, key: &str) -> Option<String> {
    let key = format!("{}.{key}", bench.subject.tags());
    machine.observed.get(&key).cloned()
}

pub(crate) fn errors_at(problems: &Diagnostics) -> BTreeSet<String> {
    problems
        .0
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .filter_map(|problem| problem.path.as_ref())
        .map(ToString::to_string)
        .collect()
}
