// The module is header-only; a C target needs one translation unit.
