//! The one judge of ports, for both programs: which ports are meant, which should answer, and what to make of those that are
//! there.
//!
//! Owns the classes of ports, listeners that flap, the language of port lists, and how a port is spelt in JSON. Must not know how ports are found,
//! where reports go, nor any cluster. What of this crosses a tunnel is a type of `nodewatch-protocol`, and is named here too.
#![warn(missing_docs)]

mod class;
mod flaps;
mod judge;
mod set;
mod spelling;

pub use class::PortClass;
pub use flaps::{FLAPS_WITHIN, Flap, PortHistory, flaps, is_client, may_be_client};
pub use judge::{Expected, Judgement, Missing, judge};
pub use nodewatch_protocol::{Expectation, ExpectedPorts, Origin, ParsePortKeyError, PortKey, PortRule};
pub use set::{ParsePortSetError, PortSet, contains};
pub use spelling::{ListedPortFields, PortFields};
