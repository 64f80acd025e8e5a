package files

import "testing"

// What a client of buckets is tested by, which this package does not know.

// SuiteOfContents is testContents.
func SuiteOfContents(t *testing.T, c Contents) {
	t.Helper()
	testContents(t, c)
}

// SuiteOfStores is testStore on SQLite.
func SuiteOfStores(t *testing.T, places ...Place) {
	t.Helper()
	testStore(t, sqlite(t), places...)
}
