//! Whole hosts in a folder: install, status and remove, and everything that can have happened in between.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    process::Command,
    sync::Arc,
};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;
use crate::{
    Authority,
    testing::{authority, authority_in},
};

/// A host in a folder: Debian's store built by the real tool, a runner, and Python installations.
struct Host {
    dir: TempDir,
    authority: Arc<Authority>,
    plan: TrustPlan,
}

const CERTIFI: [&str; 3] = [
    "opt/venv/lib/python3.11/site-packages/certifi/cacert.pem",
    "opt/venv/lib/python3.11/site-packages/pip/_vendor/certifi/cacert.pem",
    "usr/lib/python3/dist-packages/certifi/cacert.pem",
];

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for folder in [
            "etc/ssl/certs",
            "usr/local/share/ca-certificates",
            "usr/share/ca-certificates",
            "hooks",
            "runner",
            "state",
        ] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for public in ["a", "b"] {
            fs::write(at(&format!("usr/share/ca-certificates/{public}.crt")), self::authority().1.root_pem())
                .unwrap();
        }
        fs::write(at("etc/ca-certificates.conf"), "a.crt\nb.crt\n").unwrap();
        fs::write(at("hooks/log"), "#!/bin/sh\ncat >> \"$(dirname \"$0\")/../hook.log\"\n").unwrap();
        fs::set_permissions(at("hooks/log"), fs::Permissions::from_mode(0o755)).unwrap();
        let store = debian(dir.path());
        let refresh = &store.refresh;
        let built =
            Command::new(&refresh[0]).args(&refresh[1..]).output().expect("needs Debian's ca-certificates");
        assert!(built.status.success());
        for file in CERTIFI {
            fs::create_dir_all(at(file).parent().unwrap()).unwrap();
            fs::write(at(file), format!("# a b\u{fc}ndle\n{}", self::authority().1.root_pem())).unwrap();
        }
        fs::write(at("runner/.env"), "LANG=C.UTF-8\n").unwrap();
        let plan = TrustPlan {
            state: at("state"),
            system: SystemStore::debian(store),
            runner_env_files: vec![at("runner/.env")],
            certifi_roots: vec![at("opt"), at("usr/lib")],
        };
        let authority = authority_in(&at("ca"));
        Self { dir, authority, plan }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    fn install(&self) -> Vec<StoreStatus> {
        install(&self.plan, self.authority.root_pem()).unwrap()
    }

    fn status(&self) -> Vec<StoreStatus> {
        status(&self.plan, self.authority.root_pem()).unwrap()
    }

    fn remove(&self) -> Vec<StoreStatus> {
        remove(&self.plan).unwrap()
    }

    /// Every file, folder and link with its mode and content. The hook's log grows by design.
    fn tree(&self) -> BTreeMap<PathBuf, String> {
        let mut tree = BTreeMap::new();
        let mut open = vec![self.dir.path().to_owned()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let meta = fs::symlink_metadata(&path).unwrap();
                let content = if meta.is_dir() {
                    open.push(path.clone());
                    "folder".to_owned()
                } else if meta.is_symlink() {
                    fs::read_link(&path).unwrap().display().to_string()
                } else {
                    format!("{:x?}", Sha256::digest(fs::read(&path).unwrap()))
                };
                tree.insert(path, format!("{:o} {}:{} {content}", meta.mode(), meta.uid(), meta.gid()));
            }
        }
        tree.remove(&self.at("hook.log"));
        tree
    }
}

fn words(all: &[StoreStatus]) -> Vec<(&'static str, &'static str)> {
    all.iter().map(|one| (one.store.as_str(), one.state.as_str())).collect()
}

fn of<'a>(all: &'a [StoreStatus], path: &Path) -> &'a StoreState {
    &all.iter().find(|one| one.path == path).unwrap().state
}

const EVERYWHERE: [&str; 6] = ["system", "bundles", "runner-env", "certifi", "certifi", "certifi"];

fn all(word: &'static str) -> Vec<(&'static str, &'static str)> {
    EVERYWHERE.map(|store| (store, word)).to_vec()
}

#[test]
fn install_status_remove_leaves_the_tree_as_it_was() {
    let host = Host::new();
    let before = host.tree();
    assert_eq!(words(&host.status()), all("not installed"));
    assert_eq!(host.tree(), before, "status changes nothing");

    assert_eq!(words(&host.install()), all("installed"));
    assert_eq!(words(&host.status()), all("installed"));
    assert_eq!(fs::metadata(host.at("state/trust")).unwrap().mode() & 0o777, 0o755);
    assert!(host.status()[2].note().unwrap().contains("restart"));
    let installed = host.tree();
    let inode = |path: &str| fs::metadata(host.at(path)).unwrap().ino();
    let inodes =
        [CERTIFI[0], "runner/.env", "etc/ssl/certs/ca-certificates.crt", "state/trust/bundle.pem"].map(inode);
    assert_eq!(words(&host.install()), all("installed"));
    assert_eq!(host.tree(), installed, "a second install changes nothing");
    let again =
        [CERTIFI[0], "runner/.env", "etc/ssl/certs/ca-certificates.crt", "state/trust/bundle.pem"].map(inode);
    assert_eq!(again, inodes, "nor does it rewrite anything");

    let mut removed = words(&host.remove());
    removed.sort_unstable();
    let mut expected = all("restored");
    expected.sort_unstable();
    assert_eq!(removed, expected);
    assert_eq!(host.tree(), before);
    assert_eq!(words(&host.status()), all("not installed"));
    host.remove();
    assert_eq!(host.tree(), before, "a second remove changes nothing");
    let anchor = host.at("etc/ssl/certs/snowfence.pem");
    let log = host.text("hook.log");
    let (came, went) = (format!("+{}", anchor.display()), format!("-{}", anchor.display()));
    assert!(log.lines().any(|l| l == came) && log.lines().any(|l| l == went), "hooks hear of both: {log}");
}

#[test]
fn bundles_hold_the_systems_roots_and_ours_once() {
    let host = Host::new();
    host.install();
    let ours = host.authority.root_pem();
    let count = |path: &str| host.text(path).matches("BEGIN CERTIFICATE").count();
    assert_eq!((count("state/trust/bundle.pem"), count("state/trust/root.pem")), (3, 1));
    assert_eq!(host.text("state/trust/root.pem"), ours);
    assert_eq!(fs::metadata(host.at("state/trust/bundle.pem")).unwrap().mode() & 0o777, 0o644);

    fs::write(host.at("etc/ca-certificates.conf"), "a.crt\n").unwrap();
    let DebianStore { refresh, .. } = debian(host.dir.path());
    assert!(Command::new(&refresh[0]).args(&refresh[1..]).output().unwrap().status.success());
    assert_eq!(
        of(&host.status(), &host.at("state/trust/bundle.pem")).as_str(),
        "outdated",
        "an upgrade of the roots"
    );
    assert_eq!(words(&host.install()), all("installed"));
    assert_eq!(count("state/trust/bundle.pem"), 2);
}

/// Debian's store in a folder, and the real tool told to stay in there.
fn debian(host: &Path) -> DebianStore {
    let at = |path: &str| host.join(path);
    let option = |name: &str, path: &str| [name.into(), at(path).into_os_string()];
    let mut refresh = vec!["/usr/sbin/update-ca-certificates".into()];
    refresh.extend(option("--certsconf", "etc/ca-certificates.conf"));
    refresh.extend(option("--certsdir", "usr/share/ca-certificates"));
    refresh.extend(option("--localcertsdir", "usr/local/share/ca-certificates"));
    refresh.extend(option("--etccertsdir", "etc/ssl/certs"));
    refresh.extend(option("--hooksdir", "hooks"));
    DebianStore {
        anchors: at("usr/local/share/ca-certificates"),
        configuration: at("etc/ca-certificates.conf"),
        refresh,
        bundle: at("etc/ssl/certs/ca-certificates.crt"),
    }
}

#[test]
fn a_runners_file_keeps_its_bytes_whatever_they_are() {
    let cases: [Option<&str>; 9] = [
        None,
        Some(""),
        Some("\n"),
        Some("A=1\n"),
        Some("A=1"),
        Some("A=1\r\nB=2\r\n"),
        Some("A=1\r\nB=2"),
        Some("\u{feff}A=1\nno variable\n\n"),
        Some("# PIP_CERT=/x\nXPIP_CERT=1\n"),
    ];
    for case in cases {
        let host = Host::new();
        match case {
            Some(text) => fs::write(host.at("runner/.env"), text).unwrap(),
            None => fs::remove_file(host.at("runner/.env")).unwrap(),
        }
        let before = host.tree();
        assert_eq!(words(&host.install()), all("installed"), "{case:?}");
        let text = host.text("runner/.env");
        assert!(text.starts_with(case.unwrap_or_default()), "{case:?}: {text:?}");
        assert!(
            text.lines().all(|line| line.matches("CERT").count() < 3),
            "no two lines became one: {text:?}"
        );
        let full = format!("REQUESTS_CA_BUNDLE={}", host.at("state/trust/bundle.pem").display());
        let root = format!("NODE_EXTRA_CA_CERTS={}", host.at("state/trust/root.pem").display());
        assert!([full, root].iter().all(|line| text.lines().any(|l| l == line)), "{case:?}: {text}");
        if case.is_some_and(|text| text.contains('\r')) {
            assert_eq!(
                text.matches('\n').count(),
                text.matches("\r\n").count(),
                "one kind of line end: {text:?}"
            );
        }
        host.remove();
        assert_eq!(host.tree(), before, "{case:?}");
    }
}

#[test]
fn what_an_operator_has_set_is_reported_and_left() {
    let host = Host::new();
    let (env, bundle) = (host.at("runner/.env"), host.at("etc/ssl/certs/ca-certificates.crt"));
    let own = format!(
        "PIP_CERT={0}\nSSL_CERT_FILE={0}\nSSL_CERT_FILE=/corp/ca.pem\nGIT_SSL_CAINFO=\n",
        bundle.display()
    );
    fs::write(&env, &own).unwrap();
    let before = host.tree();
    for statuses in [host.install(), host.install(), host.status()] {
        let StoreState::Attention(Trouble::VariablesSet { names, .. }) = of(&statuses, &env) else {
            panic!("{statuses:?}");
        };
        assert_eq!(
            *names,
            ["SSL_CERT_FILE", "GIT_SSL_CAINFO"],
            "the last line wins; the system's bundle has our root"
        );
        assert_eq!(of(&statuses, &env).as_str(), "conflict");
        assert!(of(&statuses, &env).fix().unwrap().contains("root.pem"));
    }
    let text = host.text("runner/.env");
    assert!(text.starts_with(&own));
    for (name, times) in
        [("SSL_CERT_FILE=", 2), ("PIP_CERT=", 1), ("GIT_SSL_CAINFO=", 1), ("CURL_CA_BUNDLE=", 1)]
    {
        assert_eq!(text.lines().filter(|line| line.starts_with(name)).count(), times, "{name}");
    }

    fs::write(&env, text.replace("SSL_CERT_FILE=/corp/ca.pem\n", "").replace("GIT_SSL_CAINFO=\n", ""))
        .unwrap();
    assert_eq!(of(&host.status(), &env).as_str(), "outdated", "the conflict is gone, a variable is missing");
    assert_eq!(words(&host.install()), all("installed"));
    host.remove();
    fs::write(&env, &own).unwrap();
    assert_eq!(host.tree(), before);
}

#[test]
fn a_file_changed_meanwhile_loses_only_our_part() {
    let host = Host::new();
    let before = host.tree();
    host.install();
    let (env, certifi) = (host.at("runner/.env"), host.at(CERTIFI[0]));
    let add = |path: &Path, text: &str| {
        let bytes = [fs::read(path).unwrap().as_slice(), text.as_bytes()].concat();
        fs::write(path, bytes).unwrap();
    };
    add(&env, "ADDED=1\n");
    add(&certifi, "# added\n");
    assert_eq!(words(&host.status()), all("installed"));
    assert_eq!(words(&host.install()), all("installed"));
    let removed = host.remove();
    for path in [&env, &certifi] {
        assert_eq!(of(&removed, path).as_str(), "removed");
        assert!(of(&removed, path).detail().unwrap().contains("changed by others"));
    }
    assert_eq!(host.text("runner/.env"), "LANG=C.UTF-8\nADDED=1\n");
    fs::write(&env, "LANG=C.UTF-8\n").unwrap();
    fs::write(&certifi, host.text(CERTIFI[0]).replace("# added\n", "")).unwrap();
    assert_eq!(host.tree(), before);
}

#[test]
fn a_bundle_that_an_upgrade_replaced_is_noticed_and_mended() {
    let host = Host::new();
    host.install();
    let (file, upgraded) = (host.at(CERTIFI[0]), authority().1.root_pem().to_owned());
    fs::write(&file, &upgraded).unwrap();
    assert_eq!(of(&host.status(), &file).as_str(), "replaced");
    assert_eq!(words(&host.install()), all("installed"));
    assert!(host.text(CERTIFI[0]).contains(host.authority.root_pem()));
    assert_eq!(of(&host.remove(), &file).as_str(), "restored");
    assert_eq!(host.text(CERTIFI[0]), upgraded);
}

#[test]
fn what_was_deleted_meanwhile_is_not_brought_back() {
    let host = Host::new();
    let before = host.tree();
    host.install();
    fs::rename(host.at("opt/venv"), host.at("elsewhere")).unwrap();
    assert_eq!(of(&host.status(), &host.at(CERTIFI[0])).as_str(), "gone");
    assert_eq!(words(&host.install()).len(), 4);
    assert_eq!(words(&host.status()).len(), 4, "forgotten");
    assert!(!host.at("opt/venv").exists());
    fs::remove_file(host.at("runner/.env")).unwrap();
    assert_eq!(of(&host.status(), &host.at("runner/.env")).as_str(), "gone");
    assert_eq!(of(&host.remove(), &host.at("runner/.env")).as_str(), "gone");
    fs::write(host.at("runner/.env"), "LANG=C.UTF-8\n").unwrap();
    fs::rename(host.at("elsewhere"), host.at("opt/venv")).unwrap();
    let late = host.remove();
    assert_eq!(of(&late, &host.at(CERTIFI[0])).as_str(), "removed", "known by its marks alone");
    assert_eq!(host.tree(), before);
}

#[test]
fn a_lost_journal_leaves_the_marks_to_go_by() {
    let host = Host::new();
    let before = host.tree();
    host.install();
    fs::remove_file(host.at("state/trust/journal.json")).unwrap();
    let removed = host.remove();
    for path in [host.at(CERTIFI[0]), host.at("runner/.env")] {
        assert_eq!(of(&removed, &path).as_str(), "removed");
    }
    let anchor = host.at("usr/local/share/ca-certificates/snowfence.crt");
    assert!(anchor.exists(), "a file that nobody wrote down is nobody's to delete");
    host.install();
    host.remove();
    assert_eq!(host.tree(), before);
}

#[test]
fn half_a_block_is_for_a_person() {
    let host = Host::new();
    host.install();
    let env = host.at("runner/.env");
    fs::write(&env, host.text("runner/.env").replace(block::END, "")).unwrap();
    for statuses in [host.status(), host.install(), host.remove()] {
        assert!(matches!(of(&statuses, &env), StoreState::Attention(Trouble::Torn(_))), "{statuses:?}");
    }
    assert!(host.text("runner/.env").contains(block::BEGIN), "left as found");

    // The lines in it still name the bundles, with the journal as without.
    fs::remove_file(host.at("state/trust/journal.json")).unwrap();
    let bundle = host.at("state/trust/bundle.pem");
    let removed = host.remove();
    assert!(
        matches!(of(&removed, &bundle), StoreState::Attention(Trouble::StillNamed(file)) if *file == env),
        "{removed:?}"
    );
    assert!(bundle.exists());
    fs::write(&env, "LANG=C.UTF-8\n").unwrap();
    assert_eq!(of(&host.remove(), &bundle).as_str(), "restored");
    assert!(!host.at("state/trust").exists());
}

#[test]
fn a_folder_that_became_a_link_is_not_written_through() {
    let host = Host::new();
    host.install();
    // What a job does that owns a Python environment, or the runner's folder.
    for (file, folder) in [(CERTIFI[0], "opt/venv/lib/python3.11"), ("runner/.env", "runner")] {
        fs::rename(host.at(folder), host.at("moved")).unwrap();
        symlink(host.at("moved"), host.at(folder)).unwrap();
        let before = host.text(file);
        host.install();
        for statuses in [host.status(), host.remove()] {
            let state = of(&statuses, &host.at(file));
            assert!(matches!(state, StoreState::Attention(Trouble::LinkOnTheWay)), "{file}: {statuses:?}");
        }
        assert_eq!(host.text(file), before);
        fs::remove_file(host.at(folder)).unwrap();
        fs::rename(host.at("moved"), host.at(folder)).unwrap();
        host.install();
    }
}

#[test]
fn a_new_root_takes_the_place_of_the_old_one() {
    let mut host = Host::new();
    let before = host.tree();
    host.install();
    let old = host.authority.root_pem().to_owned();
    host.authority = authority().1;
    let status = host.status();
    assert!(
        status.iter().all(|one| !one.state.is_trusted() || one.store == StoreKind::RunnerEnv),
        "{status:?}"
    );
    assert_eq!(words(&host.install()), all("installed"));
    for path in CERTIFI.iter().chain(&["etc/ssl/certs/ca-certificates.crt", "state/trust/bundle.pem"]) {
        let text = host.text(path);
        assert_eq!(
            (text.matches(&old).count(), text.matches(host.authority.root_pem()).count()),
            (0, 1),
            "{path}"
        );
    }
    host.remove();
    assert_eq!(host.tree(), before);
}

#[test]
fn an_install_that_was_cut_off_can_be_undone_and_done_again() {
    let host = Host::new();
    let before = host.tree();
    let trust = TrustDir::create(&host.plan.state).unwrap();
    let mut journal = Journal::load(trust.path()).unwrap();
    for (store, path) in [(StoreKind::Certifi, CERTIFI[0]), (StoreKind::RunnerEnv, "runner/.env")] {
        let bytes = fs::read(host.at(path)).unwrap();
        journal.record(store, &host.at(path), Some(&bytes), "", "never written").unwrap();
    }
    drop(trust);
    assert_eq!(words(&host.status()), all("not installed"));
    host.remove();
    assert_eq!(host.tree(), before);
}

#[test]
fn two_at_once_are_refused() {
    let host = Host::new();
    let held = TrustDir::create(&host.plan.state).unwrap();
    assert!(matches!(install(&host.plan, host.authority.root_pem()), Err(TrustError::Busy(_))));
    assert!(matches!(remove(&host.plan), Err(TrustError::Busy(_))));
    // As a child has it that another thread is just starting.
    let inherited = held.lock.try_clone().unwrap();
    drop(held);
    host.install();
    drop(inherited);
}

#[test]
fn a_state_that_no_line_can_name_or_that_is_not_there_is_refused() {
    let mut host = Host::new();
    host.plan.state = host.at("two\nlines");
    assert!(matches!(install(&host.plan, host.authority.root_pem()), Err(TrustError::State { .. })));
    assert!(matches!(remove(&host.plan), Err(TrustError::State { .. })));
    assert!(!host.plan.state.exists());
    fs::create_dir(&host.plan.state).unwrap();
    let installed = host.install();
    assert!(matches!(
        of(&installed, &host.at("runner/.env")),
        StoreState::Attention(Trouble::PathNotText(_))
    ));
    assert_eq!(host.text("runner/.env"), "LANG=C.UTF-8\n");
}

#[test]
fn links_are_not_written_through_and_not_followed() {
    let mut host = Host::new();
    let (linked, elsewhere) = (host.at(CERTIFI[2]), host.at("secret"));
    fs::write(&elsewhere, "secret\n").unwrap();
    fs::remove_file(&linked).unwrap();
    symlink(host.at("etc/ssl/certs/ca-certificates.crt"), &linked).unwrap();
    symlink(&elsewhere, host.at("runner/link.env")).unwrap();
    symlink(host.at("opt"), host.at("opt/loop")).unwrap();
    host.plan.runner_env_files = vec![host.at("runner/link.env"), host.at("no/such/.env")];
    let before = host.tree();
    let installed = host.install();
    assert_eq!(of(&installed, &linked).as_str(), "already trusted", "as Debian's own Python has it");
    for file in &host.plan.runner_env_files {
        assert!(matches!(of(&installed, file), StoreState::Attention(Trouble::File(_))), "{file:?}");
    }
    assert_eq!(
        installed.iter().filter(|one| one.store == StoreKind::Certifi).count(),
        3,
        "a loop is not entered"
    );
    host.remove();
    assert_eq!(host.tree(), before);

    fs::remove_file(&linked).unwrap();
    symlink(&elsewhere, &linked).unwrap();
    assert!(matches!(of(&host.install(), &linked), StoreState::Attention(Trouble::Link(_))));
    assert_eq!(host.text("secret"), "secret\n");
}

#[test]
fn only_pythons_own_bundles_are_taken_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        ("v/site-packages/certifi/cacert.pem", true),
        ("v/dist-packages/certifi/cacert.pem", true),
        ("v/site-packages/pip/_vendor/certifi/cacert.pem", true),
        ("v/site-packages/other/_vendor/certifi/cacert.pem", false),
        ("v/site-packages/botocore/cacert.pem", false),
        ("v/certifi/cacert.pem", false),
        ("v/site-packages/certifi/core.py", false),
    ];
    for (path, _) in cases {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let found = certifi::find(&[dir.path().to_owned(), dir.path().join("v"), dir.path().join("none")]);
    let mut expected: Vec<_> =
        cases.iter().filter(|(_, is)| *is).map(|(path, _)| dir.path().join(path)).collect();
    expected.sort();
    assert_eq!(found.files, expected, "each once");
    assert_eq!(found.troubles.len(), 1, "a folder that is not there is said");
}

#[test]
fn without_public_roots_no_runner_is_pointed_at_a_bundle() {
    let host = Host::new();
    fs::write(host.at("etc/ca-certificates.conf"), "# none\n").unwrap();
    let DebianStore { refresh, .. } = debian(host.dir.path());
    assert!(Command::new(&refresh[0]).args(&refresh[1..]).arg("--fresh").output().unwrap().status.success());
    let installed = host.install();
    for path in ["state/trust/bundle.pem", "runner/.env"] {
        assert!(
            matches!(of(&installed, &host.at(path)), StoreState::Attention(Trouble::NoPublicRoots(_))),
            "{path}"
        );
    }
    assert_eq!(host.text("runner/.env"), "LANG=C.UTF-8\n");
}

#[test]
fn a_system_store_that_cannot_be_built_says_why() {
    type Break = fn(&mut DebianStore);
    let cases: [(Break, &str); 5] = [
        (|store| store.refresh = vec!["/no/such/tool".into()], "apt-get install ca-certificates"),
        (|store| store.anchors = store.anchors.join("none"), "apt-get install ca-certificates"),
        (|store| store.refresh = vec!["/bin/false".into()], "by hand"),
        (|store| store.refresh = vec!["/bin/true".into()], "by hand"),
        (|store| fs::write(store.anchors.join("snowfence.crt"), "theirs").unwrap(), "remove "),
    ];
    for (number, (damage, fix)) in cases.into_iter().enumerate() {
        let mut host = Host::new();
        let mut store = debian(host.dir.path());
        damage(&mut store);
        host.plan.system = SystemStore::debian(store);
        let installed = host.install();
        let system = &installed[0].state;
        assert!(system.fix().is_some_and(|text| text.contains(fix)), "case {number}: {system:?}");
        assert_eq!(words(&installed)[1..], all("installed")[1..], "the others do not suffer");
        host.plan.system = SystemStore::debian(debian(host.dir.path()));
        host.install();
        host.remove();
        assert!(
            !host.text("etc/ssl/certs/ca-certificates.crt").contains(host.authority.root_pem()),
            "case {number}"
        );
    }
}

#[test]
fn a_root_that_was_written_into_the_bundle_by_hand_is_not_lost() {
    let host = Host::new();
    let (before, bundle) = (host.tree(), host.at("etc/ssl/certs/ca-certificates.crt"));
    let (clean, company) =
        (host.text("etc/ssl/certs/ca-certificates.crt"), authority().1.root_pem().to_owned());
    let by_hand = || fs::write(&bundle, fs::read_to_string(&bundle).unwrap() + &company).unwrap();
    by_hand();
    let with_company = host.tree();
    let installed = host.install();
    let StoreState::Attention(Trouble::WouldLose { lost: 1, .. }) = &installed[0].state else {
        panic!("{installed:?}")
    };
    assert!(installed[0].state.fix().unwrap().contains("/usr/local/share/ca-certificates"));
    assert_eq!(words(&installed)[1..], all("installed")[1..], "jobs are pointed at a bundle with both");
    host.remove();
    assert_eq!(host.tree(), with_company);

    fs::write(&bundle, clean).unwrap();
    host.install();
    by_hand();
    let removed = host.remove();
    assert!(removed.iter().any(|one| matches!(one.state, StoreState::Attention(Trouble::WouldLose { .. }))));
    fs::write(host.at("usr/local/share/ca-certificates/company.crt"), &company).unwrap();
    assert_eq!(words(&host.remove())[0], ("system", "restored"), "what was left to undo is still known");
    let text = host.text("etc/ssl/certs/ca-certificates.crt");
    assert!(text.contains(&company) && !text.contains(host.authority.root_pem()));
    fs::remove_file(host.at("usr/local/share/ca-certificates/company.crt")).unwrap();
    let DebianStore { refresh, .. } = debian(host.dir.path());
    assert!(Command::new(&refresh[0]).args(&refresh[1..]).arg("--fresh").output().unwrap().status.success());
    assert_eq!(host.tree(), before);
}

#[test]
fn layouts_are_told_apart_and_the_unknown_ones_say_what_to_do() {
    let root = authority().1;
    for (marker, word) in [
        ("etc/debian_version", None),
        ("etc/pki/ca-trust/source/anchors/x", Some("update-ca-trust")),
        ("etc/pki/trust/anchors/x", Some("/etc/pki/trust/anchors")),
        ("etc/alpine-release", Some("/usr/local/share/ca-certificates")),
        ("etc/other", Some("own means")),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let marker = dir.path().join(marker);
        fs::create_dir_all(marker.parent().unwrap()).unwrap();
        fs::write(marker, "").unwrap();
        let plan = TrustPlan {
            state: dir.path().join("state"),
            system: SystemStore::detect(dir.path()),
            runner_env_files: vec![],
            certifi_roots: vec![],
        };
        fs::create_dir(&plan.state).unwrap();
        let installed = install(&plan, root.root_pem()).unwrap();
        match word {
            None => assert!(matches!(installed[0].state, StoreState::Attention(Trouble::NoTool(_)))),
            Some(word) => {
                assert_eq!(installed[0].state.as_str(), "not supported");
                assert!(installed[0].state.fix().unwrap().contains(word));
            }
        }
        let StoreStatus { path: bundle, .. } = &installed[0];
        if word.is_some() {
            fs::create_dir_all(bundle.parent().unwrap()).unwrap();
            fs::write(bundle, root.root_pem()).unwrap();
            assert_eq!(status(&plan, root.root_pem()).unwrap()[0].state.as_str(), "already trusted");
        }
    }
}
