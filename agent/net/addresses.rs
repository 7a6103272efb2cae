//! The addresses of one host that are told apart: each is an instance of a target. They are learned from the looks' own
//! resolutions, so that following them costs no query more.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Net;

/// What one host's name last led to: IPv4 where it has any (IPv6 is another way to the same hosts then), else IPv6.
/// Sorted, and empty until the name was first resolved.
#[derive(Debug)]
pub struct Addresses {
    host: String,
    found: Mutex<Vec<IpAddr>>,
    changed: Notify,
}

/// What a [`Net`] does for one host besides.
#[derive(Clone)]
pub(super) struct Following {
    pub addresses: Arc<Addresses>,
    /// The only address of the host that is connected to.
    pub only: Option<IpAddr>,
}

impl Net {
    /// The same network, which notes what the name of `addresses` leads to, and where `only` is given, connects to
    /// nothing else for it. The name is still resolved for every connection: one that is gone fails as ever.
    pub fn following(&self, addresses: Arc<Addresses>, only: Option<IpAddr>) -> Net {
        Net { resolver: self.resolver.clone(), following: Some(Following { addresses, only }) }
    }

    /// What is done for this host besides.
    pub(super) fn follows(&self, host: &str) -> Option<&Following> {
        self.following.as_ref().filter(|following| following.addresses.host.eq_ignore_ascii_case(host))
    }
}

impl Addresses {
    pub fn of(host: &str) -> Self {
        Addresses { host: host.to_owned(), found: Mutex::default(), changed: Notify::new() }
    }

    pub fn found(&self) -> Vec<IpAddr> {
        self.lock().clone()
    }

    /// Resolves when they are others than `known`, and some are known at all.
    pub async fn differ(&self, known: &[IpAddr]) {
        loop {
            let told = self.changed.notified();
            let found = self.found();
            if !found.is_empty() && found != known {
                return;
            }
            told.await;
        }
    }

    /// Takes what a resolution found. Nothing is no news: the resolver may not have been able to tell.
    pub(super) fn note(&self, found: &[IpAddr]) {
        let mut known = self.lock();
        if found.is_empty() || *known == found {
            return;
        }
        *known = found.to_vec();
        drop(known);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<IpAddr>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
