use serde_json::{Value as Json, json};

use super::*;
use crate::provider::convert::{from_value, to_value};
use crate::provider::{Attribute, Path};

/// What is left out is null, as cores have it, but for what has a default.
fn of(json: &Json) -> Model {
    let mut json = json.clone();
    if json["drained"].is_null() {
        json["drained"] = false.into();
    }
    let attributes = node_drain().attributes;
    let value =
        |attribute: &Attribute| (attribute.name.to_owned(), to_value(&json[attribute.name]));
    let value = Value::Map(attributes.iter().map(value).collect());
    from_value(&value, &Path::root()).unwrap()
}

#[test]
fn what_is_due_is_what_differs() {
    let base = json!({"selector": "os=ubuntu"});
    let with = |more: Json| {
        let mut json = base.clone();
        for (name, value) in more.as_object().unwrap() {
            json[name] = value.clone();
        }
        of(&json)
    };
    let drained = || json!({"drained": true});
    let triggered = |value: &str| json!({"triggers": {"a": value}});
    let both = |value: &str| json!({"drained": true, "triggers": {"a": value}});
    for (prior, next, due) in [
        (None, json!({}), Due::Nothing),
        (None, triggered("1"), Due::Nothing),
        (None, drained(), Due::Close),
        (Some(json!({})), json!({}), Due::Nothing),
        (Some(json!({})), drained(), Due::Close),
        (Some(drained()), drained(), Due::Nothing),
        (Some(drained()), json!({}), Due::Open),
        (
            Some(drained()),
            json!({"drained": true, "selector": "os=debian"}),
            Due::Close,
        ),
        (
            Some(json!({})),
            json!({"selector": "os=debian"}),
            Due::Nothing,
        ),
        (Some(triggered("1")), triggered("2"), Due::Pass),
        (Some(both("1")), both("2"), Due::Close),
        (Some(both("1")), triggered("2"), Due::Pass),
        (
            Some(json!({})),
            json!({"timeout": "1m", "parallelism": 3}),
            Due::Nothing,
        ),
    ] {
        let prior = prior.map(with);
        assert_eq!(with(next.clone()).due(prior.as_ref()), due, "{next}");
    }
    // A drain that came to no end, and is asked for again or no more.
    let halfway = Model {
        drained: Attr::Null,
        ..with(json!({}))
    };
    assert_eq!(with(json!({})).due(Some(&halfway)), Due::Open);
    assert_eq!(with(drained()).due(Some(&halfway)), Due::Close);
    // The order of names says nothing.
    let one = of(&json!({"nodes": ["a", "b"], "drained": true}));
    let other = of(&json!({"nodes": ["b", "a"], "drained": true}));
    assert_eq!(other.due(Some(&one)), Due::Nothing);
}

#[test]
fn a_plan_knows_what_was_emptied_where_nothing_is_due() {
    let planned = |prior: Option<Json>, next: Model| {
        let prior = prior.map(|prior| Stored {
            model: of(&prior),
            private: Vec::new(),
        });
        let planned = FlatcarNodeDrain.plan(PlanRequest {
            prior,
            config: next.clone(),
            proposed: next,
        });
        planned.value.unwrap().model.emptied
    };
    let plain = || of(&json!({"selector": "a"}));
    assert_eq!(planned(None, plain()), Attr::Known(vec![]));
    assert_eq!(
        planned(None, of(&json!({"selector": "a", "drained": true}))),
        Attr::Unknown
    );
    let prior = json!({"selector": "a", "emptied": ["w-0"]});
    assert_eq!(
        planned(Some(prior.clone()), plain()),
        known(vec!["w-0".to_owned()])
    );
    for unknown in [
        Model {
            drained: Attr::Unknown,
            ..plain()
        },
        Model {
            selector: Attr::Unknown,
            ..plain()
        },
        Model {
            nodes: Attr::Known(vec![Attr::Unknown]),
            ..plain()
        },
        Model {
            triggers: Attr::Known([("a".to_owned(), Attr::Unknown)].into()),
            ..plain()
        },
    ] {
        assert_eq!(planned(Some(prior.clone()), unknown), Attr::Unknown);
    }
}

#[test]
fn what_is_left_out_is_as_kubectl_has_it() {
    let (drain, rules) = of(&json!({"selector": "a"})).drain();
    assert_eq!(
        (drain.timeout, drain.on_timeout),
        (Duration::from_secs(900), None)
    );
    assert_eq!(rules, Rules::default());
    let model = of(
        &json!({"nodes": ["b", "a"], "timeout": "1m", "on_timeout": "skip", "force": true, "grace_period": "5s"}),
    );
    let (drain, rules) = model.drain();
    assert_eq!(
        (
            drain.timeout,
            drain.on_timeout,
            rules.force,
            rules.grace_period
        ),
        (
            Duration::from_secs(60),
            Some(OnTimeout::Skip),
            true,
            Some(Duration::from_secs(5))
        )
    );
    assert_eq!(
        model.choice(),
        Choice::Names(["a".to_owned(), "b".to_owned()].into())
    );
    assert_eq!(
        (model.parallelism(), model.limit(|all| &all.delete)),
        (1, schema::LIMIT)
    );
}

#[test]
fn each_fault_is_told_once_on_its_attribute() {
    let long = "a".repeat(1001);
    for (written, path) in [
        (json!({}), "selector"),
        (json!({"nodes": ["a"], "selector": "a"}), "selector"),
        (json!({"nodes": []}), "nodes"),
        (json!({"nodes": ["A"]}), "nodes"),
        (json!({"selector": ""}), "selector"),
        (json!({"selector": "a in b"}), "selector"),
        (json!({"selector": long}), "selector"),
        (json!({"selector": "a", "on_destroy": "stay"}), "on_destroy"),
        (json!({"selector": "a", "on_timeout": "stay"}), "on_timeout"),
        (json!({"selector": "a", "parallelism": 0}), "parallelism"),
        (json!({"selector": "a", "timeout": "soon"}), "timeout"),
    ] {
        let model = of(&written);
        let mut problems = crate::provider::check(&node_drain().attributes, &to_value(&model));
        problems.extend(FlatcarNodeDrain.validate(model));
        let paths: Vec<String> = problems
            .0
            .iter()
            .map(|one| one.path.clone().unwrap().to_string())
            .collect();
        assert!(
            !paths.is_empty() && paths.iter().all(|one| one.starts_with(path)),
            "{written}: {problems:?}"
        );
    }
}
