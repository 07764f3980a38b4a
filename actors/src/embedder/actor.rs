//! The actor that keeps an embedder's threads alive.

use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;

use super::queue::Takes;
use super::{QueuedEmbedder, worker};

/// Owns the threads of a [`QueuedEmbedder`]. Callers do not go through its mailbox: they
/// hold the embedder itself, whose queues outlive the actor, so that a restart loses nothing.
pub struct EmbedderActor;

/// What an [`EmbedderActor`] is told. All by itself.
#[derive(RactorMessage, Debug)]
pub enum EmbedderMessage {
    /// Start the threads. Sent once, when the actor starts; apart from `pre_start`, so that a
    /// failure reaches the supervisor.
    Start,
    /// A thread has ended. From its last breath; if it is lost, there is one less until the next
    /// restart.
    ThreadEnded {
        /// Of which life.
        life: u64,
    },
}

/// What an [`EmbedderActor`] knows.
pub struct EmbedderState {
    embedder: QueuedEmbedder,
    life: u64,
}

impl Actor for EmbedderActor {
    type Msg = EmbedderMessage;
    type State = EmbedderState;
    type Arguments = QueuedEmbedder;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        embedder: QueuedEmbedder,
    ) -> Result<Self::State, ActorProcessingErr> {
        myself.cast(EmbedderMessage::Start)?;
        Ok(EmbedderState { embedder, life: 0 })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            EmbedderMessage::Start => {
                state.life = state.embedder.begin_life();
                for takes in state.embedder.roles() {
                    start_thread(&state.embedder, myself.clone(), state.life, takes)?;
                }
            }
            EmbedderMessage::ThreadEnded { life } if life == state.life => {
                return Err("a thread of the embedding model ended".into());
            }
            EmbedderMessage::ThreadEnded { .. } => {}
        }
        Ok(())
    }

    /// Called on an orderly stop only, not before a restart.
    async fn post_stop(
        &self,
        _: ActorRef<Self::Msg>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        state.embedder.close();
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the thread of a slow model; in simulation models are inline"
)]
fn start_thread(
    embedder: &QueuedEmbedder,
    actor: ActorRef<EmbedderMessage>,
    life: u64,
    takes: Takes,
) -> std::io::Result<()> {
    let shared = embedder.shared();
    let farewell = Farewell { actor, life };
    std::thread::Builder::new()
        .name("embedder".to_owned())
        .spawn(move || {
            let _farewell = farewell;
            worker::run(&shared, life, takes);
        })?;
    Ok(())
}

/// Tells the actor that its thread ended, however it ended.
struct Farewell {
    actor: ActorRef<EmbedderMessage>,
    life: u64,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        // Nobody to tell if the actor is gone: then the thread was meant to end.
        drop(
            self.actor
                .cast(EmbedderMessage::ThreadEnded { life: self.life }),
        );
    }
}

#[cfg(test)]
mod tests;
