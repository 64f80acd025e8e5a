//go:build !race

package edge_test

// waitingBytes is the most that a stream may take while it waits: some 41 KB. A stack of
// twice the size would be 16 more.
const waitingBytes = 47 << 10
