//! Where the user has been: back and forward, as in a browser.
//!
//! Owns the two stacks. Pure.

use super::{App, Screen, View};

/// Places remembered.
const LONGEST: usize = 50;

/// A place on the screens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    screen: Screen,
    view: View,
}

/// The places before and after this one.
#[derive(Debug, Clone, Default)]
pub(super) struct Trail {
    back: Vec<Spot>,
    forward: Vec<Spot>,
}

impl App {
    pub(super) fn spot(&self) -> Spot {
        Spot { screen: self.screen.clone(), view: self.view }
    }

    /// Remembers where the user came from, when an action has led to another screen.
    pub(super) fn left(&mut self, spot: Spot) {
        if spot.screen == self.screen {
            return;
        }
        if self.past.trail.back.len() == LONGEST {
            self.past.trail.back.remove(0);
        }
        self.past.trail.back.push(spot);
        self.past.trail.forward.clear();
    }

    pub(super) fn go_back(&mut self) {
        if let Some(spot) = self.past.trail.back.pop() {
            let here = self.spot();
            self.past.trail.forward.push(here);
            self.go_to(spot);
        }
    }

    pub(super) fn go_forward(&mut self) {
        if let Some(spot) = self.past.trail.forward.pop() {
            let here = self.spot();
            self.past.trail.back.push(here);
            self.go_to(spot);
        }
    }

    fn go_to(&mut self, spot: Spot) {
        self.screen = match spot.screen {
            // It may have left the cluster.
            Screen::Node(name) if self.session.nodes.contains_key(&name) => {
                self.list.cursor = Some(name.clone());
                Screen::Node(name)
            }
            Screen::Node(_) => Screen::Nodes,
            Screen::Ports => {
                self.ports.look_again();
                Screen::Ports
            }
            Screen::Signals => {
                self.open_signals();
                Screen::Signals
            }
            Screen::Connections => {
                self.screen = Screen::Connections;
                self.refresh_connections();
                Screen::Connections
            }
            other => other,
        };
        self.view = spot.view;
        self.scroll = 0;
    }
}
