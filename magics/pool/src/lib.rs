//! Devices, slots, and the processes in which trials run.
