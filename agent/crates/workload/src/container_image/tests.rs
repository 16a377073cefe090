//! State folders as engines write them, shortened, and what must not be read.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A host's file system with the state of engines in it.
struct Host(tempfile::TempDir);

impl Host {
    fn with(path: &str, text: &str) -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        host.write(path, text);
        host
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path.replace("<id>", ID))
    }

    fn describe(&self, engine: ContainerEngine) -> (ContainerEngine, Option<String>) {
        let named = Named { id: ID.to_owned(), engine, pod: None, user: None };
        let container = EngineState::below(self.0.path()).describe(named);
        (container.engine, container.image)
    }

    fn image(&self, engine: ContainerEngine) -> Option<String> {
        self.describe(engine).1
    }
}

const DOCKER: &str = "var/lib/docker/containers/<id>/config.v2.json";
const TASK: &str = "run/containerd/io.containerd.runtime.v2.task/k8s.io/<id>/config.json";

fn docker(image: &str) -> String {
    format!(
        r#"{{"State":{{"Running":true,"Pid":4711}},"ID":"{ID}","Created":"2026-05-04T10:00:00Z","Path":"python3",
            "Config":{{"Hostname":"0123456789ab","Env":["PATH=/bin"],"Image":"{image}","Labels":{{}}}},
            "Image":"sha256:{ID}","Name":"/etl","Driver":"overlay2"}}"#
    )
}

fn bundle(annotation: &str, image: &str) -> String {
    format!(
        r#"{{"ociVersion":"1.1.0","process":{{"args":["sh"]}},"root":{{"path":"rootfs"}},
            "annotations":{{"io.kubernetes.cri.container-type":"container","{annotation}":"{image}"}}}}"#
    )
}

#[test]
fn each_engine_says_the_image_in_its_own_way() {
    use ContainerEngine::{Containerd, CriO, Docker, Podman, Runc};
    let image = "docker.io/library/python:3.12";
    let podman = format!(
        r#"[{{"id":"{other}","names":["x"],"image":"aa","metadata":"{{\"image-name\":\"other\"}}"}},
            {{"id":"{ID}","names":["etl"],"image":"{other}","layer":"cc",
              "metadata":"{{\"image-name\":\"{image}\",\"image-id\":\"{other}\",\"name\":\"etl\"}}","created":"2026-05-04"}}]"#,
        other = "b".repeat(64),
    );
    let runc = format!(
        r#"{{"id":"{ID}","init_process_pid":7,"config":{{"labels":["io.kubernetes.cri.image-name={image}","bundle=/b"]}}}}"#
    );
    let cases = [
        (Docker, DOCKER, docker(image)),
        (Containerd, TASK, bundle("io.kubernetes.cri.image-name", image)),
        (
            Containerd,
            "run/containerd/io.containerd.runtime.v2.task/default/<id>/config.json",
            bundle("org.opencontainers.image.ref.name", image),
        ),
        (
            Containerd,
            "run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/<id>/config.json",
            bundle("io.kubernetes.cri.image-name", image),
        ),
        (
            CriO,
            "run/containers/storage/overlay-containers/<id>/userdata/config.json",
            bundle("io.kubernetes.cri-o.ImageName", image),
        ),
        (CriO, "var/lib/containers/storage/overlay-containers/containers.json", podman.clone()),
        (Podman, "var/lib/containers/storage/overlay-containers/containers.json", podman.clone()),
        (Podman, "var/lib/containers/storage/vfs-containers/containers.json", podman),
        (Runc, "run/runc/<id>/state.json", runc),
    ];
    for (engine, path, text) in cases {
        let host = Host::with(path, &text);
        assert_eq!(host.image(engine).as_deref(), Some(image), "{path}");
    }
}

#[test]
fn an_engine_that_the_path_does_not_name_is_the_one_that_knows_the_container() {
    use ContainerEngine::{Containerd, Docker, Kubernetes};
    let host = Host::with(TASK, &bundle("io.kubernetes.cri.image-name", "a:1"));
    assert_eq!(host.describe(Kubernetes), (Containerd, Some("a:1".to_owned())));
    let host = Host::with(DOCKER, &docker("b:2"));
    assert_eq!(host.describe(Kubernetes), (Docker, Some("b:2".to_owned())));
    assert_eq!(host.describe(Containerd), (Containerd, None), "another engine's state is not asked");
    let host = Host::with("etc/hostname", "x");
    assert_eq!(host.describe(Kubernetes), (Kubernetes, None));
}

#[test]
fn a_digest_stands_for_a_name_that_is_not_there() {
    let host = Host::with(DOCKER, &docker(""));
    assert_eq!(host.image(ContainerEngine::Docker), Some(format!("sha256:{ID}")));
    let path = "var/lib/containers/storage/overlay-containers/containers.json";
    let host = Host::with(path, &format!(r#"[{{"id":"{ID}","image":"abc","metadata":"no json"}}]"#));
    assert_eq!(host.image(ContainerEngine::Podman).as_deref(), Some("abc"));
    // A container of a folder has neither.
    let metadata = r#""{\"image-name\":\"\",\"image-id\":\"\"}""#;
    let host = Host::with(path, &format!(r#"[{{"id":"{ID}","image":"","metadata":{metadata}}}]"#));
    assert_eq!(host.image(ContainerEngine::Podman), None);
}

#[test]
fn what_is_not_understood_says_nothing() {
    let long = docker(&"x".repeat(IMAGE_BYTES_MAX + 1));
    let another = docker("a").replace(ID, &"b".repeat(64));
    let padded = format!("{}{}", docker("a"), " ".repeat(usize::try_from(STATE_BYTES_MAX).unwrap()));
    for text in [
        "",
        "{",
        "[]",
        "null",
        r#"{"ID":7}"#,
        &another,
        &padded,
        &long,
        &docker("a b"),
        &docker("a\\u001b[2J"),
        &docker("\\u00e9"),
    ] {
        let host = Host::with(DOCKER, text);
        assert_eq!(host.image(ContainerEngine::Docker), None, "{}", text.get(..80).unwrap_or(text));
    }
}

#[test]
fn links_pipes_and_what_others_may_write_are_not_read() {
    let is_read = |host: &Host| host.image(ContainerEngine::Docker).is_some();
    let host = Host::with(DOCKER, &docker("a"));
    assert!(is_read(&host));
    let file = host.path(DOCKER);
    for (path, mode) in [(file.clone(), 0o666), (host.path("var/lib/docker/containers"), 0o777)] {
        let before = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(!is_read(&host), "{}", path.display());
        fs::set_permissions(&path, before).unwrap();
        assert!(is_read(&host));
    }
    // A link in place of the file, and in place of the container's folder.
    let elsewhere = host.path("elsewhere");
    fs::rename(&file, &elsewhere).unwrap();
    symlink(&elsewhere, &file).unwrap();
    assert!(!is_read(&host));
    fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    assert!(!is_read(&host), "and a pipe is not waited for");
    fs::remove_file(&file).unwrap();
    fs::rename(&elsewhere, &file).unwrap();
    let folder = file.parent().unwrap();
    let moved = host.path("moved");
    fs::rename(folder, &moved).unwrap();
    symlink(&moved, folder).unwrap();
    assert!(!is_read(&host));
    fs::remove_file(folder).unwrap();
    fs::rename(&moved, folder).unwrap();
    // The engine's folder as a whole may be elsewhere: only root can have put a link there.
    let all = host.path("var/lib/docker");
    let disk = host.path("disk");
    fs::rename(&all, &disk).unwrap();
    symlink(&disk, &all).unwrap();
    assert!(is_read(&host));
}

#[test]
fn a_users_own_engine_is_not_asked() {
    let host = Host::with(DOCKER, &docker("a"));
    let named = Named { id: ID.to_owned(), engine: ContainerEngine::Docker, pod: None, user: Some(1000) };
    let container = EngineState::below(host.0.path()).describe(named);
    assert_eq!((container.image, container.user), (None, Some(1000)));
}
