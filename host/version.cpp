namespace scalelab::host {}
