//! A value as serde's sink: `Group { replicas: 3 }` in, `Value::Map {"replicas": 3}` out.

use std::collections::BTreeMap;

use serde::de::Visitor;
use serde::ser::{self, Serialize, SerializeMap, Serializer};

use super::{Misfit, SLOT, VALUE, ValueVisitor};
use crate::protocol::value::{Number, Value};

/// Where serde writes a value.
pub(super) struct Sink;

type Unfit = ser::Impossible<Value, Misfit>;

fn no_form<T>() -> Result<T, Misfit> {
    Err(Misfit::new("has no form in Terraform"))
}

impl Serializer for Sink {
    type Ok = Value;
    type Error = Misfit;
    type SerializeSeq = List;
    type SerializeTuple = List;
    type SerializeTupleStruct = List;
    type SerializeTupleVariant = Unfit;
    type SerializeMap = Object;
    type SerializeStruct = Object;
    type SerializeStructVariant = Unfit;

    fn serialize_bool(self, value: bool) -> Result<Value, Misfit> {
        Ok(Value::Bool(value))
    }
    fn serialize_i8(self, value: i8) -> Result<Value, Misfit> {
        self.serialize_i64(value.into())
    }
    fn serialize_i16(self, value: i16) -> Result<Value, Misfit> {
        self.serialize_i64(value.into())
    }
    fn serialize_i32(self, value: i32) -> Result<Value, Misfit> {
        self.serialize_i64(value.into())
    }
    fn serialize_i64(self, value: i64) -> Result<Value, Misfit> {
        Ok(Value::Number(Number::Int(value)))
    }
    fn serialize_u8(self, value: u8) -> Result<Value, Misfit> {
        self.serialize_i64(value.into())
    }
    fn serialize_u16(self, value: u16) -> Result<Value, Misfit> {
        self.serialize_i64(value.into())
    }
    fn serialize_u32(self, value: u32) -> Result<Value, Misfit> {
        self.serialize_i64(value.into())
    }
    fn serialize_u64(self, value: u64) -> Result<Value, Misfit> {
        ValueVisitor.visit_u64(value)
    }
    fn serialize_f32(self, value: f32) -> Result<Value, Misfit> {
        self.serialize_f64(value.into())
    }
    fn serialize_f64(self, value: f64) -> Result<Value, Misfit> {
        Ok(Value::Number(Number::Float(value)))
    }
    fn serialize_char(self, value: char) -> Result<Value, Misfit> {
        Ok(Value::String(value.into()))
    }
    fn serialize_str(self, value: &str) -> Result<Value, Misfit> {
        Ok(Value::String(value.to_owned()))
    }
    fn serialize_bytes(self, _: &[u8]) -> Result<Value, Misfit> {
        no_form()
    }
    fn serialize_none(self) -> Result<Value, Misfit> {
        Ok(Value::Null)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, Misfit> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<Value, Misfit> {
        Ok(Value::Null)
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, Misfit> {
        Ok(Value::Map(BTreeMap::new()))
    }
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Value, Misfit> {
        self.serialize_str(variant)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Value, Misfit> {
        if name == VALUE {
            return Ok(SLOT.take().unwrap_or(Value::Null));
        }
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Value, Misfit> {
        no_form()
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<List, Misfit> {
        Ok(List(Vec::new()))
    }
    fn serialize_tuple(self, _: usize) -> Result<List, Misfit> {
        Ok(List(Vec::new()))
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<List, Misfit> {
        Ok(List(Vec::new()))
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Unfit, Misfit> {
        no_form()
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Object, Misfit> {
        Ok(Object::default())
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Object, Misfit> {
        Ok(Object::default())
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Unfit, Misfit> {
        no_form()
    }
}

pub(super) struct List(Vec<Value>);

impl ser::SerializeSeq for List {
    type Ok = Value;
    type Error = Misfit;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Misfit> {
        self.0.push(value.serialize(Sink)?);
        Ok(())
    }
    fn end(self) -> Result<Value, Misfit> {
        Ok(Value::List(self.0))
    }
}

impl ser::SerializeTuple for List {
    type Ok = Value;
    type Error = Misfit;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Misfit> {
        ser::SerializeSeq::serialize_element(self, value)
    }
    fn end(self) -> Result<Value, Misfit> {
        Ok(Value::List(self.0))
    }
}

impl ser::SerializeTupleStruct for List {
    type Ok = Value;
    type Error = Misfit;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Misfit> {
        ser::SerializeSeq::serialize_element(self, value)
    }
    fn end(self) -> Result<Value, Misfit> {
        Ok(Value::List(self.0))
    }
}

#[derive(Default)]
pub(super) struct Object {
    values: BTreeMap<String, Value>,
    key: String,
}

impl SerializeMap for Object {
    type Ok = Value;
    type Error = Misfit;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Misfit> {
        match key.serialize(Sink)? {
            Value::String(key) => self.key = key,
            _ => return no_form(),
        }
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Misfit> {
        let key = std::mem::take(&mut self.key);
        self.values.insert(key, value.serialize(Sink)?);
        Ok(())
    }
    fn end(self) -> Result<Value, Misfit> {
        Ok(Value::Map(self.values))
    }
}

impl ser::SerializeStruct for Object {
    type Ok = Value;
    type Error = Misfit;
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Misfit> {
        self.values.insert(key.to_owned(), value.serialize(Sink)?);
        Ok(())
    }
    fn end(self) -> Result<Value, Misfit> {
        Ok(Value::Map(self.values))
    }
}
