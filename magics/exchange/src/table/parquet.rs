//! Writes a table as Parquet, in one row group without compression.

use super::{Column, Table};
use crate::Result;
use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;
use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;

/// Writes the file.
pub fn write_parquet(path: &Path, table: &Table) -> Result<()> {
    let fields = table.columns.iter().map(|(name, column)| field(name, column).map(Arc::new));
    let fields = fields.collect::<parquet::errors::Result<_>>()?;
    let schema = Arc::new(Type::group_type_builder("study").with_fields(fields).build()?);
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(file, schema, properties)?;
    let mut group = writer.next_row_group()?;
    for (_, column) in &table.columns {
        let Some(mut cells) = group.next_column()? else { break };
        match column {
            Column::Int(values) | Column::Time(values) => write::<Int64Type>(&mut cells, values.iter().copied())?,
            Column::Float(values) => write::<DoubleType>(&mut cells, values.iter().copied())?,
            Column::Bool(values) => write::<BoolType>(&mut cells, values.iter().copied())?,
            Column::Text(values) => {
                let texts = values.iter().map(|text| text.as_deref().map(ByteArray::from));
                write::<ByteArrayType>(&mut cells, texts)?;
            }
        }
        cells.close()?;
    }
    group.close()?;
    writer.close()?;
    Ok(())
}

fn field(name: &str, column: &Column) -> parquet::errors::Result<Type> {
    let (physical, logical) = match column {
        Column::Int(_) => (Physical::INT64, None),
        Column::Float(_) => (Physical::DOUBLE, None),
        Column::Bool(_) => (Physical::BOOLEAN, None),
        Column::Text(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Column::Time(_) => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
    };
    let builder = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
    builder.with_logical_type(logical).build()
}

/// Writes the cells of a column. Level 1 is a cell with a value, level 0 one without.
fn write<T: DataType>(
    cells: &mut SerializedColumnWriter<'_>,
    values: impl Iterator<Item = Option<T::T>>,
) -> parquet::errors::Result<()> {
    let (mut present, mut levels) = (vec![], vec![]);
    for value in values {
        levels.push(i16::from(value.is_some()));
        present.extend(value);
    }
    cells.typed::<T>().write_batch(&present, Some(&levels), None).map(drop)
}
