/// The value that a generated cell ends with. It has the method that evcxr tries first to show a value, so that the
/// cell is compiled only once.
pub struct Answer<T>(pub T);

impl<T: ::std::fmt::Debug> Answer<T> {
    pub fn evcxr_display(&self) {
        println!("EVCXR_BEGIN_CONTENT text/plain\n{:?}\nEVCXR_END_CONTENT", self.0);
    }
}
