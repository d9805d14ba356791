//! What a case looks for among the events of a core.

use piccolo_gossip::{Event, State};

/// Whether an event says that the named member is now in a state.
pub fn became(event: &Event, name: &str, state: State) -> bool {
    matches!(event, Event::Changed { member, .. } if member.name == name && member.state == state)
}

/// Whether an event says that some member is dead.
pub fn is_death(event: &Event) -> bool {
    matches!(event, Event::Changed { member, .. } if member.state == State::Dead)
}

/// Whether an event says that a node stops and must not go on.
pub fn is_stop(event: &Event) -> bool {
    matches!(event, Event::Fatal(_) | Event::CreateRefused { .. })
}

/// Whether an event says that two clusters count one node.
pub fn is_dispute(event: &Event) -> bool {
    matches!(event, Event::Disputed { .. })
}
