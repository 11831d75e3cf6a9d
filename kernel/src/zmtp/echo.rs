//! The heartbeat socket: echoes each message byte for byte to its sender.

use super::Context;
use super::broken::Broken;
use super::budget::Account;
use super::listener::{Listener, Stream};
use super::peers::{Peers, Seat, Standing};
use super::router::{accept, until_evicted};
use super::wire::{self, Incoming, SocketType};

/// Echoes until the process ends. A peer's next message is read after the previous one was
/// returned.
pub async fn run(listener: Listener, context: Context) {
    let peers = Peers::new(context.limits.connections);
    accept(listener, peers, move |stream, seat, evicted| {
        let context = context.clone();
        tokio::spawn(until_evicted(evicted, async move {
            serve(stream, &seat, &context).await
        }));
    })
    .await;
}

async fn serve(stream: Stream, seat: &Seat, context: &Context) -> Result<(), Broken> {
    let account = Account::new(context);
    let (mut reader, mut writer, _) = wire::handshake(stream, SocketType::Router, account).await?;
    seat.rise(Standing::Greeted);
    loop {
        match reader.next().await? {
            Incoming::Message(frames) => {
                writer.write(&frames).await?;
                seat.rise(Standing::Trusted);
            }
            Incoming::Command(command) => {
                if let Some(pong) = wire::pong(&command) {
                    writer.write_command(&pong).await?;
                }
            }
        }
        reader.account.settle();
    }
}
