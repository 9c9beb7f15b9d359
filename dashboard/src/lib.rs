//! Fathomline's pages
