//! What the log says of calls, by the keys of HashiCorp's own kits: `tf_rpc=PlanResourceChange
//! tf_resource_type=flatcar_worker_group`.
//!
//! See: terraform-plugin-go `internal/logging/keys.go`.

use crate::protocol::{log, tfplugin6 as pb};

/// A call, for the log; when it came and how long it took is said in `protocol`.
pub(super) struct Call {
    address: &'static str,
    /// `plan_resource_change`
    rpc: &'static str,
    /// What the call is about, by its key: `("tf_resource_type", "flatcar_worker_group")`.
    subject: Option<(&'static str, String)>,
}

impl Call {
    pub(super) fn new(
        address: &'static str,
        rpc: &'static str,
        subject: Option<(&'static str, String)>,
    ) -> Self {
        Self {
            address,
            rpc,
            subject,
        }
    }

    pub(super) fn begins(&self) {
        if self.subject.is_some() {
            self.write(log::Level::Trace, "works on it", &[]);
        }
    }

    fn write(&self, level: log::Level, message: &str, more: &[log::Field<'_>]) {
        if !log::enabled(log::Module::Sdk, level) {
            return;
        }
        let rpc = camel(self.rpc);
        let mut fields: Vec<log::Field<'_>> =
            vec![("tf_provider_addr", &self.address), ("tf_rpc", &rpc)];
        if let Some((key, subject)) = &self.subject {
            fields.push((key, subject));
        }
        fields.extend(more);
        log::write(log::Module::Sdk, level, message, &fields);
    }

    pub(super) fn answered(&self, diagnostics: &[pb::Diagnostic]) {
        for problem in diagnostics {
            let (level, severity) = match problem.severity() {
                pb::diagnostic::Severity::Warning => (log::Level::Warn, "WARNING"),
                _ => (log::Level::Error, "ERROR"),
            };
            let fields: [log::Field<'_>; 3] = [
                ("diagnostic_severity", &severity),
                ("diagnostic_summary", &problem.summary),
                ("diagnostic_detail", &problem.detail),
            ];
            self.write(level, "answers a diagnostic", &fields);
        }
    }
}

/// `PlanResourceChange`, as the protocol writes it.
fn camel(rpc: &str) -> String {
    let words = rpc.split('_').filter_map(|word| word.split_at_checked(1));
    words
        .map(|(first, rest)| first.to_ascii_uppercase() + rest)
        .collect()
}

/// What a request is about.
pub(super) trait Asks {
    fn subject(&self) -> Option<(&'static str, String)>;
}

macro_rules! asks {
    ($($key:literal: $field:ident of $($rpc:ident)*;)* nothing: $($bare:ident)*) => {
        $($(impl Asks for pb::$rpc::Request {
            fn subject(&self) -> Option<(&'static str, String)> {
                Some(($key, self.$field.clone()))
            }
        })*)*
        $(impl Asks for pb::$bare::Request {
            fn subject(&self) -> Option<(&'static str, String)> {
                None
            }
        })*
    };
}

asks! {
    "tf_resource_type": type_name of validate_resource_config upgrade_resource_state upgrade_resource_identity read_resource
        plan_resource_change apply_resource_change import_resource_state;
    "tf_resource_type": target_type_name of move_resource_state;
    "tf_data_source_type": type_name of validate_data_resource_config read_data_source;
    "tf_ephemeral_resource_type": type_name of validate_ephemeral_resource_config open_ephemeral_resource
        renew_ephemeral_resource close_ephemeral_resource;
    "tf_function_name": name of call_function;
    nothing: get_metadata get_provider_schema get_resource_identity_schemas get_functions validate_provider_config
        configure_provider
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_named_as_the_protocol_names_it() {
        for (rpc, name) in [
            ("plan_resource_change", "PlanResourceChange"),
            ("get_metadata", "GetMetadata"),
        ] {
            assert_eq!(camel(rpc), name);
        }
    }

    #[test]
    fn a_request_says_what_it_is_about() {
        let read = pb::read_data_source::Request {
            type_name: "sample_echo".to_owned(),
            ..Default::default()
        };
        let subject = ("tf_data_source_type", "sample_echo".to_owned());
        assert_eq!(read.subject(), Some(subject));
        assert_eq!(pb::configure_provider::Request::default().subject(), None);
    }
}
