//! One HTTP client: deadline, retry with back-off, redirects only within https, errors by kind, nothing secret in a message.
