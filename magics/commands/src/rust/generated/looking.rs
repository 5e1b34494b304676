use ::std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque};
use ::std::fmt::{self, Debug, Write};
use ::std::mem::{needs_drop, size_of, size_of_val};
use ::std::panic::{AssertUnwindSafe, catch_unwind};
use ::std::rc::Rc;
use ::std::sync::Arc;
use ::std::time::{Duration, Instant};

/// What `%whos` shows of a variable: its name, its size in bytes with what it owns, whether that size is exact
/// (otherwise it is a lower bound), and the beginning of its Debug text, if the type implements Debug.
pub type Row = (&'static str, usize, bool, Option<String>);

pub fn row<T>(name: &'static str, value: &T, heap: (usize, bool), preview: Option<String>) -> Row {
    (name, size_of_val(value) + heap.0, heap.1, preview)
}

/// Selects the best trait that a type implements ("autoref specialization"). A method call on `&&&Look(&x)` finds the
/// implementation for `&&Look` first, then that for `&Look`, then that for `Look`.
pub struct Look<'a, T>(pub &'a T);

/// Types for which the size of everything that they own on the heap is known.
pub trait Heap {
    fn heap(&self) -> usize;
}

macro_rules! plain {
    ($($kind:ty)*) => { $(impl Heap for $kind { fn heap(&self) -> usize { 0 } })* };
}
plain!(() u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64 bool char Duration Instant);

impl<T: ?Sized> Heap for &T {
    fn heap(&self) -> usize {
        0
    }
}

impl Heap for String {
    fn heap(&self) -> usize {
        self.capacity()
    }
}

impl<T: Heap> Heap for Option<T> {
    fn heap(&self) -> usize {
        self.iter().map(Heap::heap).sum()
    }
}

impl<T: Heap, const N: usize> Heap for [T; N] {
    fn heap(&self) -> usize {
        self.iter().map(Heap::heap).sum()
    }
}

impl<T: Heap> Heap for [T] {
    fn heap(&self) -> usize {
        self.iter().map(Heap::heap).sum()
    }
}

impl Heap for str {
    fn heap(&self) -> usize {
        0
    }
}

macro_rules! tuples {
    ($($name:ident)*) => {
        #[allow(non_snake_case)]
        impl<$($name: Heap),*> Heap for ($($name,)*) {
            fn heap(&self) -> usize {
                let ($($name,)*) = self;
                0 $(+ $name.heap())*
            }
        }
    };
}
tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);

macro_rules! pointers {
    ($($kind:ident $beside:expr;)*) => {
        $(impl<T: Heap + ?Sized> Heap for $kind<T> {
            fn heap(&self) -> usize {
                $beside + size_of_val::<T>(self) + T::heap(self)
            }
        })*
    };
}
// Rc and Arc store two counts beside the value.
pointers!(Box 0; Rc 2 * size_of::<usize>(); Arc 2 * size_of::<usize>(););

macro_rules! lists {
    ($($kind:ident)*) => {
        $(impl<T: Heap> Heap for $kind<T> {
            fn heap(&self) -> usize {
                self.capacity() * size_of::<T>() + self.iter().map(Heap::heap).sum::<usize>()
            }
        })*
    };
}
lists!(Vec VecDeque BinaryHeap);

/// The size of the table of a hash map: a power of two of entries, one byte of metadata for each, and 16 more bytes.
fn table(capacity: usize, entry: usize) -> usize {
    let entries = match capacity {
        0 => return 0,
        1..4 => 4,
        4..8 => 8,
        n => (n * 8 / 7).next_power_of_two(),
    };
    entries * (entry + 1) + 16
}

impl<K: Heap, V: Heap, S> Heap for HashMap<K, V, S> {
    fn heap(&self) -> usize {
        let inside = self.iter().map(|(k, v)| k.heap() + v.heap()).sum::<usize>();
        table(self.capacity(), size_of::<(K, V)>()) + inside
    }
}

impl<K: Heap, S> Heap for HashSet<K, S> {
    fn heap(&self) -> usize {
        table(self.capacity(), size_of::<K>()) + self.iter().map(Heap::heap).sum::<usize>()
    }
}

/// Types for which the size of the outermost allocation is known. The flag says whether that is all that they own.
pub trait Shallow {
    fn shallow(&self) -> (usize, bool);
}

macro_rules! shallow {
    ($($kind:ident)*) => {
        $(impl<T> Shallow for $kind<T> {
            fn shallow(&self) -> (usize, bool) {
                (self.capacity() * size_of::<T>(), !needs_drop::<T>())
            }
        })*
    };
}
shallow!(Vec VecDeque BinaryHeap);

impl<T: ?Sized> Shallow for Box<T> {
    fn shallow(&self) -> (usize, bool) {
        (size_of_val::<T>(self), !needs_drop::<T>())
    }
}

impl<K, V, S> Shallow for HashMap<K, V, S> {
    fn shallow(&self) -> (usize, bool) {
        (table(self.capacity(), size_of::<(K, V)>()), !needs_drop::<(K, V)>())
    }
}

impl<K, S> Shallow for HashSet<K, S> {
    fn shallow(&self) -> (usize, bool) {
        (table(self.capacity(), size_of::<K>()), !needs_drop::<K>())
    }
}

impl<K, V> Shallow for BTreeMap<K, V> {
    fn shallow(&self) -> (usize, bool) {
        (self.len() * size_of::<(K, V)>(), false)
    }
}

impl<K> Shallow for BTreeSet<K> {
    fn shallow(&self) -> (usize, bool) {
        (self.len() * size_of::<K>(), false)
    }
}

pub trait ByHeap {
    fn heap_of(&self) -> (usize, bool);
}

impl<T: Heap> ByHeap for &&Look<'_, T> {
    fn heap_of(&self) -> (usize, bool) {
        (self.0.heap(), true)
    }
}

pub trait ByShallow {
    fn heap_of(&self) -> (usize, bool);
}

impl<T: Shallow> ByShallow for &Look<'_, T> {
    fn heap_of(&self) -> (usize, bool) {
        self.0.shallow()
    }
}

pub trait ByNothing {
    fn heap_of(&self) -> (usize, bool);
}

impl<T> ByNothing for Look<'_, T> {
    fn heap_of(&self) -> (usize, bool) {
        (0, !needs_drop::<T>())
    }
}

/// Keeps the beginning of a text. Then it returns an error, which ends the formatting.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.0.len() > 300 {
                return Err(fmt::Error);
            }
            self.0.push(c);
        }
        Ok(())
    }
}

pub trait ByDebug {
    fn preview(&self) -> Option<String>;
}

impl<T: Debug> ByDebug for &Look<'_, T> {
    fn preview(&self) -> Option<String> {
        let mut text = Bounded(String::new());
        // A Debug implementation of the user may panic.
        let _ = catch_unwind(AssertUnwindSafe(|| write!(text, "{:?}", self.0)));
        Some(text.0)
    }
}

pub trait ByName {
    fn preview(&self) -> Option<String>;
}

impl<T> ByName for Look<'_, T> {
    fn preview(&self) -> Option<String> {
        None
    }
}
