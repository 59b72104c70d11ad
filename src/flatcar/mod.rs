//! Flatcar's facts as tables: channels, platforms, user-data limits, the Ignition spec of each release.
