//! Styles of text, or none without colour.

use anstyle::Style;

/// The escape sequences before and after styled text.
#[derive(Clone, Debug)]
pub(super) struct Escapes {
    pub(super) on: String,
    pub(super) off: String,
}

impl Escapes {
    pub(super) fn new(style: Style, colour: bool) -> Self {
        let style = shown(style, colour);
        Self {
            on: style.render().to_string(),
            off: style.render_reset().to_string(),
        }
    }
}

/// The style, or none without colour.
pub(super) fn shown(style: Style, colour: bool) -> Style {
    if colour { style } else { Style::new() }
}
