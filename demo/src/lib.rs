//! The fleet that shows Fathomline: real candle inference, drift, a webhook
