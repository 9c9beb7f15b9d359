//! Fathomline's collector: receives, stores, judges, alerts, serves
