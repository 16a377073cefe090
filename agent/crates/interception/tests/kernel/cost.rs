//! What the programs cost those who are not concerned.

use std::time::Duration;

use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};

use crate::{
    GUARDED,
    world::{Agent, World},
};

/// Far above what a run takes on a busy machine; a lookup that became a scan would be found.
const UNCONCERNED_RUN_TIME_MAX: Duration = Duration::from_micros(2);

#[test]
fn a_connect_elsewhere_costs_next_to_nothing() {
    World::run(async |world| {
        let _measured = enable_stats(Stats::RunTime).unwrap();
        let _agent = Agent::guarding(&world.config(0), &[GUARDED]).await;
        let refused = world.client("connect_often 203.0.113.11 9999 2000").await;
        assert_eq!(refused, "error=ECONNREFUSED");
        let ours = world.attached_programs();
        for program in loaded_programs().map(Result::unwrap).filter(|program| ours.contains(&program.id())) {
            let (name, runs) = (program.name_as_str().unwrap().to_owned(), program.run_count());
            let Some(average) =
                u32::try_from(runs).ok().and_then(|runs| program.run_time().checked_div(runs))
            else {
                continue;
            };
            println!("{name}: {average:?} in each of {runs} runs");
            assert!(average < UNCONCERNED_RUN_TIME_MAX, "{name}: {average:?}");
            assert!(name != "connect4" || runs >= 2000, "{name}: {runs} runs");
        }
    });
}
