//! Fathomline's contract: names, identity, histograms, limits, rejections, events
