//! The methods of requests.

/// Methods a request may have: RFC 9110 without TRACE (it would send back what the gate added) and without CONNECT (which asks
/// for a connection), PATCH, QUERY, and WebDAV with its versioning and search (git and calendars use them). They are
/// case-sensitive; any other is refused, since servers differ in how they read it.
pub const METHODS: [&str; 25] = [
    "GET",
    "POST",
    "HEAD",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "QUERY",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "REPORT",
    "SEARCH",
    "MKCALENDAR",
    "CHECKOUT",
    "CHECKIN",
    "UNCHECKOUT",
    "MERGE",
    "MKACTIVITY",
    "BIND",
    "PURGE",
];
