//! Fathomline from outside: the real binary on loopback, broken on purpose.
//!
//! This list is the table of contents. Each module opens with the promise it holds the product
//! to; `harness` starts the house and speaks for devices, people and webhook receivers.

#![allow(clippy::unwrap_used)]

mod harness;

// The product.
mod access;
mod alertmanager;
mod alerts;
mod bad_input;
mod bridge;
mod buckets;
mod canary;
mod crash;
mod deliveries;
mod demo;
mod doors;
mod drift;
mod erase;
mod foreign;
mod gate;
mod late_windows;
mod observe;
mod one_batch;
mod pages;
mod pressure;
mod references;
mod retraining;
mod small_groups;
mod under_load;

// The rules of the repository.
mod boundaries;
mod tidy;
