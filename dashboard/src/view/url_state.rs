//! The state of a page, all of it in the URL: a link that is shared shows the same. In: a query
//! string. Out: fields, and links to other pages that keep them. Names follow Grafana's (`from`,
//! `to`), so that links between the two need no translation.

use serde::Deserialize;
use url::form_urlencoded;

/// Query parameters that pages understand; others are let pass, links collect them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct UrlState {
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    /// Only this model.
    pub(crate) model: Option<String>,
    /// Only this device class.
    pub(crate) class: Option<String>,
    /// Only series in this state.
    pub(crate) state: Option<String>,
    /// Take the last lanes of a series apart.
    pub(crate) apart: Option<String>,
    /// Reload by itself after so many seconds.
    pub(crate) refresh: Option<u32>,
}

/// A form sends its empty fields too; they ask for nothing.
pub(crate) fn without_blanks(url: UrlState) -> UrlState {
    let given = |value: Option<String>| value.filter(|value| !value.trim().is_empty());
    UrlState {
        from: given(url.from),
        to: given(url.to),
        model: given(url.model),
        class: given(url.class),
        state: given(url.state),
        apart: given(url.apart),
        refresh: url.refresh.filter(|seconds| *seconds > 0),
    }
}

impl UrlState {
    /// A link to `path` that keeps everything.
    pub(crate) fn link(&self, path: &str) -> String {
        let refresh = self.refresh.map(|seconds| seconds.to_string());
        let pairs = [
            ("from", &self.from),
            ("to", &self.to),
            ("model", &self.model),
            ("class", &self.class),
            ("state", &self.state),
            ("apart", &self.apart),
            ("refresh", &refresh),
        ];
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in pairs {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        match query.finish() {
            query if query.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        }
    }

    /// The same look, at another span.
    pub(crate) fn over(&self, from: &str, to: &str) -> Self {
        Self {
            from: Some(from.to_owned()),
            to: Some(to.to_owned()),
            ..self.clone()
        }
    }

    /// The same span, of one class and model.
    pub(crate) fn of_cohort(&self, class: &str, model: &str) -> Self {
        Self {
            class: Some(class.to_owned()),
            model: Some(model.to_owned()),
            ..self.clone()
        }
    }

    /// The same look, at one model.
    pub(crate) fn of_model(&self, model: &str) -> Self {
        Self {
            model: Some(model.to_owned()),
            ..self.clone()
        }
    }

    /// The same span without filters.
    pub(crate) fn unfiltered(&self) -> Self {
        Self {
            model: None,
            class: None,
            state: None,
            apart: None,
            ..self.clone()
        }
    }

    /// The same look, with the last lanes of the series taken apart.
    pub(crate) fn apart(&self) -> Self {
        Self {
            apart: Some("now".to_owned()),
            ..self.clone()
        }
    }

    pub(crate) fn is_filtered(&self) -> bool {
        self.model.is_some() || self.class.is_some() || self.state.is_some()
    }

    /// Reloading by itself, or no longer.
    pub(crate) fn refreshing(&self, seconds: Option<u32>) -> Self {
        Self {
            refresh: seconds,
            ..self.clone()
        }
    }

    /// Whether the filters let a cohort pass.
    pub(crate) fn admits(&self, class: &str, model: &str) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|w| w == is);
        same(&self.class, class) && same(&self.model, model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_keep_everything_and_escape_it() {
        let url = UrlState {
            class: Some("a&b=<c>".to_owned()),
            ..UrlState::default().over("now-1h", "now")
        };
        let link = url.link("/drift");
        assert_eq!(link, "/drift?from=now-1h&to=now&class=a%26b%3D%3Cc%3E");
        assert_eq!(UrlState::default().link("/"), "/");
        assert_eq!(url.unfiltered().link("/"), "/?from=now-1h&to=now");
        assert!(url.is_filtered() && !url.unfiltered().is_filtered());
    }

    #[test]
    fn empty_fields_of_a_form_ask_for_nothing() {
        let blank = UrlState {
            class: Some(" ".to_owned()),
            refresh: Some(0),
            ..UrlState::default()
        };
        assert_eq!(without_blanks(blank), UrlState::default());
    }
}
