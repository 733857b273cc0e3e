//! The parts of `cargo xtask bench gate` that are ours, each a process of its own so that its processor time can be told
//! apart: an origin, a bare relay (what any proxy in user space costs at least), the gate, and the load.
//!
//! A server prints one line of JSON once it listens, and ends when its standard input does. The load prints its figures.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub
)]

mod decide;
mod gate;
mod histogram;
mod load;
mod origin;
mod relay;
mod secured;
mod words;

use std::error::Error;

use words::Words;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let role = arguments.next().unwrap_or_default();
    let words = Words::new(arguments)?;
    if role == "decide" {
        return decide::measure();
    }
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build()?.block_on(async {
        match role.as_str() {
            "origin" => origin::serve(&words).await,
            "relay" => relay::serve(&words).await,
            "gate" => gate::serve(&words).await,
            "load" => load::run(&words).await,
            _ => Err("usage: gate_bench origin|relay|gate|load|decide KEY=VALUE…".into()),
        }
    })
}

/// Ends when whoever started this process is gone.
async fn orphaned() {
    let (sender, over) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok();
        drop(sender);
    });
    let _ = over.await;
}
