//! How one instance is in one target group, in load balancing's words, and what that means for a
//! machine's life. Pure.
//!
//! In: `unhealthy`, `Target.Timeout`. Out: registered, without traffic, and perhaps with open
//! connections. See: Elastic Load Balancing API, 2015-12-01, TargetHealth.

use aws_sdk_elasticloadbalancingv2::types::{
    TargetHealth, TargetHealthReasonEnum as Reason, TargetHealthStateEnum as State,
};

use crate::worker_group::cloud::Member;

/// What load balancing says of one target.
pub(super) fn judged(arn: &str, health: &TargetHealth) -> Member {
    let (state, reason) = (health.state().unwrap_or(&State::Initial), health.reason());
    let words = [reason.map(Reason::as_str), health.description()];
    let words: Vec<&str> = words.into_iter().flatten().collect();
    let words = match words.is_empty() {
        true => String::new(),
        false => format!(" ({})", words.join(": ")),
    };
    Member {
        // Nobody judges it where no load balancer uses the target group, or it has no health
        // checks.
        serves: match state {
            State::Healthy => true,
            State::Unused => reason == Some(&Reason::NotInUse),
            State::Unavailable => reason == Some(&Reason::HealthCheckDisabled),
            _ => false,
        },
        stays: reason != Some(&Reason::NotRegistered) && *state != State::Draining,
        had_traffic: !matches!(state, State::Initial | State::Unused),
        is_unused: *state == State::Unused,
        words: format!("{} in target group {}{words}", state.as_str(), name_of(arn)),
    }
}

/// As a target is right after its registration.
pub(super) fn fresh(arn: &str) -> Member {
    judged(arn, &TargetHealth::builder().build())
}

/// `web`, of `arn:aws:elasticloadbalancing:…:targetgroup/web/0123456789abcdef`.
fn name_of(arn: &str) -> &str {
    arn.rsplit('/').nth(1).unwrap_or(arn)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str =
        "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef";

    fn target(state: &str, reason: &str) -> Member {
        let health = TargetHealth::builder().state(state.into());
        let reason = Some(reason).filter(|reason| !reason.is_empty());
        judged(WEB, &health.set_reason(reason.map(Into::into)).build())
    }

    #[test]
    fn a_target_serves_where_it_is_healthy_or_nobody_judges_it() {
        // state, reason, serves, stays, had traffic
        let cases = [
            ("healthy", "", true, true, true),
            ("initial", "Elb.RegistrationInProgress", false, true, false),
            ("initial", "Elb.InitialHealthChecking", false, true, false),
            ("unhealthy", "Target.Timeout", false, true, true),
            ("unhealthy.draining", "", false, true, true),
            (
                "draining",
                "Target.DeregistrationInProgress",
                false,
                false,
                true,
            ),
            ("unused", "Target.NotInUse", true, true, false),
            ("unused", "Target.InvalidState", false, true, false),
            ("unused", "Target.NotRegistered", false, false, false),
            (
                "unavailable",
                "Target.HealthCheckDisabled",
                true,
                true,
                true,
            ),
            ("unavailable", "Elb.InternalError", false, true, true),
            ("of another year", "", false, true, true),
        ];
        for (state, reason, serves, stays, had_traffic) in cases {
            let target = target(state, reason);
            assert_eq!(
                (target.serves, target.stays, target.had_traffic),
                (serves, stays, had_traffic),
                "{state} {reason}"
            );
            assert_eq!(target.is_unused, state == "unused", "{state}");
        }
    }

    #[test]
    fn a_target_is_told_in_load_balancings_words() {
        for (state, reason, words) in [
            ("initial", "", "initial in target group web"),
            (
                "unhealthy",
                "Target.Timeout",
                "unhealthy in target group web (Target.Timeout)",
            ),
        ] {
            assert_eq!(target(state, reason).words, words);
        }
        assert_eq!(fresh(WEB), target("initial", ""));
    }
}
