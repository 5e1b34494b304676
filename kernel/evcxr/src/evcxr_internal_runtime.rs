// Copyright 2020 The Evcxr Authors.
//
// Licensed under the Apache License, Version 2.0 <LICENSE or
// https://www.apache.org/licenses/LICENSE-2.0> or the MIT license <LICENSE
// or https://opensource.org/licenses/MIT>, at your option. This file may not be
// copied, modified, or distributed except according to those terms.

// This file is both a module of evcxr and is included via include_str! then
// built as a crate itself. The latter is the primary use-case. It's included as
// a submodule only so that constants can be shared.

pub const VARIABLE_TYPE: &str = "EVCXR_VARIABLE_TYPE:";
pub const VARIABLE_CHANGED_TYPE: &str = "EVCXR_VARIABLE_CHANGED_TYPE:";

/// Where the value of a cell is stored until the cell has ended.
const NEW_LAST: &str = "evcxr_last";

pub struct VariableStore {
    variables: std::collections::HashMap<String, Box<dyn std::any::Any + 'static>>,
}

impl VariableStore {
    pub fn new() -> VariableStore {
        VariableStore {
            variables: std::collections::HashMap::new(),
        }
    }

    /// Puts a variable that a cell has defined, and reports its type.
    pub fn put_new_variable<T: 'static>(&mut self, name: &str, value: T) {
        self.put_new(name, std::any::type_name::<T>(), Box::new(value));
    }

    /// Puts the value of a cell, and reports its type. It takes the place of the last value of before when
    /// `settle_last` is called. A cell that ends with `()` has no value.
    pub fn put_last<T: 'static>(&mut self, name: &str, value: T) {
        self.put_new_last(name, std::any::type_name::<T>(), Box::new(value));
    }

    /// Puts the value of the cell, if it has one, in the place of the last value of before.
    pub fn settle_last(&mut self, name: &str) {
        if let Some(value) = self.variables.remove(NEW_LAST) {
            self.put(name, value);
        }
    }

    pub fn put_variable<T: 'static>(&mut self, name: &str, value: T) {
        self.put(name, Box::new(value));
    }

    pub fn check_variable<T: 'static>(&mut self, name: &str) -> bool {
        self.check(name, std::any::TypeId::of::<T>())
    }

    pub fn take_variable<T: 'static>(&mut self, name: &str) -> T {
        match self.take(name).downcast() {
            Ok(value) => *value,
            // Shouldn't happen so long as check_variable was called.
            Err(_) => panic!("Variable changed type"),
        }
    }

    // What does not depend on the type of the variable is not compiled again with each cell.

    fn put_new(&mut self, name: &str, type_name: &str, value: Box<dyn std::any::Any>) {
        crate::evcxr_report::report(&format!("{VARIABLE_TYPE}{name}:{type_name}"));
        self.put(name, value);
    }

    fn put_new_last(&mut self, name: &str, type_name: &str, value: Box<dyn std::any::Any>) {
        if type_name != "()" {
            crate::evcxr_report::report(&format!("{VARIABLE_TYPE}{name}:{type_name}"));
            self.put(NEW_LAST, value);
        }
    }

    fn put(&mut self, name: &str, value: Box<dyn std::any::Any>) {
        self.variables.insert(name.to_owned(), value);
    }

    fn check(&mut self, name: &str, wanted: std::any::TypeId) -> bool {
        if let Some(value) = self.variables.get(name)
            && value.as_ref().type_id() != wanted
        {
            eprintln!("The type of the variable {name} was redefined, so was lost.",);
            crate::evcxr_report::report(&format!("{VARIABLE_CHANGED_TYPE}{name}"));
            return false;
        }
        true
    }

    fn take(&mut self, name: &str) -> Box<dyn std::any::Any> {
        match self.variables.remove(name) {
            Some(value) => value,
            None => panic!("Variable '{name}' has gone missing"),
        }
    }

    pub fn lazy_arc<T: 'static, F: FnOnce() -> T>(
        &mut self,
        name: &str,
        create: F,
    ) -> std::sync::Arc<T> {
        if let Some(value) = self
            .variables
            .entry(name.to_owned())
            .or_insert_with(|| Box::new(std::sync::Arc::new(create())))
            .downcast_mut()
        {
            std::sync::Arc::clone(value)
        } else {
            panic!("lazy_arc {name} changed type");
        }
    }

    pub fn merge(&mut self, mut other: VariableStore) {
        self.variables.extend(other.variables.drain());
    }
}

pub fn create_variable_store() -> *mut VariableStore {
    Box::into_raw(Box::new(VariableStore::new()))
}
