//! The capture form: text fields that become a capture spec, remembered between uses.
//!
//! Owns the fields and what makes them valid. Pure.

use nodewatch_filter::FilterError;
use nodewatch_protocol::{CaptureSpec, FreezeOn, Recorder, UnknownTrigger};
use tui_input::Input;

use crate::{
    base::text,
    model::{NodeName, Notice, Target},
    screens::{
        App, Layer,
        action::{Action, Edit},
        text_field,
    },
    session::{Effect, pending::Running},
};

/// A field of the form, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Filter,
    Content,
    Recorder,
    Interfaces,
    Pods,
    LimitTime,
    LimitSize,
    LimitPackets,
    RotateSize,
    RotateTime,
    Snaplen,
    IncludeOwn,
    FreezeOn,
    Bundle,
}

impl Field {
    /// Every field, top to bottom.
    pub const ALL: [Self; 14] = [
        Self::Filter,
        Self::Content,
        Self::Recorder,
        Self::Interfaces,
        Self::Pods,
        Self::LimitTime,
        Self::LimitSize,
        Self::LimitPackets,
        Self::RotateSize,
        Self::RotateTime,
        Self::Snaplen,
        Self::IncludeOwn,
        Self::FreezeOn,
        Self::Bundle,
    ];

    /// Its label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Filter => "Capture filter",
            Self::Pods => "Pods",
            Self::Interfaces => "Interfaces",
            Self::Snaplen => "Snaplen",
            Self::RotateSize => "Rotate at size",
            Self::RotateTime => "Rotate after",
            Self::LimitTime => "Stop after",
            Self::LimitSize => "Stop at size",
            Self::LimitPackets => "Stop at packets",
            Self::Content => "Content",
            Self::Recorder => "Flight recorder",
            Self::IncludeOwn => "Own traffic",
            Self::FreezeOn => "Freezes on",
            Self::Bundle => "Bundle",
        }
    }

    /// What an empty field means.
    pub fn placeholder(self) -> &'static str {
        match self {
            Self::Filter => "every packet",
            Self::Pods => "all",
            Self::Interfaces => "those with an address of the node",
            Self::Snaplen => "as the content says",
            Self::Content => "headers",
            Self::Recorder | Self::Bundle => "off",
            Self::IncludeOwn => "excluded",
            Self::FreezeOn => "by key",
            Self::RotateSize => "64MiB",
            Self::RotateTime => "5m",
            Self::LimitTime | Self::LimitSize | Self::LimitPackets => "no limit",
        }
    }

    /// What can be entered.
    pub fn example(self) -> &'static str {
        match self {
            Self::Filter => "tcp port 8080   host 10.1.2.3   tcp[tcpflags] & tcp-rst != 0",
            Self::Pods => "shop/web-0   svc:shop/web   -n shop -l app=web   on whichever nodes they are",
            Self::Content => "headers: no payload   dns: and DNS whole   full: everything",
            Self::Recorder => "2m   2m,512MiB: keeps the latest packets only, for a freeze to save",
            Self::Interfaces => "eth0   eth0,eth1   any",
            Self::LimitTime | Self::RotateTime => "30s   5m   1h30m",
            Self::LimitSize | Self::RotateSize => "64MiB   1GB",
            Self::LimitPackets => "1000",
            Self::Snaplen => "96: the first 96 bytes of each packet",
            Self::IncludeOwn => "include: also what this session itself sends and receives",
            Self::Bundle => "on: also the node's routes, rules, settings and counters, at begin and end",
            Self::FreezeOn => "verdict   N-05,N-11   failures>1%: by itself too, once in ten minutes a cause",
        }
    }

    /// What can be chosen, the first where nothing is entered; empty where it is typed.
    pub fn choices(self) -> &'static [&'static str] {
        match self {
            Self::Content => &["headers", "dns", "full"],
            Self::Recorder => &["off", "1m", "2m", "5m"],
            Self::IncludeOwn => &["excluded", "include"],
            Self::Bundle => &["off", "on"],
            Self::FreezeOn => &["by key", "verdict", "failures>1%"],
            _ => &[],
        }
    }
}

/// The form as it stands.
#[derive(Debug, Clone)]
pub struct CaptureForm {
    fields: [Input; Field::ALL.len()],
    /// The field that keys go to.
    pub focus: usize,
    /// The nodes that it was opened for.
    pub(in crate::screens) on: Vec<NodeName>,
    /// What is wrong with which field.
    pub error: Option<(Field, String)>,
    /// Filters that were used, the latest last.
    filters: Vec<String>,
    /// How many of them back, when an earlier one was brought back.
    recalled: usize,
    /// The filter that nobody has typed, of the row that it was opened on, and the one that was there before.
    given: Option<(String, String)>,
}

/// Filters remembered.
const FILTERS: usize = 50;

impl Default for CaptureForm {
    fn default() -> Self {
        Self {
            fields: std::array::from_fn(|_| Input::default()),
            focus: 0,
            on: Vec::new(),
            error: None,
            filters: Vec::new(),
            recalled: 0,
            given: None,
        }
    }
}

impl CaptureForm {
    /// A field's text.
    pub fn value(&self, field: Field) -> &str {
        self.fields[field as usize].value()
    }

    /// What is typed into the focused field.
    pub fn input(&self) -> &Input {
        &self.fields[self.focus]
    }

    /// As it is opened: at the first field, but for one that is wrong.
    pub(in crate::screens) fn opened(mut self) -> Self {
        self.focus = self.error.as_ref().map_or(0, |(field, _)| *field as usize);
        self.recalled = 0;
        self
    }

    /// Puts in the filter of the row that it was opened on.
    pub(in crate::screens) fn give_filter(&mut self, text: &str) {
        let before = self.value(Field::Filter).to_owned();
        self.set(Field::Filter, text);
        self.given = Some((text.to_owned(), before));
    }

    /// It has a filter that nobody has typed or changed.
    pub fn is_as_given(&self) -> bool {
        self.given.as_ref().is_some_and(|(given, _)| given == self.value(Field::Filter))
    }

    /// As it is kept when it is closed: what nobody has typed is no one's choice for the next capture.
    fn kept(mut self) -> Self {
        if self.is_as_given()
            && let Some((_, before)) = self.given.take()
        {
            self.set(Field::Filter, &before);
        }
        self.given = None;
        self
    }

    /// The field that keys go to.
    pub fn focused(&self) -> Field {
        Field::ALL[self.focus]
    }

    /// Changes the focused field; left and right step through what can be chosen.
    pub fn edit(&mut self, edit: Edit) {
        let choices = self.focused().choices();
        let value = self.value(self.focused()).trim();
        let at = if value.is_empty() { Some(0) } else { choices.iter().position(|choice| *choice == value) };
        match (edit, at) {
            (Edit::Left | Edit::Right, Some(at)) if !choices.is_empty() => {
                let by = if edit == Edit::Right { 1 } else { choices.len() - 1 };
                let next = (at + by) % choices.len();
                let text = if next == 0 { "" } else { choices[next] };
                self.fields[self.focus] = Input::new(text.to_owned());
            }
            _ => text_field::apply(&mut self.fields[self.focus], edit),
        }
        self.check();
    }

    /// Up and down: earlier filters in the filter's field, otherwise the next field.
    fn vertically(&mut self, by: isize) {
        let recalled = self.recalled.saturating_add_signed(-by).min(self.filters.len());
        if self.focused() != Field::Filter || (by > 0 && self.recalled == 0) {
            self.step(by);
        } else if recalled != self.recalled {
            self.recalled = recalled;
            let text = recalled.checked_sub(1).and_then(|back| self.filters.iter().rev().nth(back));
            self.fields[Field::Filter as usize] = Input::new(text.cloned().unwrap_or_default());
            self.check();
        }
    }

    /// Says what is wrong with the focused field while it is typed.
    fn check(&mut self) {
        // Nobody is done with a field in its middle: only what cannot become right by more letters could be told apart, and
        // the reason is as good as long as it is about what stands there.
        self.error = self.spec(u64::MAX).err().filter(|(field, _)| *field == self.focused());
    }

    /// Pods are named each time: what is remembered is for any nodes.
    fn forget_pods(&mut self) {
        self.fields[Field::Pods as usize] = Input::default();
    }

    /// Remembers the filter.
    fn used(&mut self) {
        let filter = self.value(Field::Filter).trim().to_owned();
        self.recalled = 0;
        self.given = None;
        if filter.is_empty() {
            return;
        }
        self.filters.retain(|known| *known != filter);
        self.filters.push(filter);
        if self.filters.len() > FILTERS {
            self.filters.remove(0);
        }
    }

    /// Puts a text in a field's place.
    pub fn set(&mut self, field: Field, text: &str) {
        self.focus = field as usize;
        self.fields[field as usize] = Input::new(text.to_owned());
        self.check();
    }

    /// Puts a text into the focused field.
    pub fn insert(&mut self, text: &str) {
        text_field::insert(&mut self.fields[self.focus], text);
        self.check();
    }

    /// Moves the focus, around the ends.
    pub fn step(&mut self, by: isize) {
        self.focus = (self.focus as isize + by).rem_euclid(Field::ALL.len() as isize) as usize;
        self.recalled = 0;
    }

    /// The spec that the fields say for a ring of that size; otherwise the error stays in the form and the focus goes to
    /// its field.
    pub fn submit(&mut self, ring_bytes: u64) -> Option<CaptureSpec> {
        match self.spec(ring_bytes) {
            Ok(spec) => Some(spec),
            Err((field, message)) => {
                self.focus = field as usize;
                self.error = Some((field, message));
                None
            }
        }
    }

    /// The pods whose packets are meant; none means nodes.
    pub fn targets(&self) -> Result<Vec<Target>, String> {
        Target::parse_all(self.value(Field::Pods))
    }

    fn spec(&self, ring_bytes: u64) -> Result<CaptureSpec, (Field, String)> {
        let default = CaptureSpec::default();
        self.targets().map_err(|error| (Field::Pods, error))?;
        let filter = self.value(Field::Filter).trim();
        // Names of hosts are looked up before it starts.
        match nodewatch_filter::check(filter) {
            Err(error @ FilterError::Expression { .. }) if !filter.is_empty() => {
                return Err((Field::Filter, objection(filter, &error)));
            }
            _ => {}
        }
        let spec = CaptureSpec {
            interfaces: split_list(self.value(Field::Interfaces)),
            filter: (!filter.is_empty()).then(|| filter.to_owned()),
            toward: Vec::new(),
            snaplen: self.read(Field::Snaplen, |text| whole_number(text, "snaplen"))?.unwrap_or(default.snaplen),
            rotate_bytes: self.read(Field::RotateSize, text::parse_size)?.unwrap_or(default.rotate_bytes),
            rotate_seconds: self.seconds(Field::RotateTime)?.map_or(default.rotate_seconds, Into::into),
            ring_bytes,
            limit_seconds: self.seconds(Field::LimitTime)?.map(Into::into),
            limit_bytes: self.read(Field::LimitSize, text::parse_size)?,
            limit_packets: self.read(Field::LimitPackets, |text| whole_number(text, "packet limit"))?,
            content: self.read(Field::Content, text::parse_content)?.unwrap_or_default(),
            include_own: self.read(Field::IncludeOwn, include)?.unwrap_or(false),
            recorder: self.read(Field::Recorder, recorder)?.flatten(),
            freeze_on: self.read(Field::FreezeOn, freeze_on)?.flatten(),
            bundle: self.read(Field::Bundle, on_or_off)?.unwrap_or(false),
        };
        spec.check().map_err(|error| {
            use nodewatch_protocol::SpecError as E;
            let field = match error {
                E::Snaplen(_) | E::Toward(_) => Field::Snaplen,
                E::RotateBytes(_) | E::Ring { .. } => Field::RotateSize,
                E::RotateSeconds => Field::RotateTime,
                E::ZeroLimit => Field::LimitPackets,
                E::RecorderSeconds | E::RecorderBytes { .. } => Field::Recorder,
                E::NoRecorder(_) => Field::FreezeOn,
            };
            (field, error.to_string())
        })?;
        Ok(spec)
    }

    fn seconds(&self, field: Field) -> Result<Option<u64>, (Field, String)> {
        Ok(self.read(field, text::parse_duration)?.map(|duration| duration.as_secs()))
    }

    fn read<T>(&self, field: Field, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, (Field, String)> {
        match self.value(field).trim() {
            "" => Ok(None),
            text => parse(text).map(Some).map_err(|message| (field, message)),
        }
    }
}

/// Names between commas.
pub fn split_list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn include(text: &str) -> Result<bool, String> {
    match text {
        "include" => Ok(true),
        "excluded" => Ok(false),
        _ => Err(format!("invalid value {text:?}: enter \"include\" or leave it empty")),
    }
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("invalid value {text:?}: enter \"on\" or leave it empty")),
    }
}

fn recorder(text: &str) -> Result<Option<Recorder>, String> {
    if text == "off" { Ok(None) } else { text::parse_recorder(text).map(Some) }
}

fn freeze_on(text: &str) -> Result<Option<FreezeOn>, String> {
    if text == "by key" { Ok(None) } else { text.parse().map(Some).map_err(|error: UnknownTrigger| error.to_string()) }
}

/// What libpcap has against a filter, and where, without the filter that stands above it anyway.
fn objection(filter: &str, error: &FilterError) -> String {
    let FilterError::Expression { message, position, .. } = error else { return error.to_string() };
    match filter.get(*position..).map(str::trim).filter(|rest| !rest.is_empty()) {
        Some(rest) => format!("at {rest:?}: {message}"),
        None => message.clone(),
    }
}

fn whole_number<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("invalid {what} {text:?}: enter a whole number"))
}

impl App {
    /// A key in the form.
    pub(in crate::screens) fn form_key(&mut self, action: Action) -> Vec<Effect> {
        let ring_bytes = self.session.ring_bytes();
        let Some(Layer::Form(form)) = self.layers.last_mut() else { return Vec::new() };
        match action {
            Action::Edit(edit) => form.edit(edit),
            Action::Up => form.vertically(-1),
            Action::Down => form.vertically(1),
            Action::PreviousView => form.step(-1),
            Action::NextView => form.step(1),
            Action::Open => {
                if let Some(spec) = form.submit(ring_bytes) {
                    form.used();
                    let pods = form.targets().unwrap_or_default();
                    let mut form = (**form).clone();
                    self.close();
                    if !pods.is_empty() {
                        form.forget_pods();
                        self.form = form;
                        return self.aim_and_capture(pods, spec);
                    }
                    let targets = self.form_targets(&form);
                    if targets.is_empty() {
                        let cause = "the selected nodes have left the cluster";
                        self.session.notify(Notice::warning("no capture was started", cause, ""));
                    }
                    self.form = form;
                    return self.ask_start_captures(&targets, spec, Running::IsReplaced);
                }
            }
            Action::Back => {
                let kept = (**form).clone().kept();
                self.close();
                // What is wrong with it would stop the next capture.
                if kept.error.is_none() {
                    self.form = kept;
                    self.form.forget_pods();
                }
            }
            _ => {}
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1024 * 1024 * 1024;

    fn typed(field: Field, text: &str) -> CaptureForm {
        let mut form = CaptureForm { focus: field as usize, ..CaptureForm::default() };
        for character in text.chars() {
            form.edit(Edit::Insert(character));
        }
        form
    }

    #[test]
    fn an_empty_form_is_the_default_capture() {
        assert_eq!(CaptureForm::default().submit(GIB), Some(CaptureSpec::default()));
        assert_eq!(typed(Field::Recorder, "off").submit(GIB).expect("valid").recorder, None);
    }

    #[test]
    fn fields_become_a_spec() {
        assert_eq!(typed(Field::Interfaces, "eth0, eth1,").submit(GIB).expect("valid").interfaces, ["eth0", "eth1"]);
        assert_eq!(typed(Field::Content, "dns").submit(GIB).expect("valid").content, nodewatch_protocol::Content::Dns);
        let recorder = typed(Field::Recorder, "30s,1MiB").submit(GIB).expect("valid").recorder.expect("armed");
        assert_eq!((recorder.seconds.get(), recorder.bytes), (30, 1024 * 1024));
        let mut armed = typed(Field::Recorder, "2m");
        armed.set(Field::FreezeOn, "N-11");
        assert_eq!(armed.submit(GIB).expect("valid").freeze_on.map(|on| on.to_string()), Some("N-11".into()));
        let bundle = |text| typed(Field::Bundle, text).submit(GIB).map(|spec| spec.bundle);
        assert_eq!([bundle("on"), bundle("off"), bundle("maybe")], [Some(true), Some(false), None]);
        assert_eq!(typed(Field::FreezeOn, "by key").submit(GIB).expect("valid").freeze_on, None);
        assert_eq!(typed(Field::LimitTime, "5m").submit(GIB).expect("valid").limit_seconds, Some(300.into()));
        assert_eq!(typed(Field::RotateSize, "4GiB").submit(8 * GIB).expect("valid").ring_bytes, 8 * GIB);
    }

    #[test]
    fn a_filter_is_checked_while_it_is_typed_and_names_of_hosts_wait() {
        let wrong = typed(Field::Filter, "tcp prt 443").error.expect("an objection");
        assert!(wrong.0 == Field::Filter && wrong.1.starts_with("at \"prt 443\""), "{}", wrong.1);
        assert_eq!(typed(Field::Filter, "tcp port 443").error, None);
        assert_eq!(typed(Field::Filter, "host db.example.com").error, None);
    }

    #[test]
    fn what_can_be_chosen_is_stepped_through_and_earlier_filters_come_back() {
        let mut form = CaptureForm { focus: Field::Content as usize, ..CaptureForm::default() };
        let mut seen = Vec::new();
        for _ in 0..3 {
            form.edit(Edit::Right);
            seen.push(form.value(Field::Content).to_owned());
        }
        assert_eq!(seen, ["dns", "full", ""]);
        form.edit(Edit::Left);
        assert_eq!(form.value(Field::Content), "full");
        for filter in ["tcp", "udp"] {
            form.set(Field::Filter, filter);
            form.used();
        }
        form.set(Field::Filter, "");
        for wanted in ["udp", "tcp", "tcp"] {
            form.vertically(-1);
            assert_eq!(form.value(Field::Filter), wanted);
        }
        form.vertically(1);
        assert_eq!(form.value(Field::Filter), "udp");
    }

    #[test]
    fn nonsense_stays_in_the_form_with_the_focus_on_it() {
        for (field, text) in [
            (Field::Filter, "tcp prt 443"),
            (Field::Snaplen, "many"),
            (Field::Snaplen, "0"),
            (Field::RotateSize, "1KiB"),
            (Field::RotateSize, "4GiB"),
            (Field::LimitTime, "soon"),
            (Field::LimitPackets, "0"),
            (Field::FreezeOn, "N-17"),
            (Field::FreezeOn, "verdict"),
            (Field::Pods, "shop/Web"),
            (Field::Content, "payload"),
            (Field::Recorder, "2m,"),
            (Field::IncludeOwn, "yes"),
        ] {
            let mut form = typed(field, text);
            form.focus = 0;
            assert_eq!(form.submit(GIB), None, "{text}");
            assert_eq!((form.focus, form.error.map(|(at, _)| at)), (field as usize, Some(field)), "{text}");
        }
    }
}
