/// Prints the value of a cell: its Debug text, unless the type has none or is `()`.
macro_rules! show_value {
    ($value:expr) => {
        match &$value {
            value => {
                #[allow(unused_imports)]
                use $crate::shown_values::{Debugged, Nothing, Opaque, Shown};
                (&&&Shown(value)).show();
            }
        }
    };
}

mod shown_values {
    pub struct Shown<'a, T: ?Sized>(pub &'a T);

    pub trait Nothing {
        fn show(&self) {}
    }

    impl Nothing for &&Shown<'_, ()> {}

    pub trait Debugged {
        fn show(&self);
    }

    impl<T: ?Sized + ::std::fmt::Debug> Debugged for &Shown<'_, T> {
        fn show(&self) {
            println!("{:?}", self.0);
        }
    }

    pub trait Opaque {
        fn show(&self) {}
    }

    impl<T: ?Sized> Opaque for Shown<'_, T> {}
}
