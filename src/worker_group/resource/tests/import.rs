//! Imports.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_imported_group_is_planned_without_touching_a_machine() {
    let id = "import";
    let mut world = World::new(id, Memory::default()).await;
    world.run(json!({})).await;
    world.refresh().await;
    let uid = world.uid();
    for by_id in [true, false] {
        let asked = if by_id { "memory/memory/1/prod/w" } else { "" };
        let identity = (!by_id).then(|| identity_of(&uid));
        world.import(asked, identity).await;
        // A configuration that is generated from it has its cloud in it.
        let Value::Map(shape) = &world.group().clouds["memory"] else {
            panic!("no shape")
        };
        assert_eq!(shape["size"], Value::String("small".to_owned()));
        assert_eq!(shape["tags"], Value::Null);
        assert_eq!(world.refresh().await, NOTHING);
        let before = world.memory.log().len();
        let plan = world.plan(json!({})).await;
        assert!(!plan.replaces);
        let (rollout, problems) = world.run(json!({})).await;
        assert_eq!((rollout.len(), problems.len()), (0, 0), "{rollout:?}");
        assert_eq!(world.memory.log().len(), before);
        assert_eq!(world.uid(), uid);
        world.is_settled(json!({})).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_uid_that_no_machine_of_the_group_has_is_not_imported() {
    let mut world = World::new("import-uid", Memory::default()).await;
    world.run(json!({})).await;
    let uid = world.uid();
    let machines = world.memory.machines();
    let asked = |uid: &str| Some(uid.to_owned());
    let problem = one_uid(&machines, asked("zzzzzzzz"), "prod", "w").unwrap_err();
    assert_eq!(problem.summary, "Group of this uid does not exist");
    assert!(problem.detail.contains(&uid), "{}", problem.detail);
    assert_eq!(one_uid(&machines, asked(&uid), "prod", "w").unwrap(), uid);
    let none = one_uid(&[], asked("zzzzzzzz"), "prod", "w");
    assert_eq!(none.unwrap(), "zzzzzzzz", "a group of no machines exists");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_is_not_imported() {
    let world = World::new("import-none", Memory::default()).await;
    for (id, summary) in [
        ("memory/memory/1/prod/w", "Group does not exist"),
        ("memory/prod/w", "Import id has the wrong form"),
        ("", "Import id has the wrong form"),
        ("mars/x/prod/w", "Cloud is not known to this provider"),
        ("memory/elsewhere/prod/w", "The group is in another memory"),
        // Some clouds would take these for patterns.
        ("memory/memory/1/p*/*", "Import id has the wrong form"),
        ("memory/memory/1/prod/w?", "Import id has the wrong form"),
        ("memory/memory/1/Prod/w", "Import id has the wrong form"),
    ] {
        let request = pb::import_resource_state::Request {
            type_name: "flatcar_worker_group".to_owned(),
            id: id.to_owned(),
            ..Default::default()
        };
        let response = world
            .service
            .import_resource_state(Request::new(request))
            .await;
        let problems = said(&response.unwrap().into_inner().diagnostics);
        assert!(problems[0].starts_with(summary), "{id} {problems:?}");
    }
}
