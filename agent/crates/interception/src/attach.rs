//! Programs on a cgroup, held there by links: made new, or taken over from an earlier run without a gap.

use std::{
    fs, io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use aya::Ebpf;

use crate::{cgroup::Cgroup, error::Error, hook::Hook, object, pins::Pins, sys};

/// The links of one agent. They stay open for as long as it runs, so that removing a pin detaches nothing; what is
/// pinned stays attached when it ends.
#[derive(Debug)]
pub(crate) struct Links {
    pinned: Vec<(Hook, OwnedFd)>,
    /// Those by which processes are followed, pinned as well.
    following: Vec<OwnedFd>,
    /// On the agent's own cgroup, where that is not covered: gone with the agent, for it serves nobody else.
    _own: Option<OwnedFd>,
}

impl Links {
    /// Puts every program in its place. `following` are links that are there already.
    pub(crate) fn attach(
        object: &Ebpf,
        pins: &Pins,
        cgroup: &Cgroup,
        own: Option<&Cgroup>,
        following: Vec<OwnedFd>,
    ) -> Result<Self, Error> {
        let own = own.map(|own| {
            let hook = Hook::CarryRecord;
            let program = object::program(object, hook)?.as_fd();
            sys::link_create(program, own.as_fd(), hook.attach_type()).map_err(failed("attach", hook))
        });
        let own = own.transpose()?;
        let pinned = Hook::ALL.into_iter().map(|hook| {
            let program = object::program(object, hook)?.as_fd();
            let link = place(
                hook,
                program,
                cgroup,
                &pins.path(hook.name()),
                &pins.path(&format!("{}-next", hook.name())),
            )?;
            Ok((hook, link))
        });
        Ok(Self { pinned: pinned.collect::<Result<_, Error>>()?, following, _own: own })
    }

    /// The ids of the programs that are now behind the links.
    pub(crate) fn programs(&self) -> Result<Vec<(Hook, u32)>, Error> {
        let id = |(hook, link): &(Hook, OwnedFd)| {
            let info = sys::link_info(link.as_fd()).map_err(failed("read", *hook))?;
            Ok((*hook, info.program_id))
        };
        self.pinned.iter().map(id).collect()
    }

    /// The numbers by which the kernel knows the links.
    pub(crate) fn ids(&self) -> io::Result<Vec<u32>> {
        let links = self.pinned.iter().map(|(_, link)| link).chain(&self.following);
        links.map(|link| Ok(sys::link_info(link.as_fd())?.id)).collect()
    }
}

/// Replaces the program behind the pinned link if there is one and it is on this cgroup; otherwise attaches, and puts
/// the new link over the old pin in one step.
fn place(
    hook: Hook,
    program: BorrowedFd<'_>,
    cgroup: &Cgroup,
    pin: &Path,
    next: &Path,
) -> Result<OwnedFd, Error> {
    match sys::open_pin(pin) {
        Ok(link) => {
            let info = sys::link_info(link.as_fd()).map_err(failed("read", hook))?;
            if info.cgroup_id == cgroup.id {
                sys::link_update(link.as_fd(), program).map_err(failed("replace", hook))?;
                return Ok(link);
            }
            tracing::warn!(hook = hook.name(), "a program was pinned on another cgroup: moving it");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(Error::Pin { action: "read", path: pin.to_owned(), source }),
    }
    let link =
        sys::link_create(program, cgroup.as_fd(), hook.attach_type()).map_err(failed("attach", hook))?;
    match fs::remove_file(next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("pin", hook)(error)),
        _ => {}
    }
    sys::pin(&link, next).and_then(|()| fs::rename(next, pin)).map_err(failed("pin", hook))?;
    Ok(link)
}

fn failed(action: &'static str, hook: Hook) -> impl Fn(io::Error) -> Error {
    move |source| Error::Link { action, name: hook.name(), source }
}
