//! palisade-sys
