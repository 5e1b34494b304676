//! Steps to a target against batch size: what is asked, the study of each size, and what is shown meanwhile.

pub mod live;
pub mod plan;
pub mod size;
pub mod target;
pub mod times;
