//! palisade-native
