//! One value in several representations.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;

/// One value in several representations, by MIME type.
///
/// ```
/// use notebook::MimeBundle;
///
/// let bundle = MimeBundle::new().text("a < b").html("a &lt; b");
/// assert_eq!(bundle.plain_text(), Some("a < b"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct MimeBundle(BTreeMap<String, Value>);

impl MimeBundle {
    /// Creates an empty bundle.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds plain text, which a terminal shows.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.with("text/plain", text.into())
    }

    /// Adds HTML. Untrusted text must already be [escaped](crate::escape).
    #[must_use]
    pub fn html(self, html: impl Into<String>) -> Self {
        self.with("text/html", html.into())
    }

    /// Adds an SVG image.
    #[must_use]
    pub fn svg(self, svg: impl Into<String>) -> Self {
        self.with("image/svg+xml", svg.into())
    }

    /// Adds Markdown.
    #[must_use]
    pub fn markdown(self, markdown: impl Into<String>) -> Self {
        self.with("text/markdown", markdown.into())
    }

    /// Adds JSON, which front ends show as a tree.
    #[must_use]
    pub fn json(self, value: impl Into<Value>) -> Self {
        self.with("application/json", value.into())
    }

    /// Adds a PNG image from the bytes of its file.
    #[must_use]
    pub fn png(self, file: &[u8]) -> Self {
        self.with("image/png", STANDARD.encode(file))
    }

    /// Adds a representation of any MIME type. Binary content is base64 text, as in Jupyter
    /// messages.
    #[must_use]
    pub fn with(mut self, mime_type: impl Into<String>, content: impl Into<Value>) -> Self {
        self.0.insert(mime_type.into(), content.into());
        self
    }

    /// The plain text, if present.
    pub fn plain_text(&self) -> Option<&str> {
        self.get("text/plain")?.as_str()
    }

    /// The representation of this MIME type, if present.
    pub fn get(&self, mime_type: &str) -> Option<&Value> {
        self.0.get(mime_type)
    }

    /// The MIME types and their representations.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0
            .iter()
            .map(|(mime_type, content)| (mime_type.as_str(), content))
    }

    /// The text for a terminal: the plain text, or the MIME types that a terminal cannot show.
    pub(crate) fn for_terminal(&self) -> String {
        if let Some(text) = self.plain_text() {
            return text.to_owned();
        }
        let types: Vec<_> = self.0.keys().map(String::as_str).collect();
        format!("[{}]", types.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_an_object_by_mime_type() {
        let bundle = MimeBundle::new()
            .text("x")
            .html("<b>x</b>")
            .svg("<svg/>")
            .markdown("**x**")
            .json(serde_json::json!({"x": [1]}))
            .png(b"\x89PNG");
        assert_eq!(
            serde_json::to_value(&bundle).expect("strings and values are valid JSON"),
            serde_json::json!({
                "application/json": {"x": [1]},
                "image/png": "iVBORw==",
                "image/svg+xml": "<svg/>",
                "text/html": "<b>x</b>",
                "text/markdown": "**x**",
                "text/plain": "x",
            })
        );
    }

    #[test]
    fn a_terminal_shows_text_or_says_what_it_cannot_show() {
        assert_eq!(MimeBundle::new().text("x").html("y").for_terminal(), "x");
        assert_eq!(
            MimeBundle::new().html("y").svg("z").for_terminal(),
            "[image/svg+xml, text/html]"
        );
    }

    #[test]
    fn a_later_form_of_the_same_type_replaces_the_earlier_one() {
        let bundle = MimeBundle::new().text("old").text("new");
        assert_eq!(bundle.plain_text(), Some("new"));
        assert_eq!(bundle.iter().count(), 1);
    }
}
