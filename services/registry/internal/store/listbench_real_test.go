//go:build real

package store_test

import (
	"testing"

	"github.com/poterne/poterne/services/registry/internal/storetest"
)

// BenchmarkRealLists is BenchmarkLists on PostgreSQL.
func BenchmarkRealLists(b *testing.B) { benchLists(b, storetest.Postgres(b)) }
