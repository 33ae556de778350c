//! What others ask of the live loop between two of its turns.

use super::Live;
use crate::daemon::{Command, control};

impl Live {
    /// Takes what scrapes, signals and the control socket ask for.
    pub(super) fn answer(&mut self) {
        while let Ok(scrape) = self.refreshes.try_recv() {
            self.scrapes.push(scrape);
        }
        while let Ok(command) = self.inbox.try_recv() {
            match command {
                Command::Stop => self.stopped = true,
                Command::Reopen => self.taker.outputs.reopen(),
                Command::ReloadFailed => self.snapshot.reload.failed = true,
                Command::Reconfigure(config, feeds) => self.reconfigure(*config, &feeds),
                Command::Ask(request, reply) => {
                    let answer = self.respond(&request);
                    // Whoever has given up needs no answer.
                    let _ = reply.send(answer);
                }
            }
        }
    }

    fn respond(&mut self, request: &control::Request) -> control::Answer {
        let question = match request {
            control::Request::Status {} => control::Question::Status,
            control::Request::Stats {} => control::Question::Stats,
            control::Request::Flows(query) => control::Question::Flows(query),
            control::Request::Lists(request) => return self.answer_lists(request),
            control::Request::Pass { on } => return self.answer_pass(*on),
        };
        let view = control::View {
            snapshot: &self.snapshot,
            engine: &self.engine,
            guard: &self.guard,
            clock: &self.clock,
            config: &self.config,
            attachments: self.plane.attachments().collect(),
            uptime: self.started.elapsed(),
        };
        Ok(control::answer(question, &view))
    }
}
