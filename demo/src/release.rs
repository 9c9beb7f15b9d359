//! A version of the assistant as devices take it: both stored forms of its weights, on disk for
//! their digests and in memory for inference. In: a folder. Out: what one kind of device installs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::model::{Model, Quantization};

/// The version whose weights are part of this binary.
pub const SHIPPED: &str = "1.4.0";

/// One version, in every form that the fleet runs.
pub struct Release {
    pub version: String,
    forms: Vec<Form>,
}

/// One stored form of the weights.
pub(crate) struct Form {
    pub(crate) quantization: Quantization,
    /// The file whose digest devices report.
    pub(crate) weights: PathBuf,
    pub(crate) model: Model,
}

impl Release {
    /// Reads what training wrote into `folder`.
    pub fn read(version: &str, folder: &Path) -> Result<Self> {
        let forms = Quantization::ALL.map(|quantization| {
            let weights = folder.join(quantization.file_name());
            let bytes = fs::read(&weights);
            let bytes = bytes.with_context(|| format!("cannot read {}", weights.display()))?;
            let model = Model::from_bytes(quantization, &bytes)?;
            Ok(Form {
                quantization,
                weights,
                model,
            })
        });
        Ok(Self {
            version: version.to_owned(),
            forms: forms.into_iter().collect::<Result<_>>()?,
        })
    }

    /// Writes the shipped weights into `folder`, and reads them.
    pub fn shipped(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        for quantization in Quantization::ALL {
            let path = folder.join(quantization.file_name());
            fs::write(&path, quantization.shipped())
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Self::read(SHIPPED, folder)
    }

    pub(crate) fn form(&self, quantization: Quantization) -> &Form {
        let form = self
            .forms
            .iter()
            .find(|form| form.quantization == quantization);
        form.expect("a release has every form")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_every_form_and_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let release = Release::shipped(&folder.path().join("1")).unwrap();
        assert_eq!(release.version, SHIPPED);
        for quantization in Quantization::ALL {
            let form = release.form(quantization);
            assert_eq!(fs::read(&form.weights).unwrap(), quantization.shipped());
        }
        let missing = Release::read("2", folder.path()).err().unwrap();
        assert!(missing.to_string().contains("cannot read"), "{missing}");
    }
}
