//! Questions about Fathomline's stored data: engine, SQL, histogram functions, drift
