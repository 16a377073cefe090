//! `trust` on a real Debian host: the real tool, the real places, files that are mount points. In namespaces.

use std::{fs, os::unix::fs::chown, path::Path, process::Command};

use nix::mount::umount;

use crate::support::{HOST, Room, STORE, attempt, bind, on_private_host, run, tree};
use tls::trust::{self, StoreState, StoreStatus, SystemStore, Trouble, TrustPlan};

fn plan(room: &Room) -> TrustPlan {
    TrustPlan {
        state: room.at("state"),
        system: SystemStore::detect(Path::new("/")),
        runner_env_files: vec![],
        certifi_roots: vec![],
    }
}

fn words(all: &[StoreStatus]) -> Vec<&'static str> {
    all.iter().map(|one| one.state.as_str()).collect()
}

#[test]
fn the_systems_own_tool_takes_our_root_in_and_out_again() {
    let paths = STORE.map(Path::new);
    let machine = tree(&paths);
    on_private_host(|room| {
        let before = tree(&paths);
        let plan = plan(room);
        assert_eq!(words(&trust::install(&plan, room.authority.root_pem()).unwrap()), ["installed"; 2]);
        assert_eq!(words(&trust::status(&plan, room.authority.root_pem()).unwrap()), ["installed"; 2]);
        let installed = tree(&paths);
        assert_eq!(words(&trust::install(&plan, room.authority.root_pem()).unwrap()), ["installed"; 2]);
        assert_eq!(tree(&paths), installed);

        // Through the hashed links, as OpenSSL looks a root up, and through the bundle.
        let root = room.at("ca/root.pem");
        run(Command::new("openssl").args(["verify", "-no-CAfile", "-CApath", STORE[0]]).arg(&root));
        run(Command::new("openssl")
            .args(["verify", "-no-CApath", "-CAfile"])
            .arg(room.at("state/trust/bundle.pem"))
            .arg(&root));

        assert_eq!(words(&trust::remove(&plan).unwrap()), ["restored"; 2]);
        assert_eq!(tree(&paths), before);
        let (trusted, _) = attempt(Command::new("openssl").args(["verify", "-CApath", STORE[0]]).arg(&root));
        assert!(!trusted, "the control");
        assert!(!room.at("state/trust").exists());
    });
    assert_eq!(tree(&paths), machine, "this machine's own store was not touched");
    assert!(!machine.contains("snowfence"), "{HOST}");
}

#[test]
fn files_that_are_mount_points_are_written_in_place() {
    on_private_host(|room| {
        let certifi = room.at("venv/lib/python3/site-packages/certifi/cacert.pem");
        let env = room.at("runner.env");
        fs::create_dir_all(certifi.parent().unwrap()).unwrap();
        fs::write(&certifi, "# roots").unwrap();
        fs::write(&env, "A=1").unwrap();
        for file in [&certifi, &env] {
            bind(file, file);
        }
        let folders = [room.dir.path()];
        let before = tree(&folders);
        let mut plan = plan(room);
        plan.runner_env_files = vec![env.clone()];
        plan.certifi_roots = vec![room.at("venv")];
        let installed = trust::install(&plan, room.authority.root_pem());
        let installed = installed.unwrap();
        assert_eq!(words(&installed), ["installed"; 4], "{installed:?}");
        assert!(fs::read_to_string(&certifi).unwrap().contains(room.authority.root_pem()));
        assert_eq!(words(&trust::status(&plan, room.authority.root_pem()).unwrap()), ["installed"; 4]);
        assert_eq!(words(&trust::remove(&plan).unwrap()), ["restored"; 4]);
        assert_eq!(tree(&folders), before, "and nothing is left beside");
        for file in [&certifi, &env] {
            umount(file).unwrap();
        }
    });
}

#[test]
fn a_runner_is_not_pointed_at_a_bundle_that_its_user_cannot_read() {
    on_private_host(|room| {
        let env = room.at("runner.env");
        fs::write(&env, "A=1\n").unwrap();
        chown(&env, Some(12_345), Some(12_345)).unwrap();
        let mut plan = plan(room);
        plan.runner_env_files = vec![env.clone()];
        run(Command::new("chmod").arg("700").arg(&plan.state));
        let installed = trust::install(&plan, room.authority.root_pem()).unwrap();
        let StoreStatus { state: StoreState::Attention(trouble), .. } = &installed[2] else {
            panic!("{installed:?}")
        };
        assert!(
            matches!(trouble, Trouble::OutOfReach { uid: 12_345, dir, .. } if *dir == plan.state),
            "{trouble}"
        );
        assert_eq!(fs::read_to_string(&env).unwrap(), "A=1\n");

        run(Command::new("chmod").arg("711").arg(&plan.state));
        assert_eq!(words(&trust::install(&plan, room.authority.root_pem()).unwrap()), ["installed"; 3]);
        let owned = run(Command::new("stat").args(["-c", "%u:%g"]).arg(&env));
        assert_eq!(owned.trim(), "12345:12345", "it stays the runner's");
    });
}
