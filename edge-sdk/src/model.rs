//! What an application declares about the model it runs. In: name, version, weights, settings.
//! Out: the attributes every point carries, and the variant: a short hash that changes when
//! anything changes that could change the model's behaviour. Never a setting of one request.

mod header;
mod weights;

use std::path::{Path, PathBuf};

use fathomline_wire::{limits::ATTRIBUTE_VALUE_BYTES_MAX, names};
use sha2::{Digest, Sha256};

use crate::{clock, error::Error};

/// Hexadecimal digits of a variant: 48 bits tell the few variants of a fleet apart.
const VARIANT_DIGITS: usize = 12;

/// A model as declared at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    name: String,
    version: String,
    provider: String,
    quantization: Option<String>,
    weights_digest: String,
    tokenizer_digest: String,
    sampler: String,
    backend: String,
}

impl Model {
    /// A model by the name and version people know it under.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            provider: names::PROVIDER_CANDLE.to_owned(),
            quantization: None,
            weights_digest: String::new(),
            tokenizer_digest: String::new(),
            sampler: String::new(),
            backend: String::new(),
        }
    }

    /// Reads the weights once for their digest, so that a wrong file under a right name shows, and
    /// how they are stored, unless that is declared: from the header of a GGUF or safetensors file,
    /// as most of its numbers are. Formats that pack weights into integers must be declared. The
    /// digest is remembered beside the spools by the file's size and times, so a large file is read
    /// once and not at every start.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn weights(self, path: impl AsRef<Path>) -> Result<Self, Error> {
        self.weights_in([path.as_ref()])
    }

    /// The same for weights in several files, in the order they are loaded in.
    ///
    /// # Errors
    /// When a file cannot be read, or none is given.
    pub fn weights_in<P: AsRef<Path>>(
        mut self,
        paths: impl IntoIterator<Item = P>,
    ) -> Result<Self, Error> {
        let paths: Vec<PathBuf> = paths.into_iter().map(|p| p.as_ref().to_owned()).collect();
        if paths.is_empty() {
            return Err(Error::Declaration {
                what: "weights",
                value: String::new(),
                rule: "give at least one file",
            });
        }
        let now = clock::system_unix_nano();
        self.weights_digest = weights::remembered_digest(&paths, &state_folder(), now)?;
        self.quantization = self.quantization.or_else(|| header::quantization(&paths));
        Ok(self)
    }

    /// Reads the tokenizer's definition for its digest.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn tokenizer(mut self, path: impl AsRef<Path>) -> Result<Self, Error> {
        self.tokenizer_digest = weights::digest(&[path.as_ref().to_owned()])?;
        Ok(self)
    }

    /// The weights' digest, for applications that know it already.
    #[must_use]
    pub fn weights_digest(mut self, digest: impl Into<String>) -> Self {
        self.weights_digest = digest.into();
        self
    }

    /// How the weights are stored: `f32`, `q8_0` and so on.
    #[must_use]
    pub fn quantization(mut self, name: impl Into<String>) -> Self {
        self.quantization = Some(name.into());
        self
    }

    /// Digest of the tokenizer's definition.
    #[must_use]
    pub fn tokenizer_digest(mut self, digest: impl Into<String>) -> Self {
        self.tokenizer_digest = digest.into();
        self
    }

    /// The sampler's settings in any fixed spelling; only their hash is used.
    #[must_use]
    pub fn sampler(mut self, settings: impl Into<String>) -> Self {
        self.sampler = settings.into();
        self
    }

    /// What computes: `cpu`, `cuda`, `metal`. Part of the variant, because rounding differs.
    #[must_use]
    pub fn backend(mut self, name: impl Into<String>) -> Self {
        self.backend = name.into();
        self
    }

    /// Who runs the model, if it is not candle.
    #[must_use]
    pub fn provider(mut self, name: impl Into<String>) -> Self {
        self.provider = name.into();
        self
    }

    /// Whether what a graphics board uses may be this model's doing.
    pub(crate) fn may_run_on_gpu(&self) -> bool {
        !self.backend.to_ascii_lowercase().starts_with("cpu")
    }

    /// Short hash over weights, quantization, tokenizer, sampler and backend.
    pub fn variant(&self) -> String {
        let mut hash = Sha256::new();
        let parts = [
            self.weights_digest.as_str(),
            self.quantization.as_deref().unwrap_or_default(),
            &self.tokenizer_digest,
            &self.sampler,
            &self.backend,
        ];
        for part in parts {
            // The length in front keeps ("ab", "c") and ("a", "bc") apart.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let mut variant = hex(&hash.finalize());
        variant.truncate(VARIANT_DIGITS);
        variant
    }

    /// Attributes of every point of this model, operation apart, in the order they are sent.
    pub(crate) fn attributes(&self) -> Vec<(&'static str, String)> {
        let mut attributes = vec![
            (names::PROVIDER_NAME, self.provider.clone()),
            (names::REQUEST_MODEL, self.name.clone()),
            (names::MODEL_VERSION, self.version.clone()),
            (names::MODEL_VARIANT, self.variant()),
        ];
        let quantization = self.quantization.clone();
        attributes.extend(quantization.map(|name| (names::MODEL_QUANTIZATION, name)));
        attributes
    }

    /// The declared name, the default for the service's.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The declared version.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        check_value("model name", &self.name)?;
        check_value("model version", &self.version)?;
        check_value("provider", &self.provider)?;
        self.quantization
            .iter()
            .try_for_each(|name| check_value("quantization", name))
    }
}

/// What the contract carries as an attribute's value.
pub(crate) fn check_value(what: &'static str, value: &str) -> Result<(), Error> {
    let carried = !value.is_empty()
        && value.len() <= ATTRIBUTE_VALUE_BYTES_MAX
        && !value.chars().any(char::is_control);
    if carried {
        return Ok(());
    }
    Err(Error::Declaration {
        what,
        value: value.to_owned(),
        rule: "it must have 1 to 128 bytes and no control characters",
    })
}

/// Where programs of this user keep what must outlive them.
pub(crate) fn state_folder() -> PathBuf {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")));
    state.unwrap_or_default().join("fathomline")
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        Model::new("assistant", "1.4.0")
            .weights_digest("w")
            .quantization("f32")
            .backend("cpu")
    }

    #[test]
    fn every_declared_part_makes_another_variant() {
        let variants = [
            model(),
            model().weights_digest("v"),
            model().quantization("q8_0"),
            model().tokenizer_digest("t"),
            model().sampler("top_k=40"),
            model().backend("cuda"),
        ]
        .map(|model| model.variant());
        let distinct: std::collections::BTreeSet<_> = variants.iter().collect();
        assert_eq!(distinct.len(), variants.len());
        assert!(
            variants
                .iter()
                .all(|variant| variant.len() == VARIANT_DIGITS)
        );
    }

    #[test]
    fn name_and_version_are_attributes_and_no_part_of_the_variant() {
        let renamed = Model {
            name: "other".into(),
            version: "2".into(),
            ..model()
        };
        assert_eq!(renamed.variant(), model().variant());
    }

    #[test]
    fn one_flipped_bit_of_the_weights_makes_another_variant() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let mut bytes = vec![7; 70_000];
        std::fs::write(&path, &bytes).unwrap();
        let before = model().weights(&path).unwrap();
        bytes[69_999] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_ne!(before.variant(), model().weights(&path).unwrap().variant());
    }

    #[test]
    fn one_flipped_bit_of_the_tokenizer_makes_another_variant() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, b"{}").unwrap();
        let before = model().tokenizer(&path).unwrap();
        std::fs::write(&path, b"[]").unwrap();
        let after = model().tokenizer(&path).unwrap();
        assert_ne!(before.variant(), after.variant());
    }

    #[test]
    fn a_declared_quantization_stands() {
        let folder = tempfile::tempdir().unwrap();
        let json = br#"{"w":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#;
        let path = folder.path().join("model.safetensors");
        let bytes = [&(json.len() as u64).to_le_bytes()[..], json, &[0; 4]].concat();
        std::fs::write(&path, bytes).unwrap();
        let read = Model::new("m", "1").weights(&path).unwrap();
        assert_eq!(read.quantization.as_deref(), Some("f16"));
        let declared = Model::new("m", "1")
            .quantization("nf4")
            .weights(&path)
            .unwrap();
        assert_eq!(declared.quantization.as_deref(), Some("nf4"));
    }

    #[test]
    fn one_flipped_bit_of_any_shard_makes_another_variant() {
        let folder = tempfile::tempdir().unwrap();
        let shards = ["1", "2", "3"].map(|name| folder.path().join(name));
        for shard in &shards {
            std::fs::write(shard, [7; 100]).unwrap();
        }
        let mut variants = vec![model().weights_in(&shards).unwrap().variant()];
        for shard in &shards {
            let mut bytes = [7; 100];
            bytes[50] ^= 1;
            std::fs::write(shard, bytes).unwrap();
            variants.push(model().weights_in(&shards).unwrap().variant());
        }
        let distinct: std::collections::BTreeSet<_> = variants.iter().collect();
        assert_eq!(distinct.len(), 4);
    }

    #[test]
    fn no_weights_are_no_weights() {
        let error = model().weights_in::<&str>([]).unwrap_err().to_string();
        assert!(error.starts_with("cannot declare weights"), "{error}");
    }

    #[test]
    fn missing_weights_are_named() {
        let error = model().weights("/no/such/file").unwrap_err().to_string();
        assert!(
            error.starts_with("cannot read weights /no/such/file: "),
            "{error}"
        );
    }

    #[test]
    fn what_the_contract_does_not_carry_is_refused_by_name() {
        let long = "x".repeat(129);
        for (model, what) in [
            (Model::new("", "1"), "model name"),
            (Model::new("a", "1\n"), "model version"),
            (Model::new("a", long.as_str()), "model version"),
            (model().provider(""), "provider"),
        ] {
            let error = model.check().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("cannot declare {what} ")),
                "{error}"
            );
        }
        model().check().unwrap();
    }
}
