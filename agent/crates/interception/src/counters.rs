//! How often each outcome was met.

use agent_common::Outcome;
use aya::maps::{Map, MapData, PerCpuArray};

use crate::{error::MapFault, object::COUNTERS};

/// The map of counters, one per outcome and CPU.
pub(crate) struct Counters(PerCpuArray<MapData, u64>);

impl Counters {
    pub(crate) fn new(map: Map) -> Result<Self, MapFault> {
        Ok(Self(map.try_into().map_err(MapFault::of(COUNTERS))?))
    }

    /// Every outcome with its count over all CPUs.
    pub(crate) fn read(&self) -> Result<Vec<(Outcome, u64)>, MapFault> {
        let counts = Outcome::ALL.into_iter().map(|outcome| {
            let per_cpu = self.0.get(&outcome.index(), 0).map_err(MapFault::of(COUNTERS))?;
            Ok((outcome, per_cpu.iter().sum()))
        });
        counts.collect()
    }
}
