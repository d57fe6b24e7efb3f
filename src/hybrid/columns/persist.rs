use serde::{Deserialize, Serialize};

use super::map::ColumnMap;
use super::{Columns, ColumnsConfig};
use crate::error::{Result, check};
use crate::model::file::{Persist, Stored, encode};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    fitted: bool,
    maps: Vec<ColumnMap>,
}

/// No tensors: the maps are few numbers of different kinds.
impl Persist for Columns {
    fn kind() -> &'static str {
        "columns"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let stated = Stated { fitted: self.is_fitted, maps: self.maps.clone() };
        encode(Self::kind(), &self.config, &stated, Vec::new())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, Stated { fitted, maps }): (ColumnsConfig, Stated) = stored.read(Self::kind())?;
        stored.count(0)?;
        check(maps.len() == config.dim, "maps", maps.len(), "one for each column")?;
        Ok(Columns { maps, is_fitted: fitted, ..Columns::new(config)? })
    }
}
