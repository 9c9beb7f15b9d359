//! What a query may see and use. In: who asks, how much memory there is, a view. Out: a session
//! whose only tables are the view's. Never: tables by path or URL, spilling, recursion.

use std::sync::Arc;

use datafusion::{
    catalog::{
        CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
        MemorySchemaProvider, SchemaProvider,
    },
    common::{
        DFSchema, Result, plan_err,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    execution::{
        FunctionRegistry, SessionState, SessionStateBuilder,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        runtime_env::RuntimeEnvBuilder,
    },
    logical_expr::{
        BinaryExpr, Expr, LogicalPlan, Operator,
        planner::{ExprPlanner, PlannerResult, RawDictionaryExpr},
    },
    prelude::{SessionConfig, SessionContext},
};

use crate::{functions, lake::Snapshot};

const CATALOG: &str = "fathomline";
const SCHEMA: &str = "public";

/// Partitions a query is worked on in: a gateway has few cores, and ingest needs them too.
const PARTITIONS: usize = 2;

/// Functions whose result can be huge whatever their arguments are: no limit counts what one call
/// allocates, so strangers do without.
const UNBOUNDED_FUNCTIONS: [&str; 23] = [
    "repeat",
    "replace",
    "regexp_replace",
    "overlay",
    "concat",
    "concat_ws",
    "make_array",
    "array_concat",
    "array_replace",
    "array_replace_n",
    "array_replace_all",
    "array_to_string",
    "lpad",
    "rpad",
    "array_repeat",
    "array_resize",
    "range",
    "generate_series",
    "list_resize",
    "struct",
    "named_struct",
    "map",
    "arrays_zip",
];

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    Ours,
    Stranger,
}

/// A session without tables, made once: building one registers some hundred functions.
pub(super) fn template(caller: Caller, memory_bytes: usize) -> Result<SessionState> {
    let no_disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_limit(memory_bytes, 1.0)
        .with_disk_manager_builder(no_disk)
        .build_arc()?;
    let mut config = SessionConfig::new()
        .with_target_partitions(PARTITIONS)
        .with_information_schema(true)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, SCHEMA);
    let execution = &mut config.options_mut().execution;
    // Seven times faster where a filter keeps one device.
    execution.parquet.pushdown_filters = true;
    // Each step may double its input, and no limit counts it.
    execution.enable_recursive_ctes = caller == Caller::Ours;
    let mut builder = SessionStateBuilder::new_with_default_features();
    if caller == Caller::Stranger {
        let planners = builder.expr_planners().get_or_insert_default();
        planners.insert(0, Arc::new(NoStructs));
    }
    let mut state = builder
        .with_config(config)
        .with_runtime_env(runtime)
        .build();
    functions::register(&mut state)?;
    if caller == Caller::Stranger {
        for name in UNBOUNDED_FUNCTIONS {
            state.deregister_udf(name)?;
        }
    }
    Ok(state)
}

/// Refuses what holds several values in one before it is planned: a value that holds itself twice,
/// forty steps deep, has a type of a million million parts, and planning cannot be interrupted.
#[derive(Debug)]
struct NoStructs;

impl ExprPlanner for NoStructs {
    fn plan_struct_literal(&self, _: Vec<Expr>, _: bool) -> Result<PlannerResult<Vec<Expr>>> {
        no_structs()
    }

    fn plan_dictionary_literal(
        &self,
        _: RawDictionaryExpr,
        _: &DFSchema,
    ) -> Result<PlannerResult<RawDictionaryExpr>> {
        no_structs()
    }

    fn plan_make_map(&self, _: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        no_structs()
    }
}

fn no_structs<T>() -> Result<T> {
    plan_err!("structs and maps are not available: ask for columns of their own")
}

/// Why a stranger's plan is not run, if it is not: too many steps, or a call whose result no limit
/// counts. Judged by the plan: operators such as `||` come as functions and under other names.
pub(super) fn check_bounded(plan: &LogicalPlan, steps_max: usize) -> Result<(), String> {
    let mut steps = 0;
    let mut unbounded = None;
    let walked = plan.apply_with_subqueries(|node| {
        steps += 1;
        node.apply_expressions(|expression| {
            expression.apply(|expression| {
                unbounded = unbounded.take().or_else(|| unbounded_call(expression));
                Ok(if unbounded.is_some() {
                    TreeNodeRecursion::Stop
                } else {
                    TreeNodeRecursion::Continue
                })
            })
        })?;
        Ok(if steps > steps_max || unbounded.is_some() {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    });
    walked.map_err(|error| error.strip_backtrace())?;
    if let Some(call) = unbounded {
        return Err(format!(
            "{call} is not available: one call could fill the memory; put texts together yourself"
        ));
    }
    if steps > steps_max {
        return Err(format!(
            "it takes more than {steps_max} steps; use each common table expression once"
        ));
    }
    Ok(())
}

fn unbounded_call(expression: &Expr) -> Option<String> {
    match expression {
        Expr::BinaryExpr(BinaryExpr {
            op: Operator::StringConcat,
            ..
        }) => Some("the operator ||".to_owned()),
        Expr::ScalarFunction(call) if UNBOUNDED_FUNCTIONS.contains(&call.name()) => {
            Some(format!("the function {}", call.name()))
        }
        _ => None,
    }
}

/// Why a stranger's plan is not run where small groups are folded, if it is not: running it to
/// measure it, or showing file statistics, would count rows that are not published.
pub(super) fn check_discreet(plan: &LogicalPlan) -> Result<(), String> {
    let tells = match plan {
        LogicalPlan::Analyze(_) => true,
        LogicalPlan::Explain(explain) => explain.verbose || explain.show_statistics == Some(true),
        _ => false,
    };
    match tells {
        true => Err(
            "it would tell of rows that are not published; use EXPLAIN without ANALYZE or VERBOSE"
                .to_owned(),
        ),
        false => Ok(()),
    }
}

/// A session over the tables of one view.
pub(super) fn over(
    template: &SessionState,
    tables: impl IntoIterator<Item = Snapshot>,
) -> Result<SessionContext> {
    let schema = MemorySchemaProvider::new();
    for (table, provider) in tables {
        schema.register_table(table.name().into(), provider)?;
    }
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(SCHEMA, Arc::new(schema))?;
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(CATALOG.into(), Arc::new(catalog));
    let mut state = template.clone();
    state.register_catalog_list(Arc::new(catalogs));
    Ok(SessionContext::new_with_state(state))
}
