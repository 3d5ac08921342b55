package shim

// self is this program even if its file was replaced or removed meanwhile, as
// an upgrade does.
func self() (string, error) { return "/proc/self/exe", nil }
