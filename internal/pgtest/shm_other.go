//go:build !linux

package pgtest

func removeSharedMemory(int) {}
