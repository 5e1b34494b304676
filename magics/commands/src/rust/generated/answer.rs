/// What a generated cell ends with. evcxr looks for this method first, so that the cell is built once.
pub struct Answer<T>(pub T);

impl<T: ::std::fmt::Debug> Answer<T> {
    pub fn evcxr_display(&self) {
        println!("EVCXR_BEGIN_CONTENT text/plain\n{:?}\nEVCXR_END_CONTENT", self.0);
    }
}
