//go:build !race

package onceguard_test

const raced = false
