//! How one instance is in one target group, in load balancing's words, and what that means for a machine's life. Pure.
//!
//! In: `unhealthy`, `Target.Timeout`. Out: registered, without traffic, and perhaps with open connections. See: Elastic Load Balancing API,
//! 2015-12-01, TargetHealth.

use aws_sdk_elasticloadbalancingv2::types::{
    TargetHealth, TargetHealthReasonEnum, TargetHealthStateEnum,
};

/// How one instance is in one target group.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    state: TargetHealthStateEnum,
    reason: Option<TargetHealthReasonEnum>,
    words: Option<String>,
}

impl Target {
    pub(super) fn of(health: TargetHealth) -> Self {
        Self {
            state: health.state.unwrap_or(TargetHealthStateEnum::Initial),
            reason: health.reason,
            words: health.description,
        }
    }

    /// As a target is right after its registration.
    pub(super) fn fresh() -> Self {
        Self {
            state: TargetHealthStateEnum::Initial,
            reason: None,
            words: None,
        }
    }

    /// Healthy; or nobody judges it, because no load balancer uses the target group or it has no health checks.
    pub(super) fn serves(&self) -> bool {
        match self.state {
            TargetHealthStateEnum::Healthy => true,
            TargetHealthStateEnum::Unused => self.reason == Some(TargetHealthReasonEnum::NotInUse),
            TargetHealthStateEnum::Unavailable => {
                self.reason == Some(TargetHealthReasonEnum::HealthCheckDisabled)
            }
            _ => false,
        }
    }

    /// Registered, to stay.
    pub(super) fn is_in(&self) -> bool {
        let is_unknown = self.reason == Some(TargetHealthReasonEnum::NotRegistered);
        !is_unknown && self.state != TargetHealthStateEnum::Draining
    }

    pub(super) fn is_unused(&self) -> bool {
        self.state == TargetHealthStateEnum::Unused
    }

    /// Connections may be open: it has been, or may have been, in service.
    pub(super) fn had_traffic(&self) -> bool {
        !matches!(
            self.state,
            TargetHealthStateEnum::Initial | TargetHealthStateEnum::Unused
        )
    }

    pub(super) fn words(&self, arn: &str) -> Option<String> {
        let words = [
            self.reason.as_ref().map(TargetHealthReasonEnum::as_str),
            self.words.as_deref(),
        ];
        let words: Vec<&str> = words.into_iter().flatten().collect();
        let state = self.state.as_str();
        let group = name_of(arn);
        Some(match words.is_empty() {
            true => format!("{state} in target group {group}"),
            false => format!("{state} in target group {group} ({})", words.join(": ")),
        })
    }
}

/// `web`, of `arn:aws:elasticloadbalancing:…:targetgroup/web/0123456789abcdef`.
fn name_of(arn: &str) -> &str {
    arn.rsplit('/').nth(1).unwrap_or(arn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(state: &str, reason: &str) -> Target {
        let health = TargetHealth::builder().state(state.into());
        Target::of(match reason {
            "" => health.build(),
            reason => health.reason(reason.into()).build(),
        })
    }

    #[test]
    fn a_target_serves_where_it_is_healthy_or_nobody_judges_it() {
        // state, reason, serves, is in, had traffic
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
        for (state, reason, serves, is_in, had_traffic) in cases {
            let target = target(state, reason);
            assert_eq!(
                (target.serves(), target.is_in(), target.had_traffic()),
                (serves, is_in, had_traffic),
                "{state} {reason}"
            );
        }
    }
}
