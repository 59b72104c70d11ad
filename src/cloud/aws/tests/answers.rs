//! What instances, their states and refusals of EC2 mean.

use aws_sdk_ec2::types::{InstanceNetworkInterface, InstanceNetworkInterfaceAttachment};

use super::*;

#[test]
fn an_instance_is_a_machine_with_all_that_it_says() {
    let instance = Instance::builder()
        .instance_id("i-0a")
        .image_id("ami-0a")
        .instance_type(InstanceType::from("m7g.large"))
        .state(
            InstanceState::builder()
                .name(InstanceStateName::Stopped)
                .build(),
        )
        .state_reason(
            StateReason::builder()
                .code("Client.UserInitiatedShutdown")
                .message("Client.UserInitiatedShutdown: User initiated shutdown")
                .build(),
        )
        .launch_time(DateTime::from_secs(1_000))
        .placement(
            Placement::builder()
                .availability_zone("eu-central-1b")
                .build(),
        )
        .private_ip_address("10.0.0.7")
        .public_ip_address("192.0.2.7")
        .security_groups(GroupIdentifier::builder().group_id("sg-0b").build())
        .security_groups(GroupIdentifier::builder().group_id("sg-0a").build())
        .set_tags(Some(
            api::mark_tags(&mark())
                .into_iter()
                .chain(api::user_tags(
                    &[("team".to_owned(), "a".to_owned())].into(),
                ))
                .chain([
                    api::tag("Name", "renamed by somebody"),
                    api::tag("flatcar-machine", "workers-k3x9-0"),
                    api::tag("aws:autoscaling:groupName", "x"),
                    api::tag("stranger", "1"),
                ])
                .collect(),
        ))
        .build();
    let machine = seen::machine(&instance).unwrap();
    assert_eq!(machine.name, "workers-k3x9-0");
    assert_eq!(machine.mark, mark());
    assert_eq!(machine.phase, Phase::Stopped);
    assert_eq!(
        machine.message.as_deref(),
        Some("Client.UserInitiatedShutdown: User initiated shutdown")
    );
    assert_eq!(machine.addresses, ["10.0.0.7", "192.0.2.7"]);
    assert_eq!(machine.zone, "eu-central-1b");
    assert_eq!(
        machine.created,
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000))
    );
    let observed: Vec<(&str, &str)> = machine
        .observed
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        observed,
        [
            ("instance_type", "m7g.large"),
            ("tags.team", "a"),
            ("vpc_security_group_ids", "sg-0a,sg-0b")
        ]
    );
}

#[test]
fn an_instance_without_a_part_of_its_mark_is_nobodys_and_is_found_with_the_rest() {
    let whole = [
        ("flatcar-cluster", "prod"),
        ("flatcar-group", "workers"),
        ("flatcar-uid", "k3x9"),
        ("flatcar-generation", "0123-4567"),
        ("flatcar-unsaved", "true"),
        ("flatcar-machine", "workers-k3x9-0"),
        ("Name", "renamed by somebody"),
    ];
    let bare = Mark {
        cluster: String::new(),
        group: String::new(),
        uid: String::new(),
        generation: String::new(),
        unsaved: false,
        origin: String::new(),
        proof: String::new(),
    };
    let without_uid = Mark {
        uid: String::new(),
        ..mark()
    };
    let unknown = Mark {
        generation: String::new(),
        unsaved: false,
        ..mark()
    };
    let (ours, renamed) = ("workers-k3x9-0", "renamed by somebody");
    let tags = |left: &[&str]| -> Vec<(&str, &str)> {
        let is_left = |(key, _): &&(&str, &str)| !left.contains(key);
        whole.iter().filter(is_left).copied().collect()
    };
    let empty = [tags(&["flatcar-uid"]), vec![("flatcar-uid", "")]].concat();
    for (tags, is_listed, mark, name) in [
        (tags(&[]), true, &mark(), ours),
        (tags(&["flatcar-uid"]), false, &without_uid, ours),
        (empty, false, &without_uid, ours),
        (
            tags(&["flatcar-generation", "flatcar-unsaved"]),
            true,
            &unknown,
            ours,
        ),
        (tags(&["flatcar-machine"]), true, &mark(), renamed),
        (tags(&["flatcar-machine", "Name"]), false, &mark(), ""),
        (vec![("Name", "somebody's")], false, &bare, "somebody's"),
        (vec![], false, &bare, ""),
    ] {
        let tagged = tags.iter().map(|(key, value)| api::tag(key, value));
        let instance = Instance::builder()
            .instance_id("i-0a")
            .set_tags(Some(tagged.collect()))
            .build();
        let found = seen::found(&instance);
        let seen = (found.id.as_str(), &found.mark, found.name.as_str());
        assert_eq!(seen, ("i-0a", mark, name), "{tags:?}");
        let listed = seen::machine(&instance);
        assert_eq!(listed, is_listed.then_some(found), "{tags:?}");
    }
}

#[test]
fn a_token_is_held_by_the_same_machine_or_by_one_that_has_ended() {
    use InstanceStateName::{Running, ShuttingDown, Stopped, Terminated};
    let (ours, shape) = (mark(), shape(r#"{"instance_type": "m7g.large"}"#));
    let spec = spec(&ours, &shape);
    let earlier = Mark {
        generation: "earlier".to_owned(),
        ..mark()
    };
    let others = Mark {
        uid: "b7q2".to_owned(),
        ..mark()
    };
    for (state, tagged, image, phase) in [
        (Running, Some(&ours), "ami-0a", Some(Phase::Running)),
        (Running, Some(&ours), "ami-0b", None),
        (Running, Some(&earlier), "ami-0a", None),
        (Running, Some(&others), "ami-0a", None),
        (Running, None, "ami-0a", None),
        (Stopped, Some(&earlier), "ami-0a", None),
        (
            ShuttingDown,
            Some(&earlier),
            "ami-0b",
            Some(Phase::Deleting),
        ),
        (Terminated, Some(&ours), "ami-0a", Some(Phase::Failed)),
        (Terminated, Some(&earlier), "ami-0b", Some(Phase::Failed)),
        (Terminated, None, "ami-0b", Some(Phase::Failed)),
        (Terminated, Some(&others), "ami-0a", None),
    ] {
        let tags = tagged.map(|mark| {
            let name = [api::tag("flatcar-machine", spec.name)];
            api::mark_tags(mark).into_iter().chain(name).collect()
        });
        let instance = Instance::builder()
            .instance_id("i-0a")
            .image_id(image)
            .state(InstanceState::builder().name(state.clone()).build())
            .launch_time(DateTime::from_secs(1_000))
            .set_tags(tags)
            .build();
        let held = holder(&instance, &spec);
        let seen = held.as_ref().map(|machine| machine.phase);
        assert_eq!(seen, phase, "{state:?} {tagged:?} {image}");
        if let Some(machine) = held {
            assert_eq!(machine.name, spec.name);
            assert_eq!(&machine.mark, tagged.unwrap_or(&ours));
            // Callers tell by it that it is of an earlier apply.
            assert!(machine.created.is_some());
        }
    }
}

/// Its Node is as old as its first start, and stays the same when it is stopped and started again.
#[test]
fn an_instance_is_as_old_as_its_first_interface_and_starts_when_it_was_last_launched() {
    let attached = InstanceNetworkInterfaceAttachment::builder()
        .attach_time(DateTime::from_secs(1_000))
        .device_index(0)
        .build();
    let interface = InstanceNetworkInterface::builder().attachment(attached);
    let interface = interface.build();
    for (state, interface, expected) in [
        (InstanceStateName::Running, Some(interface.clone()), 1_000),
        (InstanceStateName::Pending, Some(interface.clone()), 90_000),
        (InstanceStateName::Running, None, 90_000),
    ] {
        let instance = Instance::builder()
            .state(InstanceState::builder().name(state.clone()).build())
            .launch_time(DateTime::from_secs(90_000))
            .set_network_interfaces(interface.map(|interface| vec![interface]))
            .set_tags(Some(
                api::mark_tags(&mark())
                    .into_iter()
                    .chain([api::tag("flatcar-machine", "workers-k3x9-0")])
                    .collect(),
            ))
            .build();
        let created = seen::machine(&instance).unwrap().created;
        let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(expected);
        assert_eq!(created, Some(expected), "{state:?}");
    }
}

#[test]
fn every_state_of_an_instance_has_a_phase() {
    for (state, phase) in [
        (InstanceStateName::Pending, Phase::Pending),
        (InstanceStateName::Running, Phase::Running),
        (InstanceStateName::Stopping, Phase::Stopped),
        (InstanceStateName::Stopped, Phase::Stopped),
        (InstanceStateName::ShuttingDown, Phase::Deleting),
        (InstanceStateName::Terminated, Phase::Failed),
    ] {
        let instance = Instance::builder()
            .state(InstanceState::builder().name(state.clone()).build())
            .build();
        assert_eq!(
            seen::machine_of(&instance, "w", mark()).phase,
            phase,
            "{state:?}"
        );
    }
}

#[test]
fn codes_have_a_kind_and_an_attribute_to_blame() {
    let profile = "Value (x) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name";
    for (code, message, kind, attribute) in [
        (
            "InvalidSubnetID.NotFound",
            "",
            Kind::BadRequest,
            Some("aws.subnet_ids"),
        ),
        ("InvalidAMIID.NotFound", "", Kind::BadRequest, Some("image")),
        (
            "InvalidAMIID.Malformed",
            "",
            Kind::BadRequest,
            Some("image"),
        ),
        (
            "InvalidGroup.NotFound",
            "",
            Kind::BadRequest,
            Some("aws.vpc_security_group_ids"),
        ),
        (
            "InvalidKeyPair.NotFound",
            "",
            Kind::BadRequest,
            Some("aws.key_name"),
        ),
        (
            "InvalidParameterValue",
            profile,
            Kind::BadRequest,
            Some("aws.iam_instance_profile"),
        ),
        (
            "InvalidParameterValue",
            "something else",
            Kind::BadRequest,
            None,
        ),
        (
            "InsufficientInstanceCapacity",
            "",
            Kind::Quota,
            Some("aws.instance_type"),
        ),
        (
            "InsufficientFreeAddressesInSubnet",
            "",
            Kind::Quota,
            Some("aws.subnet_ids"),
        ),
        ("VcpuLimitExceeded", "", Kind::Quota, None),
        ("VolumeLimitExceeded", "", Kind::Quota, None),
        ("RequestLimitExceeded", "", Kind::RateLimit, None),
        ("UnauthorizedOperation", "", Kind::Forbidden, None),
        ("OperationNotPermitted", "", Kind::Forbidden, None),
        ("OptInRequired", "", Kind::Forbidden, Some("image")),
        ("AuthFailure", "", Kind::Unauthenticated, None),
        ("ExpiredTokenException", "", Kind::Unauthenticated, None),
        ("InvalidInstanceID.NotFound", "", Kind::NotFound, None),
        ("InvalidInstanceID.Malformed", "", Kind::BadRequest, None),
        ("IdempotentParameterMismatch", "", Kind::AlreadyExists, None),
        ("InternalError", "", Kind::Unavailable, None),
        ("NeverHeardOf", "", Kind::BadRequest, None),
    ] {
        assert_eq!(
            Meaning::find(CODES, Some(400), code, message),
            (kind, attribute),
            "{code}"
        );
    }
    let unheard = Meaning::find(CODES, Some(503), "NeverHeardOf", "");
    assert_eq!(unheard.0, Kind::Unavailable);
}

#[test]
fn what_administrators_alone_can_read_is_left_out() {
    let metadata = ErrorMetadata::builder()
        .code("UnauthorizedOperation")
        .message("You are not authorized to perform this operation. Encoded authorization failure message: AAAA")
        .build();
    let error = aws_sdk_ec2::operation::run_instances::RunInstancesError::generic(metadata);
    assert_eq!(
        failure::told(error.code(), error.message(), Some(403)).as_deref(),
        Some("403 UnauthorizedOperation: You are not authorized to perform this operation")
    );
}
