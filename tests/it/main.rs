//! One binary of integration tests.

mod generated;
