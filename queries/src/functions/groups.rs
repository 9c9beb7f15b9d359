//! Aggregation of anything that merges. In: rows that each hold a part. Out: one merged sketch a
//! group. Grouped aggregation is vectorised (several times faster than one accumulator a group);
//! the state that travels between partitions is the result itself.

use std::{fmt::Debug, mem::size_of};

use datafusion::{
    arrow::array::{Array, ArrayRef, BooleanArray},
    common::{Result, ScalarValue},
    logical_expr::{Accumulator, EmitTo, GroupsAccumulator},
};

/// Something that rows hold parts of.
pub(super) trait Sketch: Clone + Debug + Send + Sync + Sized + 'static {
    /// The part that a row of the function's arguments holds, if it holds one.
    fn from_arguments(arguments: &[ArrayRef], row: usize) -> Result<Option<Self>>;

    /// The part that a row of another accumulator's state holds.
    fn from_state(state: &ArrayRef, row: usize) -> Result<Option<Self>>;

    /// Adds rows of the function's arguments, given as (row, group), to their groups.
    fn add_arguments(
        groups: &mut Groups<Self>,
        arguments: &[ArrayRef],
        rows: impl Iterator<Item = (usize, usize)>,
    ) -> Result<()> {
        add_one_by_one(groups, rows, |row| Self::from_arguments(arguments, row))
    }

    /// Adds rows of another accumulator's state, likewise.
    fn add_states(
        groups: &mut Groups<Self>,
        state: &ArrayRef,
        rows: impl Iterator<Item = (usize, usize)>,
    ) -> Result<()> {
        add_one_by_one(groups, rows, |row| Self::from_state(state, row))
    }

    /// State and result: one value a sketch, null where there is none.
    fn to_state(sketches: &[Option<Self>]) -> ArrayRef;

    /// Adds the other part.
    fn merge(&mut self, other: &Self) -> Result<()>;

    /// What it holds on the heap.
    fn heap_bytes(&self) -> usize;
}

fn add_one_by_one<S: Sketch>(
    groups: &mut Groups<S>,
    mut rows: impl Iterator<Item = (usize, usize)>,
    part_of: impl Fn(usize) -> Result<Option<S>>,
) -> Result<()> {
    rows.try_for_each(|(row, group)| match part_of(row)? {
        Some(part) => groups.change(group, |kept| add(kept, part)),
        None => Ok(()),
    })
}

/// Adds a part to what a group has so far.
pub(super) fn add<S: Sketch>(kept: &mut Option<S>, part: S) -> Result<()> {
    match kept {
        Some(sketch) => sketch.merge(&part),
        None => {
            *kept = Some(part);
            Ok(())
        }
    }
}

/// One sketch a group.
#[derive(Debug)]
pub(super) struct Groups<S> {
    sketches: Vec<Option<S>>,
    /// Kept up to date, because it is asked for after every batch.
    heap_bytes: usize,
}

impl<S> Default for Groups<S> {
    fn default() -> Self {
        Self {
            sketches: vec![],
            heap_bytes: 0,
        }
    }
}

impl<S: Sketch> Groups<S> {
    fn grow(&mut self, groups: usize) {
        self.sketches
            .resize_with(groups.max(self.sketches.len()), || None);
    }

    /// Changes what a group has, if it has anything yet.
    pub(super) fn change(
        &mut self,
        group: usize,
        change: impl FnOnce(&mut Option<S>) -> Result<()>,
    ) -> Result<()> {
        let kept = &mut self.sketches[group];
        let before = kept.as_ref().map_or(0, S::heap_bytes);
        change(kept)?;
        let after = kept.as_ref().map_or(0, S::heap_bytes);
        self.heap_bytes = self.heap_bytes + after - before;
        Ok(())
    }

    fn add_arguments(
        &mut self,
        arguments: &[ArrayRef],
        group_of: impl Fn(usize) -> usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let rows = arguments.first().map_or(0, |column| column.len());
        let passes =
            |row: &usize| filter.is_none_or(|kept| kept.is_valid(*row) && kept.value(*row));
        let rows = (0..rows).filter(passes).map(|row| (row, group_of(row)));
        S::add_arguments(self, arguments, rows)
    }

    fn add_state(&mut self, state: &ArrayRef, group_of: impl Fn(usize) -> usize) -> Result<()> {
        let rows = (0..state.len()).map(|row| (row, group_of(row)));
        S::add_states(self, state, rows)
    }

    fn emit(&mut self, emit_to: EmitTo) -> ArrayRef {
        let sketches = emit_to.take_needed(&mut self.sketches);
        let emitted: usize = sketches.iter().flatten().map(S::heap_bytes).sum();
        self.heap_bytes -= emitted;
        S::to_state(&sketches)
    }
}

impl<S: Sketch> GroupsAccumulator for Groups<S> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.grow(total_num_groups);
        self.add_arguments(values, |row| group_indices[row], opt_filter)
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.grow(total_num_groups);
        self.add_state(&values[0], |row| group_indices[row])
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(self.emit(emit_to))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.emit(emit_to)])
    }

    /// Every row a group of its own: what the plan asks for when grouping saves nothing.
    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let mut rows = Self::default();
        rows.grow(values.first().map_or(0, |column| column.len()));
        rows.add_arguments(values, |row| row, opt_filter)?;
        Ok(vec![rows.emit(EmitTo::All)])
    }

    fn size(&self) -> usize {
        self.sketches.capacity() * size_of::<Option<S>>() + self.heap_bytes
    }
}

/// The same without GROUP BY.
#[derive(Debug)]
pub(super) struct Whole<S>(Groups<S>);

impl<S: Sketch> Default for Whole<S> {
    fn default() -> Self {
        let mut one = Groups::default();
        one.grow(1);
        Self(one)
    }
}

impl<S: Sketch> Accumulator for Whole<S> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.add_arguments(values, |_| 0, None)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.add_state(&states[0], |_| 0)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&S::to_state(&self.0.sketches), 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn size(&self) -> usize {
        size_of_val(self) + GroupsAccumulator::size(&self.0)
    }
}
