//! Conclusions drawn: interactive Plotly figures and static pictures.
