//! Places in the actors where the simulator has something happen that is rare, but allowed: a cache
//! is empty, a message between actors is lost, a timer is late. What depends on it not happening is
//! a bug. The name is FoundationDB's.
//!
//! Only builds with debug assertions can do so; in a release build [`Buggify::at`] is false, and
//! nothing of it is left.

#[cfg(debug_assertions)]
use std::sync::Arc;

/// Something that may happen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Point {
    /// A shard lets go of all records that it could read again.
    RecordsForgotten,
    /// A shard says that it is busy.
    Busy,
    /// A shard's timer is so late that the next one comes with it.
    TickLost,
    /// A shard gives the index one change at a time.
    FeedShort,
    /// What gossip tells a shard of a peer's progress is lost.
    ProgressLost,
    /// A replicator lets go of all reserved ballots.
    ReservationsForgotten,
    /// What a shard asks its replicator to settle or purge is lost.
    SettleLost,
    /// A shard's actor is at work when somebody wants to read.
    ActorAtWork,
}

impl Point {
    /// All of them.
    pub const ALL: [Point; 8] = [
        Point::RecordsForgotten,
        Point::Busy,
        Point::TickLost,
        Point::FeedShort,
        Point::ProgressLost,
        Point::ReservationsForgotten,
        Point::SettleLost,
        Point::ActorAtWork,
    ];
}

/// Decides what happens. The default decides that nothing does.
#[derive(Clone, Default)]
pub struct Buggify {
    #[cfg(debug_assertions)]
    decide: Option<Arc<dyn Fn(Point) -> bool + Send + Sync>>,
}

impl Buggify {
    /// Asks `decide` each time an actor comes to a point.
    #[cfg(debug_assertions)]
    pub fn new(decide: impl Fn(Point) -> bool + Send + Sync + 'static) -> Buggify {
        Buggify {
            decide: Some(Arc::new(decide)),
        }
    }

    /// Whether it happens this time: never, in a release build.
    #[inline]
    pub fn at(&self, point: Point) -> bool {
        #[cfg(debug_assertions)]
        let happens = self.decide.as_ref().is_some_and(|decide| decide(point));
        #[cfg(not(debug_assertions))]
        let happens = {
            let _ = point;
            false
        };
        happens
    }
}

const _: () = assert!(
    cfg!(debug_assertions) || size_of::<Buggify>() == 0,
    "a release build has no room for a decision"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_happens_unless_somebody_decides_so() {
        assert!(
            Point::ALL
                .iter()
                .all(|point| !Buggify::default().at(*point))
        );
        #[cfg(debug_assertions)]
        {
            let buggify = Buggify::new(|point| point == Point::Busy);
            assert!(buggify.at(Point::Busy) && !buggify.at(Point::TickLost));
        }
    }
}
