//! Stand-ins of the servers that agents talk to, all on 127.0.0.1 with a port of the system's choice.
//!
//! One thread a connection and blocking calls: the reader can follow one exchange from top to bottom, and tests open
//! few connections.

mod git;
mod guard;
mod http;
mod messages;
mod npm;
mod pypi;
mod raw;
mod script;
mod server;
mod web;

pub use git::GitHost;
pub use guard::{Demand, Guarded};
pub use http::{Body, Handler, KEPT_BODY, Request, Response};
pub use messages::{MessagesApi, ToolCall, ToolResult};
pub use npm::NpmRegistry;
pub use pypi::PackageIndex;
pub use raw::ServerFirst;
pub use script::{Script, ScriptServer};
pub use server::Server;
pub use web::Web;
