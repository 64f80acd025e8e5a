package ledger

import (
	"strconv"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/ids"
)

// What an entry costs the store, in batches as they come under load.
func BenchmarkWrite(b *testing.B) {
	const batch = 256
	s, made := openStore(b, sqliteDSN(b)), ids.UUIDv7()
	entries, at := make([]Entry, batch), time.Now().UTC()
	for _, charged := range []bool{false, true} {
		b.Run("charged="+strconv.FormatBool(charged), func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; n < b.N; n += batch {
				b.StopTimer()
				for i := range entries {
					at = at.Add(400 * time.Microsecond)
					entries[i] = Entry{
						ID: made.New(), RequestID: made.New(), Time: at, Outcome: Whole,
						Dimensions: Dimensions{Tenant: "acme", KeyID: "0199a1b2c3d4", Subject: "ada", Kind: "generate", Model: "chat", Version: 3},
						Tokens:     Tokens{Input: 12, Output: 34},
					}
					if charged {
						entries[i].Charges = []Charge{{Period: Period{Budget: 1}, Amount: 46}}
					}
				}
				b.StartTimer()
				if _, err := s.Write(b.Context(), "edge", entries); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
