//! What a core makes up where its tests mock a provider (`mock_provider "flatcar" {}`): a few
//! letters and digits for a computed text, such as `a1b2c3d4`; eight of them in Terraform, 4 to 15
//! in OpenTofu.
//!
//! The mock answers reads, plans and applies in our place, but whether a configuration is valid we
//! are still asked. What is no more than made up is therefore not refused there, but where it would
//! be used: a plan or a read that reaches us is no mock's.

/// Whether a text may be a mock's.
pub fn is_made_up(text: &str) -> bool {
    (4..16).contains(&text.len()) && text.bytes().all(|letter| letter.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mocks_text_is_known_by_its_form() {
        for (text, made_up) in [
            ("a1b2c3d4", true),
            ("Qz7Xp0Ab", true),
            ("", false),
            ("4593.2.5", false),
            ("{\"a\":1}}", false),
            ("XsD6HktXr", true),
            ("0123456789abcdef", false),
        ] {
            assert_eq!(is_made_up(text), made_up, "{text}");
        }
    }
}
