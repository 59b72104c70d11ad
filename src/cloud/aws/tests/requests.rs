//! What EC2 is asked with: RunInstances, its token, subnets, tags.

use super::*;

fn request(text: &str) -> String {
    let (mark, shape) = (mark(), shape(text));
    let spec = spec(&mark, &shape);
    let shape = Shape::from_value(spec.shape).unwrap();
    let subnet = api::subnets(&shape, 0)[0];
    let input = api::run_instances(&spec, &shape, "e30=", subnet)
        .build()
        .unwrap();
    readable(&format!("{input:#?}"))
}

/// Debug output without what is not set, without `Some`, and with a line a tag.
fn readable(debug: &str) -> String {
    let (mut text, mut depth) = (String::new(), 0);
    let mut is_one_line = false;
    for line in debug.lines() {
        let indented = &line[4 * depth.min((line.len() - line.trim_start().len()) / 4)..];
        let word = line.trim();
        if word.ends_with(": None,") {
            continue;
        }
        if let Some(field) = indented.strip_suffix("Some(") {
            text += if is_one_line {
                field.trim_start()
            } else {
                field
            };
            depth += 1;
            continue;
        }
        if word == ")," {
            depth -= 1;
            continue;
        }
        is_one_line |= word == "Tag {";
        // What follows a field's name stands behind it.
        let goes_on = text.ends_with(": ") || (is_one_line && word != "Tag {");
        text += if goes_on { word } else { indented };
        is_one_line &= word != "},";
        text += if is_one_line { " " } else { "\n" };
    }
    text
}

#[test]
fn requests_are_as_recorded() {
    are_as_recorded("aws", 14, request);
}

#[test]
fn user_data_and_token_are_in_the_request_and_user_data_in_no_debug_output() {
    let (mark, shape) = (mark(), shape(r#"{"instance_type": "m7g.large"}"#));
    let spec = spec(&mark, &shape);
    let shape = Shape::from_value(spec.shape).unwrap();
    let input = api::run_instances(&spec, &shape, "czNjcjN0", None)
        .build()
        .unwrap();
    assert_eq!(input.user_data(), Some("czNjcjN0"));
    assert_eq!(input.client_token().map(str::len), Some(64));
    assert!(!format!("{input:?}").contains("czNjcjN0"));
}

#[test]
fn a_token_changes_with_name_attempt_and_subnet_and_with_nothing_else() {
    let (mark, shape) = (mark(), shape(r#"{"instance_type": "m7g.large"}"#));
    let base = spec(&mark, &shape);
    let token = |spec: &Spec<'_>, subnet| api::client_token(spec, subnet);
    let first = token(&base, Some("subnet-0a"));
    assert_eq!(
        first,
        token(
            &Spec {
                image: "ami-0b",
                user_data: b"",
                ..spec(&mark, &shape)
            },
            Some("subnet-0a")
        )
    );
    assert_ne!(first, token(&base, Some("subnet-0b")));
    assert_ne!(first, token(&base, None));
    assert_ne!(
        first,
        token(
            &Spec {
                attempt: 1,
                ..spec(&mark, &shape)
            },
            Some("subnet-0a")
        )
    );
    assert_ne!(
        first,
        token(
            &Spec {
                name: "workers-k3x9-1",
                ..spec(&mark, &shape)
            },
            Some("subnet-0a")
        )
    );
}

#[test]
fn machines_begin_with_one_subnet_after_the_other_and_try_them_all() {
    let shape = Shape::from_value(&shape(
        r#"{"instance_type": "m7g.large", "subnet_ids": ["a", "b", "c"]}"#,
    ))
    .unwrap();
    let order = |ordinal| -> Vec<&str> {
        api::subnets(&shape, ordinal)
            .into_iter()
            .flatten()
            .collect()
    };
    assert_eq!(order(0), ["a", "b", "c"]);
    assert_eq!(order(1), ["b", "c", "a"]);
    assert_eq!(order(5), ["c", "a", "b"]);
}

#[test]
fn a_request_that_cannot_be_made_is_not_printed() {
    type Error =
        aws_sdk_ec2::error::SdkError<aws_sdk_ec2::operation::run_instances::RunInstancesError>;
    let words = "failed to apply endpoint `foo` to request `Request { body: s3cret }`";
    for error in [
        Error::construction_failure(words),
        Error::construction_failure("Request { body: s3cret }"),
        Error::timeout_error(words),
    ] {
        let told = fault("EC2 RunInstances", "w-0", error);
        assert!(!told.to_string().contains("s3cret"), "{told}");
    }
}

#[test]
fn a_tag_holds_the_target_groups_that_fit_into_it() {
    let ids: Vec<String> = (0..20).map(|n| format!("{n:016x}")).collect();
    let text = api::claim(ids.iter().map(String::as_str));
    assert!(text.len() <= 256, "{}", text.len());
    assert_eq!(text.split(' ').count(), 15);
}
