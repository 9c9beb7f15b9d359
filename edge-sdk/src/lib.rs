//! Fathomline's edge SDK: observe local candle inference without a prompt leaving the device
