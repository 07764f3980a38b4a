//! A picture of a run: nodes over time, with what was wrong with them, what clients asked and got,
//! the faults where they happened, and the violation.

use std::fmt::Write;

use super::trace::{Mark, Span};
use super::{Outcome, Setup};
use crate::history::{Action, Operation, Outcome as Ended};

const WIDTH: f64 = 1_400.0;
const LEFT: f64 = 96.0;
const RIGHT: f64 = 24.0;
const HEAD: f64 = 74.0;
/// Height of a node's lane, and of the bar in it.
const LANE: f64 = 44.0;
const BAR: f64 = 26.0;
/// Height of a client's lane.
const CLIENT: f64 = 18.0;
const FOOT: f64 = 66.0;
/// Marks that are closer than this are drawn one below the other.
const MARK_WIDTH: f64 = 7.0;

/// What is drawn of a node's troubles: colour, and how far from the top and how high within its bar.
const TROUBLES: [(&str, &str, f64, f64); 5] = [
    ("down", "#3d4451", 0.0, BAR),
    ("paused", "#8f7fd0", 0.0, BAR),
    ("cut off", "#e8973a", BAR - 6.0, 6.0),
    ("slow disk", "#d8c25a", 0.0, 6.0),
    ("full disk", "#b8503a", 0.0, 6.0),
];

/// What is drawn of operations.
const OPERATIONS: [(&str, &str); 5] = [
    ("read", "#79a9c9"),
    ("written", "#3f9152"),
    ("condition failed", "#c2ad3c"),
    ("unknown", "#d2571e"),
    ("refused", "#9a9a9a"),
];

const RED: &str = "#c81d25";

/// The picture while it is drawn.
struct Picture<'a> {
    svg: String,
    setup: &'a Setup,
    outcome: &'a Outcome,
    until_us: u64,
    height: f64,
}

/// Draws a run that was recorded, as SVG.
pub fn draw(setup: &Setup, outcome: &Outcome) -> String {
    let nodes = setup.profile.nodes as f64;
    let clients = f64::from(setup.profile.clients);
    let mut picture = Picture {
        svg: String::new(),
        setup,
        outcome,
        until_us: shown_until(outcome),
        height: HEAD + LANE * nodes + 14.0 + CLIENT * clients + FOOT,
    };
    picture.frame();
    picture.phases();
    picture.axis();
    picture.nodes();
    picture.clients();
    picture.marks();
    picture.violation();
    picture.legend();
    picture.svg.push_str("</svg>\n");
    picture.svg
}

/// A world at rest is dull: the picture ends soon after the last thing that clients saw of it.
fn shown_until(outcome: &Outcome) -> u64 {
    let operations = outcome.history.iter().filter(|it| it.client < 1_000);
    let marks = outcome.marks.iter().filter(|mark| mark.node.is_some());
    let spans = outcome.spans.iter().filter_map(|span| span.until_us);
    let last = operations
        .map(|operation| operation.return_us)
        .chain(marks.map(|mark| mark.at_us))
        .chain(spans)
        .max()
        .unwrap_or(outcome.virtual_us);
    let violated = !outcome.violations.is_empty();
    let end = if violated { outcome.virtual_us } else { last };
    end.saturating_add(500_000)
        .clamp(1, outcome.virtual_us.max(1))
}

impl Picture<'_> {
    fn x(&self, at_us: u64) -> f64 {
        let share = at_us.min(self.until_us) as f64 / self.until_us as f64;
        LEFT + (WIDTH - LEFT - RIGHT) * share
    }

    fn node_y(&self, node: usize) -> f64 {
        HEAD + LANE * node as f64
    }

    fn client_y(&self, client: u32) -> f64 {
        self.node_y(self.setup.profile.nodes) + 14.0 + CLIENT * f64::from(client)
    }

    /// Adds one element. Writing to a string does not fail.
    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.svg, "{element}");
    }

    fn frame(&mut self) {
        let profile = &self.setup.profile;
        let mutant = self.setup.mutant.map_or_else(String::new, |mutant| {
            format!(", planted: {}", mutant.name())
        });
        let title = format!(
            "seed {}: {} nodes, {} shards, {} clients, {} operations, {} faults{mutant}",
            self.outcome.seed,
            profile.nodes,
            profile.shards,
            profile.clients,
            self.outcome.counters.operations,
            self.outcome.counters.faults,
        );
        let height = self.height;
        self.add(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fcfbf8\"/>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"16\" font-weight=\"bold\" \
             fill=\"#222\">{title}</text>"
        ));
    }

    /// Where the phases of the run begin.
    fn phases(&mut self) {
        let marks = self.outcome.marks.iter();
        let phases: Vec<Mark> = marks.filter(|mark| mark.node.is_none()).cloned().collect();
        let bottom = self.height - FOOT + 6.0;
        let mut free = 0.0;
        for (number, mark) in phases.iter().enumerate() {
            if mark.at_us > self.until_us {
                continue;
            }
            let at = self.x(mark.at_us);
            self.add(format_args!(
                "<line x1=\"{at:.1}\" y1=\"48\" x2=\"{at:.1}\" y2=\"{bottom:.1}\" stroke=\"#888\" \
                 stroke-dasharray=\"3 3\"/>"
            ));
            // A phase that ends at once has no room for its name.
            let next = phases.get(number + 1).map(|next| self.x(next.at_us));
            let width = 6.0 * mark.text.len() as f64;
            let ends = next.unwrap_or(WIDTH - RIGHT);
            if at < free || at + 4.0 + width > ends.max(free) {
                continue;
            }
            free = at + 4.0 + width;
            self.add(format_args!(
                "<text x=\"{:.1}\" y=\"58\" fill=\"#555\" font-size=\"11\" \
                 font-style=\"italic\">{}</text>",
                at + 4.0,
                escape(&mark.text)
            ));
        }
    }

    fn axis(&mut self) {
        let step_s = [1, 2, 5, 10, 20, 60]
            .into_iter()
            .find(|step| self.until_us / 1_000_000 / step <= 24)
            .unwrap_or(120);
        let bottom = self.height - FOOT + 4.0;
        let mut second = 0;
        while second * 1_000_000 <= self.until_us {
            let at = self.x(second * 1_000_000);
            self.add(format_args!(
                "<line x1=\"{at:.1}\" y1=\"{HEAD}\" x2=\"{at:.1}\" y2=\"{bottom:.1}\" \
                 stroke=\"#e4e2dc\"/><text x=\"{at:.1}\" y=\"{:.1}\" fill=\"#777\" \
                 font-size=\"10\" text-anchor=\"middle\">{second} s</text>",
                bottom + 13.0
            ));
            second += step_s;
        }
    }

    fn nodes(&mut self) {
        let until_us = self.until_us;
        for node in 0..self.setup.profile.nodes {
            let y = self.node_y(node);
            self.add(format_args!(
                "<text x=\"14\" y=\"{:.1}\" fill=\"#222\">node {node}</text>\
                 <rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\" \
                 fill=\"#d9e8d6\"/>",
                y + 18.0,
                WIDTH - LEFT - RIGHT
            ));
        }
        let spans: Vec<Span> = self.outcome.spans.clone();
        for (kind, colour, top, height) in TROUBLES {
            // At the end of a run all processes end.
            let shown = |span: &&Span| span.kind == kind && span.from_us < until_us;
            for span in spans.iter().filter(shown) {
                let end_us = span.until_us.unwrap_or(until_us);
                let (from, until) = (self.x(span.from_us), self.x(end_us));
                let y = self.node_y(span.node) + top;
                self.add(format_args!(
                    "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height}\" \
                     fill=\"{colour}\"><title>{kind}, {} to {} ms</title></rect>",
                    (until - from).max(1.5),
                    span.from_us / 1000,
                    end_us / 1000
                ));
            }
        }
    }

    fn clients(&mut self) {
        for client in 0..self.setup.profile.clients {
            let y = self.client_y(client) + 10.0;
            self.add(format_args!(
                "<text x=\"14\" y=\"{y:.1}\" fill=\"#222\">client {client}</text>"
            ));
        }
        let suspect = self.suspect_key();
        let outcome = self.outcome;
        let shown = |operation: &&Operation| operation.client < self.setup.profile.clients;
        let operations: Vec<&Operation> = outcome.history.iter().filter(shown).collect();
        for operation in operations {
            let (what, colour) = describe(operation);
            let y = self.client_y(operation.client);
            let (from, until) = (self.x(operation.call_us), self.x(operation.return_us));
            let key = String::from_utf8_lossy(operation.key.key.as_bytes()).into_owned();
            let stroke = if suspect.as_deref() == Some(key.as_str()) {
                format!(" stroke=\"{RED}\" stroke-width=\"0.8\"")
            } else {
                String::new()
            };
            self.add(format_args!(
                "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"12\" \
                 fill=\"{colour}\"{stroke}><title>{}: {what}, {} to {} ms</title></rect>",
                (until - from).max(1.0),
                escape(&key),
                operation.call_us / 1000,
                operation.return_us / 1000
            ));
        }
    }

    /// The key that the violation is about, if its story names one.
    fn suspect_key(&self) -> Option<String> {
        let story = &self.outcome.violations.first()?.story;
        let names = self.outcome.history.iter();
        let mut names = names.map(|it| String::from_utf8_lossy(it.key.key.as_bytes()).into_owned());
        names.find(|name| story.contains(name.as_str()))
    }

    /// Faults where they happened.
    fn marks(&mut self) {
        let marks: Vec<Mark> = self.outcome.marks.clone();
        for mark in &marks {
            let Some(node) = mark.node else { continue };
            let (at, y) = (self.x(mark.at_us), self.node_y(node) - 2.0);
            self.add(format_args!(
                "<path d=\"M{at:.1} {y:.1} l-4 -7 h8 z\" fill=\"#333\"><title>{} at {} ms</title>\
                 </path>",
                escape(&mark.text),
                mark.at_us / 1000
            ));
        }
        // Names, where there is room for them.
        let mut free: Vec<f64> = vec![0.0; self.setup.profile.nodes];
        for mark in &marks {
            let Some(node) = mark.node else { continue };
            let at = self.x(mark.at_us);
            let name: String = mark.text.chars().take(24).collect();
            let width = 5.6 * name.len() as f64;
            let Some(from) = free.get_mut(node).filter(|from| **from <= at) else {
                continue;
            };
            let starts = (at + MARK_WIDTH).min(WIDTH - RIGHT - width);
            *from = starts + width + MARK_WIDTH;
            let y = self.node_y(node) - 3.0;
            self.add(format_args!(
                "<text x=\"{starts:.1}\" y=\"{y:.1}\" font-size=\"10\" fill=\"#333\">{}</text>",
                escape(&name)
            ));
        }
    }

    fn violation(&mut self) {
        let Some(violation) = self.outcome.violations.first() else {
            return;
        };
        let text = violation.to_string();
        let line = text.lines().next().unwrap_or_default();
        let short: String = line.chars().take(190).collect();
        let at = self.x(self.outcome.virtual_us);
        let bottom = self.height - FOOT + 4.0;
        self.add(format_args!(
            "<line x1=\"{at:.1}\" y1=\"48\" x2=\"{at:.1}\" y2=\"{bottom:.1}\" stroke=\"{RED}\" \
             stroke-width=\"2.5\"/><text x=\"{LEFT}\" y=\"43\" fill=\"{RED}\">{}</text>",
            escape(&short)
        ));
    }

    fn legend(&mut self) {
        let y = self.height - 20.0;
        let troubles = TROUBLES.iter().map(|(kind, colour, ..)| (*kind, *colour));
        let mut at = LEFT;
        for (name, colour) in troubles.chain(OPERATIONS) {
            self.add(format_args!(
                "<rect x=\"{at:.1}\" y=\"{:.1}\" width=\"11\" height=\"11\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{y:.1}\" fill=\"#333\">{name}</text>",
                y - 10.0,
                at + 16.0
            ));
            at += 42.0 + 6.6 * name.len() as f64;
        }
        self.add(format_args!(
            "<path d=\"M{:.1} {y:.1} l-4 -7 h8 z\" fill=\"#333\"/>\
             <text x=\"{:.1}\" y=\"{y:.1}\" fill=\"#333\">fault</text>",
            at + 6.0,
            at + 16.0
        ));
    }
}

/// What an operation was and became, and its colour.
fn describe(operation: &Operation) -> (String, &'static str) {
    let [read, written, conflict, unknown, refused] = OPERATIONS.map(|(_, colour)| colour);
    match operation.action {
        Action::Get(None) => ("read nothing".into(), read),
        Action::Get(Some(seen)) => (format!("read version {}", seen.version), read),
        Action::Write {
            change, outcome, ..
        } => match outcome {
            Ended::Written { version, .. } => (format!("{change:?} as {version}"), written),
            Ended::Conflict { .. } => (format!("{change:?}, condition failed"), conflict),
            Ended::Unknown => (format!("{change:?}, outcome unknown"), unknown),
            Ended::Refused => (format!("{change:?}, refused"), refused),
        },
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
