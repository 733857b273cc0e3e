//! The load: a closed loop, so many connections at a time, each asking again as soon as it is answered.

mod client;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use crate::Result;
use crate::histogram::Histogram;
use crate::words::Words;
use client::Client;

/// What all connections count together.
struct Tally {
    latencies: Histogram,
    failed: Option<String>,
}

pub(crate) async fn run(words: &Words) -> Result<()> {
    let client = Rc::new(Client::new(words)?);
    let seconds = Duration::from_secs_f64(words.or("seconds", 4.0)?);
    let at_once = words.or("connections", 32)?;
    match words.text("mode")? {
        "requests" => requests(client, at_once, seconds).await,
        "connections" => connections(client, at_once, seconds).await,
        "names" => names(client, at_once, words.get("from")?, words.get("until")?).await,
        "bulk" => bulk(&client, words.get("bytes")?).await,
        "idle" => idle(client, words.get("count")?).await,
        "events" => events(&client, words.get("count")?).await,
        other => Err(format!("there is no mode {other}").into()),
    }
}

/// Runs this many of the same loop until all have ended. Returns how long that took.
async fn together<F, L>(at_once: usize, each: F) -> Result<(Histogram, Duration)>
where
    F: Fn(usize, Rc<RefCell<Tally>>) -> L,
    L: Future<Output = Result<()>> + 'static,
{
    let tally = Rc::new(RefCell::new(Tally {
        latencies: Histogram::new(),
        failed: None,
    }));
    let local = LocalSet::new();
    let started = Instant::now();
    for number in 0..at_once {
        let (task, tally) = (each(number, Rc::clone(&tally)), Rc::clone(&tally));
        local.spawn_local(async move {
            if let Err(error) = task.await {
                tally.borrow_mut().failed.get_or_insert(error.to_string());
            }
        });
    }
    local.await;
    let elapsed = started.elapsed();
    let tally = Rc::into_inner(tally).ok_or("a task is left")?.into_inner();
    match tally.failed {
        None => Ok((tally.latencies, elapsed)),
        Some(error) => Err(error.into()),
    }
}

fn report(latencies: &Histogram, elapsed: Duration) {
    println!(
        r#"{{"count": {}, "rate": {:.1}, "p50": {:.1}, "p99": {:.1}}}"#,
        latencies.count(),
        latencies.count() as f64 / elapsed.as_secs_f64(),
        latencies.quantile(0.5),
        latencies.quantile(0.99)
    );
}

async fn requests(client: Rc<Client>, at_once: usize, length: Duration) -> Result<()> {
    let (latencies, elapsed) = together(at_once, |_, tally| {
        let client = Rc::clone(&client);
        async move {
            let mut connection = client.connect().await?;
            let started = Instant::now();
            while started.elapsed() < length {
                let asked = Instant::now();
                connection.get("/small/item").await?;
                tally.borrow_mut().latencies.add(asked.elapsed());
            }
            Ok(())
        }
    })
    .await?;
    report(&latencies, elapsed);
    Ok(())
}

/// Connect, handshake, one request, close; again.
async fn connections(client: Rc<Client>, at_once: usize, length: Duration) -> Result<()> {
    let started = Instant::now();
    let (latencies, elapsed) = together(at_once, |_, tally| {
        let client = Rc::clone(&client);
        async move {
            while started.elapsed() < length {
                let asked = Instant::now();
                client.connect().await?.get("/small/item").await?;
                tally.borrow_mut().latencies.add(asked.elapsed());
            }
            Ok(())
        }
    })
    .await?;
    report(&latencies, elapsed);
    Ok(())
}

/// The same, each time with a name that was never seen.
async fn names(client: Rc<Client>, at_once: usize, from: usize, to: usize) -> Result<()> {
    let (latencies, elapsed) = together(at_once, |first, tally| {
        let client = Rc::clone(&client);
        async move {
            for number in (from + first..to).step_by(at_once) {
                let asked = Instant::now();
                let mut connection = client
                    .connect_to(&format!("n{number}.mint.example"))
                    .await?;
                connection.get("/small/item").await?;
                tally.borrow_mut().latencies.add(asked.elapsed());
            }
            Ok(())
        }
    })
    .await?;
    report(&latencies, elapsed);
    Ok(())
}

async fn bulk(client: &Client, bytes: usize) -> Result<()> {
    let mut connection = client.connect().await?;
    connection.get("/small/item").await?;
    let started = Instant::now();
    let length = connection.get(&format!("/bulk/{bytes}")).await?;
    let elapsed = started.elapsed();
    if length != bytes {
        return Err(format!("{length} bytes instead of {bytes}").into());
    }
    println!(
        r#"{{"count": {bytes}, "rate": {:.1}}}"#,
        bytes as f64 / elapsed.as_secs_f64()
    );
    Ok(())
}

/// Opens connections that have been used once, says so, and holds them until told to end.
async fn idle(client: Rc<Client>, count: usize) -> Result<()> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut connection = client.connect().await?;
        connection.get("/small/item").await?;
        held.push(connection);
    }
    println!(r#"{{"count": {}}}"#, held.len());
    crate::orphaned().await;
    Ok(())
}

/// How long the first event of a stream takes.
async fn events(client: &Client, count: usize) -> Result<()> {
    let mut latencies = Histogram::new();
    let started = Instant::now();
    for _ in 0..count {
        let mut connection = client.connect().await?;
        connection.get("/small/item").await?;
        let asked = Instant::now();
        connection.first_event().await?;
        latencies.add(asked.elapsed());
    }
    report(&latencies, started.elapsed());
    Ok(())
}
