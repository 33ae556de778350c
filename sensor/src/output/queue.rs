//! A bounded queue before a thread that writes: nothing waits for an output.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{EveWriter, Sink};
use crate::core::event::Event;

/// An idle writer looks so often whether it is to reopen its file.
const TICK: Duration = Duration::from_millis(250);
/// A failing output is reported at once, and then so often.
const REPORT: Duration = Duration::from_secs(60);

/// Why an event did not reach its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// The output is slower than the events come.
    QueueFull,
    /// The destination refused it: a full disk, a closed pipe.
    WriteError,
}

/// Label values of `sensor_output_dropped_events_total`, in the order of [`Dropped`].
pub const DROP_REASONS: [&str; 2] = ["queue_full", "write_error"];

/// What became of the events of one output.
#[derive(Debug, Default)]
pub struct Counters {
    written: AtomicU64,
    dropped: [AtomicU64; 2],
}

impl Counters {
    /// Events written.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Events dropped for one reason.
    pub fn dropped(&self, reason: Dropped) -> u64 {
        self.dropped[reason as usize].load(Ordering::Relaxed)
    }

    /// Events dropped, with the reason as a label.
    pub fn by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        DROP_REASONS.into_iter().zip(
            self.dropped
                .iter()
                .map(|count| count.load(Ordering::Relaxed)),
        )
    }
}

/// A bounded queue of events before a thread that writes them.
#[derive(Debug)]
pub struct Queue {
    sender: Option<SyncSender<Event>>,
    writer: Option<JoinHandle<()>>,
    counters: Arc<Counters>,
    /// See [`Queue::unwritten_packets`].
    unwritten: Arc<AtomicU64>,
    reopen: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
}

impl Queue {
    /// Starts the writer; `name` is for messages, `capacity` is in events.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start<S: Sink + 'static>(name: &str, sink: S, capacity: usize) -> io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel(capacity.max(1));
        let counters = Arc::new(Counters::default());
        let unwritten = Arc::new(AtomicU64::new(0));
        let reopen = Arc::new(AtomicBool::new(false));
        let closed = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            name: name.to_owned(),
            writer: EveWriter::new(sink),
            counters: Arc::clone(&counters),
            unwritten: Arc::clone(&unwritten),
            buffered: 0,
            reopen: Arc::clone(&reopen),
            closed: Arc::clone(&closed),
            reported: None,
        };
        let writer = thread::Builder::new()
            .name(format!("output-{name}"))
            .spawn(move || worker.run(&receiver))?;
        Ok(Self {
            sender: Some(sender),
            writer: Some(writer),
            counters,
            unwritten,
            reopen,
            closed,
        })
    }

    /// Queues an event; never waits.
    pub fn push(&self, event: Event) {
        let Some(sender) = &self.sender else { return };
        let packets = event.counted_packets();
        self.unwritten.fetch_add(packets, Ordering::Relaxed);
        let reason = match sender.try_send(event) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => Dropped::QueueFull,
            // The writer ended, which only a panic in a sink brings about.
            Err(TrySendError::Disconnected(_)) => Dropped::WriteError,
        };
        self.unwritten.fetch_sub(packets, Ordering::Relaxed);
        self.counters.dropped[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Packets that the kernel has counted, in events that are neither written nor dropped yet: if
    /// the process is killed now, nobody tells of them.
    #[must_use]
    pub fn unwritten_packets(&self) -> u64 {
        self.unwritten.load(Ordering::Acquire)
    }

    /// Has the destination opened anew before the next event or soon.
    pub fn reopen(&self) {
        self.reopen.store(true, Ordering::Release);
    }

    /// What became of the events; lives on after the queue.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Whether the reader of a pipe has gone: whatever is written from now on is lost.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Writes what is queued and ends the writer; so does dropping the queue.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("an output's writer panicked; its last events are lost");
        }
    }
}

struct Worker<S> {
    name: String,
    writer: EveWriter<S>,
    counters: Arc<Counters>,
    unwritten: Arc<AtomicU64>,
    /// Packets of the events that the writer holds.
    buffered: u64,
    reopen: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
    /// When the failure that lasts was last reported.
    reported: Option<Instant>,
}

impl<S: Sink> Worker<S> {
    fn run(mut self, events: &Receiver<Event>) {
        loop {
            match events.recv_timeout(TICK) {
                Ok(event) => self.write(&event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.flush(),
            }
            self.reopen_if_asked();
            while let Ok(event) = events.try_recv() {
                self.write(&event);
                self.reopen_if_asked();
            }
            // Nothing waits: let readers of the file see what there is.
            self.flush();
        }
    }

    fn reopen_if_asked(&mut self) {
        if self.reopen.swap(false, Ordering::AcqRel) {
            self.flush();
            let outcome = self.writer.sink().reopen();
            self.note(outcome);
        }
    }

    fn write(&mut self, event: &Event) {
        self.buffered += event.counted_packets();
        let outcome = self.writer.write(event);
        self.count_written();
        self.note(outcome);
    }

    fn flush(&mut self) {
        let outcome = self.writer.flush();
        self.count_written();
        self.note(outcome);
    }

    /// Nobody has to tell of what the sink has, or has refused.
    fn count_written(&mut self) {
        if self.writer.is_flushed() {
            let written = std::mem::take(&mut self.buffered);
            self.unwritten.fetch_sub(written, Ordering::Release);
        }
    }

    fn note(&mut self, outcome: io::Result<()>) {
        let lost = &self.counters.dropped[Dropped::WriteError as usize];
        self.counters
            .written
            .store(self.writer.written(), Ordering::Relaxed);
        lost.store(self.writer.lost(), Ordering::Relaxed);
        if let Err(error) = &outcome
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            // As `| head` does: no failure, and nothing to report each minute.
            self.closed.store(true, Ordering::Relaxed);
        } else if let Err(error) = outcome
            && self.reported.is_none_or(|last| last.elapsed() >= REPORT)
        {
            let (name, lost) = (&self.name, self.writer.lost());
            tracing::error!("output {name}: {error}; {lost} events dropped so far");
            self.reported = Some(Instant::now());
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Mutex, mpsc::channel};

    use super::*;
    use crate::core::{
        event::{Body, Flow, FlowReason, FlowState},
        time::Timestamp,
    };

    pub(crate) fn event(number: u64) -> Event {
        let time = Timestamp(0);
        let flow = Flow {
            pkts_toserver: 1,
            pkts_toclient: 0,
            bytes_toserver: 60,
            bytes_toclient: 0,
            start: crate::core::event::EveTime(time),
            end: crate::core::event::EveTime(time),
            age: 0,
            emergency: false,
            state: FlowState::New,
            reason: FlowReason::Shutdown,
            alerted: false,
            tx_cnt: None,
        };
        let mut event = Event::new(
            time,
            Body::Flow {
                flow: Box::new(flow),
                tcp: None,
            },
        );
        event.pcap_cnt = Some(number);
        event
    }

    /// Takes lines, once it may; fails while told to.
    struct Slow {
        gate: Receiver<()>,
        lines: Arc<Mutex<Vec<u8>>>,
        broken: Arc<AtomicBool>,
        reopened: Arc<AtomicU64>,
    }

    impl Sink for Slow {
        fn append(&mut self, lines: &[u8]) -> io::Result<()> {
            let _ = self.gate.recv();
            if self.broken.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.lines.lock().unwrap().extend(lines);
            Ok(())
        }

        fn reopen(&mut self) -> io::Result<()> {
            self.reopened.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    #[test]
    fn every_event_is_written_or_counted() {
        let (open, gate) = channel();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let broken = Arc::new(AtomicBool::new(false));
        let reopened = Arc::new(AtomicU64::new(0));
        let sink = Slow {
            gate,
            lines: Arc::clone(&lines),
            broken: Arc::clone(&broken),
            reopened: Arc::clone(&reopened),
        };
        let queue = Queue::start("test", sink, 8).unwrap();
        let counters = queue.counters();
        for number in 0..100 {
            queue.push(event(number));
        }
        assert!(
            counters.dropped(Dropped::QueueFull) >= 80,
            "the sink is shut"
        );
        let taken = 100 - counters.dropped(Dropped::QueueFull);
        assert_eq!(queue.unwritten_packets(), taken, "one in each event");
        let unwritten = Arc::clone(&queue.unwritten);
        queue.reopen();
        drop(open);
        queue.close();
        assert_eq!(unwritten.load(Ordering::Relaxed), 0);
        let total = counters.written() + counters.dropped(Dropped::QueueFull);
        assert_eq!(total, 100);
        assert_eq!(
            lines
                .lock()
                .unwrap()
                .iter()
                .filter(|byte| **byte == b'\n')
                .count() as u64,
            counters.written()
        );
        assert_eq!(counters.dropped(Dropped::WriteError), 0);
    }

    #[test]
    fn a_full_disk_costs_events_and_nothing_else() {
        let (open, gate) = channel();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let broken = Arc::new(AtomicBool::new(true));
        let reopened = Arc::new(AtomicU64::new(0));
        let sink = Slow {
            gate,
            lines,
            broken: Arc::clone(&broken),
            reopened,
        };
        drop(open);
        let queue = Queue::start("test", sink, 1000).unwrap();
        let counters = queue.counters();
        for number in 0..10 {
            queue.push(event(number));
        }
        while counters.dropped(Dropped::WriteError) < 10 {
            thread::yield_now();
        }
        broken.store(false, Ordering::Relaxed);
        queue.push(event(10));
        queue.close();
        assert_eq!(counters.written(), 1);
        let reasons: Vec<_> = counters.by_reason().collect();
        assert_eq!(reasons, [("queue_full", 0), ("write_error", 10)]);
    }

    #[test]
    fn an_idle_writer_reopens_too() {
        let (_open, gate) = channel();
        let reopened = Arc::new(AtomicU64::new(0));
        let sink = Slow {
            gate,
            lines: Arc::default(),
            broken: Arc::default(),
            reopened: Arc::clone(&reopened),
        };
        let queue = Queue::start("test", sink, 8).unwrap();
        queue.reopen();
        let deadline = Instant::now() + Duration::from_secs(10);
        while reopened.load(Ordering::Relaxed) == 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(reopened.load(Ordering::Relaxed), 1);
        drop(queue);
    }

    #[test]
    fn what_the_sink_has_is_written_though_events_never_cease() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Slow {
            gate: channel().1,
            lines: Arc::clone(&lines),
            broken: Arc::default(),
            reopened: Arc::default(),
        };
        let unwritten = Arc::new(AtomicU64::new(0));
        let mut worker = Worker {
            name: "test".to_owned(),
            writer: EveWriter::new(sink),
            counters: Arc::default(),
            unwritten: Arc::clone(&unwritten),
            buffered: 0,
            reopen: Arc::default(),
            closed: Arc::default(),
            reported: None,
        };
        for number in 0..2000 {
            unwritten.fetch_add(1, Ordering::Relaxed);
            worker.write(&event(number));
        }
        let told = lines.lock().unwrap().split(|byte| *byte == b'\n').count() - 1;
        assert!(told > 0, "more than one block");
        assert_eq!(unwritten.load(Ordering::Relaxed), 2000 - told as u64);
    }
}
