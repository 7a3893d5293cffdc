//! The capture form: text fields that become a capture spec, remembered between uses.
//!
//! Owns the fields and what makes them valid. Pure.

use nodewatch_protocol::CaptureSpec;
use tui_input::Input;

use crate::{
    base::text,
    screens::{
        App, Layer,
        action::{Action, Edit},
        text_field,
    },
    session::Effect,
};

/// A field of the form, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Filter,
    Interfaces,
    Snaplen,
    RotateSize,
    RotateTime,
    LimitTime,
    LimitSize,
    LimitPackets,
    Content,
    Recorder,
    IncludeOwn,
}

impl Field {
    /// Every field, top to bottom.
    pub const ALL: [Self; 11] = [
        Self::Filter,
        Self::Interfaces,
        Self::Snaplen,
        Self::RotateSize,
        Self::RotateTime,
        Self::LimitTime,
        Self::LimitSize,
        Self::LimitPackets,
        Self::Content,
        Self::Recorder,
        Self::IncludeOwn,
    ];

    /// Its label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Filter => "Capture filter",
            Self::Interfaces => "Interfaces",
            Self::Snaplen => "Snaplen",
            Self::RotateSize => "Rotate at size",
            Self::RotateTime => "Rotate after",
            Self::LimitTime => "Stop after",
            Self::LimitSize => "Stop at size",
            Self::LimitPackets => "Packet limit",
            Self::Content => "Content",
            Self::Recorder => "Flight recorder",
            Self::IncludeOwn => "Own traffic",
        }
    }

    /// What an empty field means.
    pub fn placeholder(self) -> &'static str {
        match self {
            Self::Filter => "every packet",
            Self::Interfaces => "those with a node address; or e.g. eth0,eth1",
            Self::Snaplen => "whole packets",
            Self::Content => "headers; or dns, full",
            Self::Recorder => "off; or time to keep, e.g. 2m or 2m,512MiB",
            Self::IncludeOwn => "excluded; or include",
            Self::RotateSize => "64MiB",
            Self::RotateTime => "5m",
            Self::LimitTime | Self::LimitSize | Self::LimitPackets => "no limit",
        }
    }
}

/// The form as it stands.
#[derive(Debug, Clone)]
pub struct CaptureForm {
    fields: [Input; Field::ALL.len()],
    /// The field that keys go to.
    pub focus: usize,
    /// What is wrong with which field.
    pub error: Option<(Field, String)>,
}

impl Default for CaptureForm {
    fn default() -> Self {
        Self { fields: std::array::from_fn(|_| Input::default()), focus: 0, error: None }
    }
}

impl CaptureForm {
    /// A field's text.
    pub fn value(&self, field: Field) -> &str {
        self.fields[field as usize].value()
    }

    /// Where the focused field's cursor is, in columns.
    pub fn cursor(&self) -> usize {
        self.fields[self.focus].visual_cursor()
    }

    /// Changes the focused field.
    pub fn edit(&mut self, edit: Edit) {
        self.error = None;
        text_field::apply(&mut self.fields[self.focus], edit);
    }

    /// Puts a text in a field's place.
    pub fn set(&mut self, field: Field, text: &str) {
        self.error = None;
        self.focus = field as usize;
        self.fields[field as usize] = Input::new(text.to_owned());
    }

    /// Puts a text into the focused field.
    pub fn insert(&mut self, text: &str) {
        self.error = None;
        text_field::insert(&mut self.fields[self.focus], text);
    }

    /// Moves the focus, around the ends.
    pub fn step(&mut self, by: isize) {
        self.focus = (self.focus as isize + by).rem_euclid(Field::ALL.len() as isize) as usize;
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

    fn spec(&self, ring_bytes: u64) -> Result<CaptureSpec, (Field, String)> {
        let default = CaptureSpec::default();
        let filter = self.value(Field::Filter).trim();
        let spec = CaptureSpec {
            interfaces: split_list(self.value(Field::Interfaces)),
            filter: (!filter.is_empty()).then(|| filter.to_owned()),
            snaplen: self.read(Field::Snaplen, |text| whole_number(text, "snaplen"))?.unwrap_or(default.snaplen),
            rotate_bytes: self.read(Field::RotateSize, text::parse_size)?.unwrap_or(default.rotate_bytes),
            rotate_seconds: self.seconds(Field::RotateTime)?.map_or(default.rotate_seconds, Into::into),
            ring_bytes,
            limit_seconds: self.seconds(Field::LimitTime)?.map(Into::into),
            limit_bytes: self.read(Field::LimitSize, text::parse_size)?,
            limit_packets: self.read(Field::LimitPackets, |text| whole_number(text, "packet limit"))?,
            content: self.read(Field::Content, text::parse_content)?.unwrap_or_default(),
            include_own: self.read(Field::IncludeOwn, include)?.unwrap_or(false),
            recorder: self.read(Field::Recorder, text::parse_recorder)?,
        };
        spec.check().map_err(|error| {
            use nodewatch_protocol::SpecError as E;
            let field = match error {
                E::Snaplen(_) => Field::Snaplen,
                E::RotateBytes(_) | E::Ring { .. } => Field::RotateSize,
                E::RotateSeconds => Field::RotateTime,
                E::ZeroLimit => Field::LimitPackets,
                E::RecorderSeconds | E::RecorderBytes { .. } => Field::Recorder,
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
            Action::Up | Action::PreviousView => form.step(-1),
            Action::Down | Action::NextView => form.step(1),
            Action::Open => {
                if let Some(spec) = form.submit(ring_bytes) {
                    self.form = (**form).clone();
                    self.close();
                    let targets = self.targets();
                    return self.ask_start_captures(&targets, spec);
                }
            }
            Action::Back => {
                self.form = (**form).clone();
                self.form.error = None;
                self.close();
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
    }

    #[test]
    fn fields_become_a_spec() {
        assert_eq!(typed(Field::Interfaces, "eth0, eth1,").submit(GIB).expect("valid").interfaces, ["eth0", "eth1"]);
        assert_eq!(typed(Field::Content, "dns").submit(GIB).expect("valid").content, nodewatch_protocol::Content::Dns);
        let recorder = typed(Field::Recorder, "30s,1MiB").submit(GIB).expect("valid").recorder.expect("armed");
        assert_eq!((recorder.seconds.get(), recorder.bytes), (30, 1024 * 1024));
        assert_eq!(typed(Field::LimitTime, "5m").submit(GIB).expect("valid").limit_seconds, Some(300.into()));
        assert_eq!(typed(Field::RotateSize, "4GiB").submit(8 * GIB).expect("valid").ring_bytes, 8 * GIB);
    }

    #[test]
    fn nonsense_stays_in_the_form_with_the_focus_on_it() {
        for (field, text) in [
            (Field::Snaplen, "many"),
            (Field::Snaplen, "0"),
            (Field::RotateSize, "1KiB"),
            (Field::RotateSize, "4GiB"),
            (Field::LimitTime, "soon"),
            (Field::LimitPackets, "0"),
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
