//! Deliveries: what is sent to whom, in which order, and until when.

pub mod judge;
pub mod metrics;
pub mod outbox;
pub mod payload;
pub mod queue;
pub mod sign;
pub mod webhook;

use bytes::Bytes;

use crate::sample::Timestamp;

pub use crate::notify::outbox::Outbox;

/// A receiver by name, with where it sends to.
#[derive(Debug, Clone, PartialEq)]
pub struct Receiver {
    pub name: String,
    pub webhooks: Vec<webhook::Settings>,
}

/// One notification on its way to one webhook, from its acceptance until the receiver has it. All of it survives a
/// restart.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// The order of acceptance.
    pub seq: i64,
    pub receiver: String,
    /// Which of the receiver's webhooks, from 0.
    pub webhook: u32,
    /// The deduplication key: deliveries of one key to one webhook go out in their order.
    pub key: String,
    /// `webhook-id`: of the notification, the same in every attempt.
    pub id: String,
    /// The first page of its key: before it, the receiver knew nothing under this key.
    pub first: bool,
    /// Whether it tells that everything under its key has resolved.
    pub resolve: bool,
    pub accepted_at: Timestamp,
    pub attempts: u32,
    pub last_error: Option<String>,
    /// The body as it is sent, in UTF-8, frozen when it was accepted.
    pub payload: Bytes,
}

/// A webhook refused the first page of a key for good: its resolve would end what never began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub receiver: String,
    pub webhook: u32,
    pub key: String,
    pub at: Timestamp,
    pub reason: String,
}
