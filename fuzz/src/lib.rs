//! What all targets share.

/// A panic is a finding, except the ones of the YAML scanner that the provider turns into an error.
pub fn abort_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        if flatcar::protocol::log::panics_are_expected() {
            return;
        }
        eprintln!("{panic}\n{}", std::backtrace::Backtrace::force_capture());
        std::process::abort();
    }));
}
