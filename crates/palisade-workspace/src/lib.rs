//! palisade-workspace
