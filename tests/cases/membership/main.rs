//! Clusters of real cores on a virtual network: time jumps from one event to the next, and one
//! seed draws all that happens.

mod algorithm;
mod failure;
mod figures;
mod foreign;
mod founding;
mod hostile;
mod naming;
mod recordings;
mod sealed;
mod strays;
