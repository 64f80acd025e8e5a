//go:build !race

package edge_test

// waitingBytes is the most that a stream may take while it waits: some 53 KB, of which 32
// are one stack, that has the pretended backend's steps on it too. A stack of twice the
// size would be 32 more.
const waitingBytes = 60 << 10
