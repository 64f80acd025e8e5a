//go:build race

package edge_test

// waitingBytes is the most that a stream may take while it waits, beside what the race
// detector adds to its stack and to what it keeps: some 66 KB.
const waitingBytes = 80 << 10
