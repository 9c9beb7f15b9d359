//! The product from outside
