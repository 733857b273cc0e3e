//! palisade-session
