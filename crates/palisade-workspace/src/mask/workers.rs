//! Work in as many threads as there are processors, all ended when a call returns: a boundary is made by a process that has one.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Fewer than this are done faster by one thread than two are started.
const FEW: usize = 400;

/// Most threads. More than these wait for one another in the kernel's own locks.
const MOST: usize = 8;

fn threads() -> usize {
    thread::available_parallelism().map_or(1, |count| count.get().min(MOST))
}

/// What a function says of each of a list's entries, where it says something, in their order.
pub(super) fn spread<T: Sync, R: Send>(
    list: &[T],
    ask: impl Fn(u32, &T) -> Option<R> + Sync,
) -> Vec<R> {
    let part = |from: usize, list: &[T]| -> Vec<R> {
        (from..)
            .zip(list)
            .filter_map(|(index, entry)| ask(u32::try_from(index).ok()?, entry))
            .collect()
    };
    // How many there can be takes the standard library some fifteen system calls to find out.
    let threads = if list.len() < FEW { 1 } else { threads() };
    if threads == 1 {
        return part(0, list);
    }
    let size = list.len().div_ceil(threads);
    thread::scope(|scope| {
        let mut chunks = list.chunks(size).enumerate();
        let first = chunks.next();
        let others: Vec<_> = chunks
            .map(|(number, chunk)| {
                let part = &part;
                scope.spawn(move || part(number * size, chunk))
            })
            .collect();
        let mut all = first.map_or_else(Vec::new, |(_, chunk)| part(0, chunk));
        for other in others {
            match other.join() {
                Ok(found) => all.extend(found),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}

/// Tasks that are waiting, and how many threads may still bring more.
struct Queue<T> {
    waiting: Vec<T>,
    busy: usize,
}

/// Does all tasks and those that they bring up.
pub(super) fn each<T: Send, R: Send>(
    tasks: Vec<T>,
    work: impl Fn(T, &mut dyn FnMut(T)) -> Option<R> + Sync,
) -> Vec<R> {
    let queue = Mutex::new(Queue {
        waiting: tasks,
        busy: 0,
    });
    let changed = Condvar::new();
    let run = || {
        let (mut done, mut own) = (Vec::new(), Vec::new());
        loop {
            let Some(task) = own.pop().or_else(|| take(&queue, &changed)) else {
                return done;
            };
            let mut more = Vec::new();
            done.extend(work(task, &mut |task| more.push(task)));
            // One stays here; the others are for whoever has none.
            own.extend(more.pop());
            let mut queue = lock(&queue);
            if !more.is_empty() {
                queue.waiting.append(&mut more);
                changed.notify_all();
            }
            if own.is_empty() {
                queue.busy -= 1;
                if queue.busy == 0 && queue.waiting.is_empty() {
                    changed.notify_all();
                }
            }
        }
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads()).map(|_| scope.spawn(run)).collect();
        let mut all = run();
        for other in others {
            match other.join() {
                Ok(found) => all.extend(found),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}

/// The next task; none when no thread can bring one.
fn take<T>(queue: &Mutex<Queue<T>>, changed: &Condvar) -> Option<T> {
    let mut queue = lock(queue);
    loop {
        if let Some(task) = queue.waiting.pop() {
            queue.busy += 1;
            return Some(task);
        }
        if queue.busy == 0 {
            return None;
        }
        queue = changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
}

fn lock<T>(queue: &Mutex<Queue<T>>) -> MutexGuard<'_, Queue<T>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_asked_once_and_in_order() {
        for count in [0, 1, FEW - 1, FEW, 10_001] {
            let list: Vec<usize> = (0..count).collect();
            let odd = spread(&list, |index, entry| {
                assert_eq!(index as usize, *entry);
                (entry % 2 == 1).then_some(*entry)
            });
            assert!(odd.iter().copied().eq((0..count).filter(|n| n % 2 == 1)));
        }
    }

    #[test]
    fn tasks_that_tasks_bring_up_are_done() {
        // A tree of a thousand nodes, and a line of a thousand.
        let mut done = each(vec![1u32], |task, push| {
            for next in [task * 2, task * 2 + 1] {
                if next <= 1000 {
                    push(next);
                }
            }
            Some(task)
        });
        done.sort_unstable();
        assert!(done.into_iter().eq(1..=1000));
        let line = each(vec![0u32], |task, push| {
            if task < 999 {
                push(task + 1);
            }
            Some(task)
        });
        assert_eq!(line.len(), 1000);
        assert!(each(Vec::<u32>::new(), |task, _| Some(task)).is_empty());
    }
}
